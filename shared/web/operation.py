"""Operations: the one definition of each route, which parses, documents and answers it.

A room of routes is a class whose operations are methods:

    class Movies:
        @operation("GET", "/v1/movies/{movie_id}", parameters=MovieRead, answers=...)
        async def get_movie(self, request: Request[MovieRead]) -> Answer:
            "Return a movie's details."

The fields of `parameters` are path parameters if the path names them, headers if they are marked
with `Header`, and query parameters otherwise. `shared/web/application.py` serves a room's
operations, `shared/web/openapi.py` documents them.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from shared.errors import InvalidInput
from shared.ids import new_uuid7
from shared.web.answer import Answer, AnswerKind, Fields
from shared.web.problems import InvalidFields, Refused, TooLarge, json_pointer, shortened

# Headers that a request may have once: it would be unclear which of several to use.
SINGLE_FIELDS = frozenset({b"authorization", b"content-type", b"host", b"idempotency-key"})
# Refused where it has no effect: ignoring it would break its promise.
KEY_FIELD = b"idempotency-key"
KEY_POINTER = "/header/idempotency-key"
NAME_CHARS_SHOWN = 100
REQUEST_ID_HEADER = b"x-request-id"


class Header(NamedTuple):
    """Marks a field of `Parameters` as a header, with its name."""

    name: str


class Parameters(BaseModel):
    """Path, query and header parameters of an operation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # By the name on the wire, in lower case for headers.
    header_fields: ClassVar[Mapping[bytes, str]] = {}
    query_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **_named: Any) -> None:
        marked = {
            name: mark.name
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Header)
        }
        cls.header_fields = {header.lower().encode(): name for name, header in marked.items()}
        cls.query_fields = frozenset(cls.model_fields.keys() - marked.keys())


Asked = TypeVar("Asked", bound=Parameters)
Value = TypeVar("Value")


class Body(Protocol):
    """How an operation reads its body; `models` are its alternatives, for documentation."""

    models: Sequence[type[BaseModel]]
    bytes_max: int
    # Whether it may exceed the limit of other bodies.
    is_bulk: bool

    async def read(self, request: Request[Any, Any]) -> Any:
        """Return the body's value; raise an error for an invalid body."""


# OpenAPI's security requirements: any one suffices; an empty one needs no credential.
Credentials = Sequence[Mapping[str, Sequence[str]]]


class Deprecation(NamedTuple):
    """Since when an operation is deprecated, and when it ends, if that is known; UTC."""

    since: datetime
    sunset: datetime | None = None

    @property
    def fields(self) -> Fields:
        """The header fields of RFC 9745 and RFC 8594."""
        fields = [(b"deprecation", b"@%d" % int(self.since.timestamp()))]
        if self.sunset is not None:
            fields.append((b"sunset", format_datetime(self.sunset, usegmt=True).encode()))
        return fields


class Operation(NamedTuple):
    """The declaration of a route.

    `access` is the API's own declaration of who may call it. `answers` are its own answers by
    status; the documentation adds the refusals that follow from the rest. `own_credentials` are the
    ones that the operation itself checks, `deprecation` the fields of every answer if it is
    deprecated.
    """

    method: str
    path: str
    respond: Callable[..., Awaitable[Answer]]
    parameters: type[Parameters]
    body: Body | None
    access: Any
    answers: Mapping[int, AnswerKind]
    tag: str
    own_credentials: Credentials = ()
    deprecation: Sequence[tuple[bytes, bytes]] = ()

    @property
    def name(self) -> str:
        return self.respond.__name__

    @property
    def description(self) -> str:
        return inspect.getdoc(self.respond) or ""

    def body_bytes_max(self, usual_max: int) -> int:
        if self.body is None:
            return usual_max
        return self.body.bytes_max if self.body.is_bulk else min(self.body.bytes_max, usual_max)


Method = TypeVar("Method", bound=Callable[..., Awaitable[Answer]])


def operation(
    method: str,
    path: str,
    *,
    answers: Mapping[int, AnswerKind],
    parameters: type[Parameters] = Parameters,
    body: Body | None = None,
    access: Any = None,
    tag: str,
    own_credentials: Credentials = (),
    deprecated: Deprecation | None = None,
) -> Callable[[Method], Method]:
    """Declare a method as an operation."""

    def marked(respond: Method) -> Method:
        made = Operation(
            method,
            path,
            respond,
            parameters,
            body,
            access,
            answers,
            tag,
            own_credentials,
            deprecated.fields if deprecated else (),
        )
        setattr(respond, _MARK, made)
        return respond

    return marked


_MARK = "starfold_operation"


def operations_of(room: object) -> Iterator[Operation]:
    """Yield the operations of a room: bound for an instance, unbound for a class."""
    kind = room if isinstance(room, type) else type(room)
    for name, method in vars(kind).items():
        made: Operation | None = getattr(method, _MARK, None)
        if made is not None:
            yield made._replace(respond=getattr(room, name))


class Request(Generic[Asked, Value]):
    """One request for an operation, while it is answered.

    `parameters` and `body` exist once the caller has been admitted, `content` once it has been
    read. `caller` is what the API's gate derived from the credential; `answer_fields` are added to
    every answer. `body_bytes_stated` is the value of Content-Length, 0 without one.
    """

    __slots__ = (
        "answer_fields",
        "body",
        "body_bytes_max",
        "body_bytes_stated",
        "caller",
        "content",
        "fields",
        "operation",
        "parameters",
        "path_values",
        "receive",
        "request_id",
        "scope",
    )

    parameters: Asked
    body: Value

    def __init__(
        self,
        operation: Operation,
        path_values: Mapping[str, str],
        scope: Scope,
        receive: Receive,
        body_bytes_max: int,
    ) -> None:
        self.operation = operation
        self.path_values = path_values
        self.scope = scope
        self.receive = receive
        self.body_bytes_max = body_bytes_max
        self.fields = _fields(scope["headers"])
        stated = self.fields.get(b"content-length", b"")
        self.body_bytes_stated = int(stated) if stated.isdigit() else 0
        self.request_id = request_id_of(self.fields.get(REQUEST_ID_HEADER))
        self.caller: Any = None
        self.answer_fields: Fields = []

    def field(self, name: bytes) -> str | None:
        """Return a header field's value; fields that repeat a name are one list."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1").strip(" \t")

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    async def read(self) -> bytes:
        """Receive the whole body; raise what `parts` raises."""
        message = await self.receive()
        content: bytes = message.get("body", b"")
        whole = message["type"] == "http.request" and not message.get("more_body")
        if not whole or len(content) > self.body_bytes_max:
            content = b"".join([part async for part in self.parts(message)])
        self.content = content
        return content

    async def parts(self, first: Message | None = None) -> AsyncIterator[bytes]:
        """Receive the body in parts.

        Raises `Refused` once it is too large, and `ClientDisconnect`. `first` is a message that has
        been received already.
        """
        received_bytes = 0
        more = True
        while more:
            message = first or await self.receive()
            first = None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            received_bytes += len(part)
            if received_bytes > self.body_bytes_max:
                raise TooLarge(self.body_bytes_max)
            yield part
            more = message.get("more_body", False)

    def require_head(self) -> None:
        """Refuse a bad head before the body is read.

        Raises `Refused` if a single-valued header is repeated, `Host` is missing, or the announced
        body is too large.
        """
        if self.body_bytes_stated > self.body_bytes_max:
            raise TooLarge(self.body_bytes_max)
        require_single_fields(self.scope, self.fields)

    def parse_parameters(self) -> None:
        """Parse them; raise `InvalidFields`, or `InvalidInput` for an unknown query parameter."""
        kind = self.operation.parameters
        values: dict[str, str] = dict(self.path_values)
        query_string: bytes = self.scope["query_string"]
        if query_string:
            self._take_query(query_string.decode("latin-1"), values)
        if KEY_FIELD in self.fields and not (
            KEY_FIELD in kind.header_fields or self.operation.method == "GET"
        ):
            detail = "this operation takes no Idempotency-Key: its answer must not be stored"
            raise InvalidInput(detail, pointer=KEY_POINTER)
        for header, name in kind.header_fields.items():
            value = self.field(header)
            if value is not None:
                values[name] = value
        try:
            self.parameters = kind.__pydantic_validator__.validate_python(values)
        except ValidationError as error:
            raise InvalidFields(self._located(error)) from error

    def _take_query(self, query_string: str, values: dict[str, str]) -> None:
        """Refuse unknown and repeated parameters: a misspelt filter would be ignored."""
        known = self.operation.parameters.query_fields
        for name, value in parse_qsl(query_string, keep_blank_values=True):
            if name in values or name not in known:
                shown = shortened(name, NAME_CHARS_SHOWN)
                detail = f"there is no parameter {shown!r}"
                if name in known and name not in self.path_values:
                    detail = f"{name} is given more than once"
                raise InvalidInput(detail, pointer=json_pointer(("query", shown)))
            values[name] = value

    def _located(self, error: ValidationError) -> list[tuple[tuple[Any, ...], str]]:
        headers = {name: header.decode() for header, name in self.parameter_headers.items()}
        located = []
        for entry in error.errors(include_url=False, include_context=False, include_input=False):
            name, *rest = entry["loc"] or ("",)
            if name in headers:
                place: tuple[Any, ...] = ("header", headers[str(name)])
            else:
                place = ("path" if name in self.path_values else "query", name)
            located.append(((*place, *rest), entry["msg"]))
        return located

    @property
    def parameter_headers(self) -> Mapping[bytes, str]:
        return self.operation.parameters.header_fields


def require_single_fields(scope: Scope, fields: Mapping[bytes, bytes]) -> None:
    """Raise `Refused` if a single-valued header is repeated, or `Host` is missing."""
    if b"host" not in fields and scope["http_version"] == "1.1":
        raise Refused("bad-request", "Host is missing")
    if len(fields) == len(scope["headers"]):
        return
    seen = set()
    for name, _ in scope["headers"]:
        if name in SINGLE_FIELDS and name in seen:
            raise Refused("bad-request", f"{name.decode()} is given more than once")
        seen.add(name)


def request_id_of(given: bytes | None) -> UUID:
    """Return the caller's `X-Request-ID` if it is a UUID, else a new one."""
    if given is not None:
        try:
            return UUID(given.decode("ascii"))
        except ValueError:
            return new_uuid7()
    return new_uuid7()


def _fields(headers: Fields) -> dict[bytes, bytes]:
    """Return header fields by name; repeated ones become a list (RFC 9110, 5.3)."""
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = {}
        for name, value in headers:
            fields[name] = value if name not in fields else b", ".join((fields[name], value))
    return fields
