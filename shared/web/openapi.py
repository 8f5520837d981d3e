"""Generate OpenAPI 3.1 from the same operations that parse, admit and refuse requests.

An operation lists its own answers. This module adds the refusals that follow from its access, path,
parameters and body, and the headers of every answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.ids import POSITION_MAX
from shared.web.answer import JSON, REFUSED_FROM, AnswerKind
from shared.web.operation import Credentials, Header, Operation
from shared.web.problems import POSITION_HEADER, PROBLEM_JSON, TYPE_PREFIX

REF = "#/components/schemas/{model}"
AT_LEAST_HEADER = "Starfold-At-Least"
NEWEST_HEADER = "Starfold-Newest"
LICENCE = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
# Both APIs serve their own document, so the document's server is the API.
SERVERS = [{"url": "/", "description": "The server of this document"}]

ACCESS_TOKEN = "access_token"
SERVICE_KEY = "service_key"
METRICS_TOKEN = "metrics_token"
SECURITY_SCHEMES = {
    ACCESS_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of a user's session; it needs one of the roles named.",
    },
    SERVICE_KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "A service key, or the access token of a session that was opened with one; "
        "it needs one of the scopes named.",
    },
    METRICS_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "The value of `STARFOLD_METRICS_TOKEN`, if it is set.",
    },
}

Schema = dict[str, Any]
Key = tuple[type[BaseModel], JsonSchemaMode]

_POSITION = {"type": "integer", "format": "int64", "minimum": 0, "maximum": POSITION_MAX}
_SECONDS = {"type": "integer", "minimum": 0}
FILE = "application/octet-stream"
_BINARY = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}

HEADERS: Mapping[str, Schema] = {
    "X-Request-ID": {
        "description": "The request's id, also in the log: the caller's if it is a UUID.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "RateLimit-Policy": {"description": "The rate limit of the caller.", "schema": _TEXT},
    "RateLimit": {"description": "The rest of the caller's rate limit.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": _SECONDS},
    "WWW-Authenticate": {
        "description": "The accepted authentication scheme.",
        "required": True,
        "schema": {"const": "Bearer"},
    },
    POSITION_HEADER: {
        "description": "For a command, the log position of its event; for a read, the position up "
        "to which the answer includes everything.",
        "schema": _POSITION,
    },
    NEWEST_HEADER: {
        "description": "The log position after which the answer includes nothing, if it differs "
        f"from `{POSITION_HEADER}`.",
        "schema": _POSITION,
    },
    "ETag": {"description": "The tag of the answer.", "schema": _TEXT},
    "Location": {
        "description": "The query API's path of the created resource, or the path of the movie "
        "that remains after a merge.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": "For a list, the next page if there is one; for a problem, its explanation.",
        "schema": _TEXT,
    },
    "Cache-Control": {"description": "Which caches may store the answer.", "schema": _TEXT},
    "Content-Disposition": {"description": "The file name.", "schema": _TEXT},
}
_AT_LEAST = AT_LEAST_HEADER.lower().encode()
_RATE_LIMIT_HEADERS = ("RateLimit-Policy", "RateLimit")

# Request headers that are taken outside an operation's parameters.
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "A UUID that identifies the request in the answer and the log; default: new.",
    "schema": _TEXT,
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of an earlier answer: 304 if it has not changed.",
    "schema": _TEXT,
}


class FieldProblem(BaseModel):
    """An error of one field."""

    pointer: str = Field(description="JSON pointer into the body, or a place like `/query/limit`")
    detail: str


class Problem(BaseModel):
    """An error, as problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{TYPE_PREFIX}invalid-input",
                    "title": "Invalid input",
                    "status": 422,
                    "detail": "some values are not allowed",
                    "errors": [{"pointer": "/score", "detail": "Field required"}],
                }
            ]
        }
    )

    type: str = Field(description="The type of problem; stable")
    title: str
    status: int = Field(ge=300, le=599)
    detail: str
    errors: list[FieldProblem] = Field(default=[], description="The faulty fields, if any")


# A movie that left the catalogue.
CLOSED = {
    301: AnswerKind(
        "The movie was merged into another one.",
        Problem,
        ("Location", "Link"),
        media_type=PROBLEM_JSON,
    ),
    410: AnswerKind("The movie was withdrawn."),
}


class Admission(NamedTuple):
    """The callers whom an operation's access admits, for its documentation.

    `is_charged` says whether its calls count against a rate limit.
    """

    credentials: Credentials = ()
    is_charged: bool = False


class _Refusal(NamedTuple):
    name: str
    description: str
    headers: tuple[str, ...] = ()


_REFUSALS: Mapping[int, _Refusal] = {
    400: _Refusal("BadRequest", "The body is not JSON, or a header is given more than once."),
    401: _Refusal(
        "NotAuthenticated",
        "The credential is missing, invalid or expired.",
        ("WWW-Authenticate",),
    ),
    403: _Refusal("Forbidden", "The caller may not do this."),
    404: _Refusal("NotFound", "The resource does not exist, or is private."),
    409: _Refusal("Conflict", "The request conflicts with the current state."),
    410: _Refusal("Gone", "The movie was withdrawn."),
    412: _Refusal("StaleVersion", "`If-Match` does not name the current version."),
    413: _Refusal("TooLarge", "The body is too large."),
    415: _Refusal("UnsupportedMediaType", "The body is not sent as JSON."),
    422: _Refusal("InvalidInput", "Some values are not allowed."),
    428: _Refusal("PreconditionRequired", "`If-Match` is missing."),
    429: _Refusal("TooManyRequests", "The caller exceeds a rate limit.", ("Retry-After",)),
    503: _Refusal(
        "Unavailable", "The service is overloaded or unavailable: retry.", ("Retry-After",)
    ),
}


def described(
    info: Mapping[str, Any],
    operations: Sequence[Operation],
    tags: Mapping[str, str],
    admission: Callable[[Any], Admission],
) -> Schema:
    """Return the document of an API; `admission` interprets the API's declarations of access."""
    return _Document(operations, admission).whole(info, tags)


class _Document:
    """A document under construction; it has only the components that something refers to."""

    def __init__(
        self, operations: Sequence[Operation], admission: Callable[[Any], Admission]
    ) -> None:
        self._operations = operations
        self._admission = admission
        self._models, definitions = models_json_schema(
            [(Problem, "serialization"), *_models(operations)], ref_template=REF
        )
        self._schemas: Schema = definitions.get("$defs", {})
        self._problem = self._models[Problem, "serialization"]
        self._responses: dict[str, Schema] = {}
        self._headers: dict[str, Schema] = {}
        self._parameters: dict[str, Schema] = {}
        self._security_schemes: dict[str, Schema] = {}

    def whole(self, info: Mapping[str, Any], tags: Mapping[str, str]) -> Schema:
        paths: dict[str, Schema] = {}
        for one in self._operations:
            paths.setdefault(one.path, {})[one.method.lower()] = self._operation(one)
        return {
            "openapi": "3.1.0",
            "info": {**info, "license": LICENCE},
            "servers": SERVERS,
            "tags": [{"name": name, "description": text} for name, text in tags.items()],
            "paths": paths,
            "components": {
                "schemas": self._schemas,
                "responses": self._responses,
                "parameters": self._parameters,
                "headers": self._headers,
                "securitySchemes": self._security_schemes,
            },
        }

    def _operation(self, one: Operation) -> Schema:
        admission = self._admission(one.access)
        if one.own_credentials:
            admission = admission._replace(credentials=one.own_credentials)
        for credential in admission.credentials:
            for name in credential:
                self._security_schemes[name] = SECURITY_SCHEMES[name]
        documented: Schema = {
            "tags": [one.tag],
            "operationId": one.name,
            **({"deprecated": True} if one.deprecation else {}),
            "summary": one.name.replace("_", " ").capitalize(),
            "description": one.description,
            "security": [
                {scheme: list(needed) for scheme, needed in credential.items()}
                for credential in admission.credentials
            ],
            "parameters": list(self._parameters_of(one)),
        }
        if one.body is not None:
            schemas = [self._models[model, "validation"] for model in one.body.models]
            schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
            # A body without a model is a file, of any media type.
            content = {JSON: {"schema": schema}} if schemas else {FILE: {"schema": _BINARY}}
            documented["requestBody"] = {"required": True, "content": content}
        statuses = sorted({*one.answers, *_refusals_of(one, admission)})
        documented["responses"] = {
            str(status): self._answer(status, one, admission) for status in statuses
        }
        return documented

    def _answer(self, status: int, one: Operation, admission: Admission) -> Schema:
        kind = one.answers.get(status)
        headers = ["X-Request-ID", *(_RATE_LIMIT_HEADERS if admission.is_charged else ())]
        if status >= REFUSED_FROM:
            return self._refusal(status, one, kind, headers)
        assert kind is not None
        described: Schema = {
            "description": kind.description,
            "headers": self._headers_of([*headers, *kind.headers]),
        }
        if kind.model is not None:
            content: Schema = {"schema": self._models[kind.model, "serialization"]}
        elif kind.example is not None:
            # Live updates have no schema: a client must not wait for the whole body.
            content = {"schema": _TEXT} if kind.media_type == "text/plain" else {}
        else:
            return described
        if kind.example is not None:
            content["example"] = kind.example
        others: Schema = {media_type: {} for media_type in kind.other_media_types}
        return {**described, "content": {kind.media_type: content, **others}}

    def _refusal(
        self, status: int, one: Operation, kind: AnswerKind | None, headers: Sequence[str]
    ) -> Schema:
        refusal = _REFUSALS[status]
        headers = [*headers, "Link", *refusal.headers]
        if status in (404, 503) and _AT_LEAST in one.parameters.header_fields:
            headers.append(POSITION_HEADER)
        response = {
            "description": refusal.description,
            "headers": self._headers_of(headers),
            "content": {PROBLEM_JSON: {"schema": self._problem}},
        }
        if kind is not None:
            return {**response, "description": kind.description}
        if self._responses.setdefault(refusal.name, response) == response:
            return {"$ref": f"#/components/responses/{refusal.name}"}
        return response

    def _headers_of(self, names: Iterable[str]) -> Schema:
        for name in names:
            self._headers[name] = HEADERS[name]
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

    def _parameters_of(self, one: Operation) -> Iterator[Schema]:
        fields = one.parameters.model_json_schema(ref_template=REF)
        for name, field in one.parameters.model_fields.items():
            schema = _without_null(fields["properties"][name])
            parameter: Schema = {"name": name, "in": "query", "required": field.is_required()}
            header = next((mark for mark in field.metadata if isinstance(mark, Header)), None)
            if header is not None:
                required = header.name == "If-Match" and 428 in one.answers
                parameter |= {"name": header.name, "in": "header", "required": required}
            elif f"{{{name}}}" in one.path:
                parameter |= {"in": "path"}
            if field.description is not None:
                parameter["description"] = field.description
                schema.pop("description", None)
            yield {**parameter, "schema": schema}
        if 304 in one.answers:
            yield self._shared_parameter("IfNoneMatch", _IF_NONE_MATCH)
        yield self._shared_parameter("RequestId", _REQUEST_ID)

    def _shared_parameter(self, name: str, parameter: Schema) -> Schema:
        self._parameters[name] = parameter
        return {"$ref": f"#/components/parameters/{name}"}


def _models(operations: Iterable[Operation]) -> Iterable[Key]:
    seen: dict[Key, None] = {}
    for one in operations:
        if one.body is not None:
            seen |= dict.fromkeys((model, "validation") for model in one.body.models)
        for kind in one.answers.values():
            if kind.model is not None:
                seen[kind.model, "serialization"] = None
    return seen


def _refusals_of(one: Operation, admission: Admission) -> Iterator[int]:
    """Yield the refusals that follow from an operation's declaration."""
    yield from (400, 422)
    if any(admission.credentials):
        yield 401
        if {} not in admission.credentials:
            yield 403
    if "{" in one.path:
        yield 404
    if b"if-match" in one.parameters.header_fields:
        yield 412
    if one.body is not None:
        yield from (413, 415) if one.body.models else (413,)
    if admission.is_charged:
        yield from (429, 503)


def _without_null(schema: Schema) -> Schema:
    """Remove null: the code uses it for a parameter that is left out; no client sends it."""
    schema = {name: value for name, value in schema.items() if name != "title"}
    if schema.get("default", "") is None:
        del schema["default"]
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema = {**choices[0], **schema}
    return schema
