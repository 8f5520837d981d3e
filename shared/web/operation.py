"""One definition per route: how a request is read, documented and answered.

An API has one table, a list of operations. The pipeline (`shared/web/pipeline.py`) answers by it,
and the documentation (`shared/web/documentation.py`) is made from it:

    class MovieParameters(Parameters):
        movie_id: UUID                                        # named in the path
        limit: Annotated[int, Query(ge=1, le=100)] = 20       # else from the query
        if_match: Annotated[str | None, Header()] = None      # or from a header

    class Movies:
        def __init__(self, reader: Reader) -> None: ...

        async def get_movie(self, exchange: Exchange, asked: MovieParameters) -> Answer:
            \"\"\"The documentation's text.\"\"\"

    OPERATIONS = [
        Operation(
            "GET", "/v1/movies/{movie_id}", Movies.get_movie,
            parameters=MovieParameters, access=ANYONE, tags=("movies",), responses=PROBLEMS,
        ),
    ]

`answer` is awaited as `answer(parts, exchange[, parameters][, body])`, where `parts` is what the
operation was bound to when the service started: `bound(OPERATIONS, Movies(reader))`. An operation
with a `body` names a `Body`, which reads, decodes and validates it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, get_type_hints
from urllib.parse import parse_qsl

from fastapi import params
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from shared.errors import InvalidInput, TooLarge
from shared.web.exchange import Exchange, Reply
from shared.web.problems import InvalidFields, json_pointer, located

NAME_CHARS_SHOWN = 100

_IN_PATH = re.compile(r"\{(\w+)\}")


class Parameters(BaseModel):
    """Parameters of an operation, by the rules of FastAPI: a field that the path names is part of
    the path, one with `Header()` is a header, every other is in the query.
    """

    model_config = ConfigDict(frozen=True)

    # Whether a query parameter that the operation does not have, or that comes twice, is refused:
    # a misspelt filter would be no filter, and of two genres only one would count.
    query_is_closed: ClassVar[bool] = False


class Body(Protocol):
    """The body of an operation; `model` documents it. `bytes_max` None is the API's own limit."""

    @property
    def bytes_max(self) -> int | None: ...

    @property
    def model(self) -> type[BaseModel]: ...

    async def read(self, exchange: Exchange, bytes_max: int) -> bytes:
        """Receive the bytes, or raise `TooLarge`; see `read_body`."""

    async def parsed(self, exchange: Exchange, data: bytes) -> Any:
        """Decode and validate. Raises `MalformedJson` for bad syntax, which is told before all
        else, and pydantic's `ValidationError`, whose fields are told with those of the parameters.
        """


@dataclass(frozen=True, eq=False)
class Operation:
    """A route. `access` is for the API's gate to read; without one the gate is not asked.

    `documented` holds what `FastAPI.add_api_route` takes beside: `response_model`, `openapi_extra`.
    """

    method: str
    path: str
    answer: Callable[..., Awaitable[Reply]]
    parameters: type[Parameters] | None = None
    body: Body | None = None
    access: Any = None
    status: HTTPStatus = HTTPStatus.OK
    tags: Sequence[str] = ()
    responses: Mapping[int | str, dict[str, Any]] = field(default_factory=dict)
    documented: Mapping[str, Any] = field(default_factory=dict)
    parts: Any = None


def bound(operations: Iterable[Operation], parts: object) -> list[Operation]:
    """Return the operations of a room with the parts that their answers use."""
    return [replace(operation, parts=parts) for operation in operations]


class Table:
    """Finds the operation of a request: a path without parameters first, else in table order."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._literal: dict[tuple[str, str], tuple[Operation, ParameterReader]] = {}
        self._by_method: dict[
            str, tuple[re.Pattern[str], dict[int, tuple[Operation, ParameterReader]]]
        ] = {}
        by_method: dict[str, list[Operation]] = {}
        for operation in operations:
            if _IN_PATH.search(operation.path):
                by_method.setdefault(operation.method, []).append(operation)
            else:
                key = operation.method, operation.path
                self._literal[key] = operation, ParameterReader(operation)
        for method, of_method in by_method.items():
            self._by_method[method] = _alternatives(of_method)

    def find(
        self, method: str, path: str
    ) -> tuple[Operation, ParameterReader, Sequence[str]] | None:
        """Return the operation, the reader of its parameters, and the parts of the path."""
        literal = self._literal.get((method, path))
        if literal is not None:
            return (*literal, ())
        alternatives = self._by_method.get(method)
        if alternatives is None:
            return None
        pattern, by_group = alternatives
        matched = pattern.fullmatch(path)
        # The router takes a path with a line end for the path before it.
        if matched is None or not path.isprintable():
            return None
        group = matched.lastindex
        assert group is not None
        operation, reader = by_group[group]
        values = matched.groups()[group : group + len(reader.path_names)]
        return operation, reader, values

    def methods(self, path: str) -> set[str]:
        """Return the methods with which the path is an operation's."""
        methods = {method for method, _ in self._literal} | set(self._by_method)
        return {method for method in methods if self.find(method, path) is not None}


class ParameterReader:
    """Reads an operation's parameters from a request."""

    def __init__(self, operation: Operation) -> None:
        model = operation.parameters
        self.path_names = _IN_PATH.findall(operation.path)
        self._headers: list[tuple[str, bytes]] = []
        self._query: set[str] = set()
        self._locations: dict[str, tuple[str, str]] = {}
        self._closed = False
        if model is None:
            return
        self._closed = model.query_is_closed
        self._validate: Callable[[Any], Parameters] = model.__pydantic_validator__.validate_python
        for name, hint in get_type_hints(model, include_extras=True).items():
            if name in model.model_fields:
                self._add(name, model.model_fields[name].alias or name, hint)

    def parameters(self, exchange: Exchange) -> Parameters:
        """Return the model; raise `InvalidFields`, or `InvalidInput` for a stray parameter."""
        raw: dict[str, str] = dict(zip(self.path_names, exchange.path_values, strict=True))
        query_string = exchange.scope["query_string"]
        if query_string:
            self._add_query(raw, query_string)
        headers = exchange.headers
        for key, name in self._headers:
            value = headers.get(name)
            if value is not None:
                raw[key] = value.decode("latin-1")
        try:
            return self._validate(raw)
        except ValidationError as error:
            entries = located(error)
            for entry in entries:
                key, *rest = entry["loc"]
                entry["loc"] = (*self._locations[str(key)], *rest)
            raise InvalidFields(entries) from error

    def _add(self, name: str, key: str, hint: Any) -> None:
        if name in self.path_names:
            self._locations[key] = "path", key
        elif any(isinstance(one, params.Header) for one in getattr(hint, "__metadata__", ())):
            header = key.lower().replace("_", "-")
            self._headers.append((key, header.encode()))
            self._locations[key] = "header", header
        else:
            self._query.add(key)
            self._locations[key] = "query", key

    def _add_query(self, raw: dict[str, str], query_string: bytes) -> None:
        seen = set()
        for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
            if self._closed and (name in seen or name not in self._query):
                shown = name[:NAME_CHARS_SHOWN]
                stray = f"there is no parameter {shown!r}"
                detail = f"{name} is given more than once" if name in seen else stray
                raise InvalidInput(detail, pointer=json_pointer(("query", shown)))
            seen.add(name)
            if name in self._query:
                raw[name] = value


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """Return the whole body, or raise `TooLarge` as soon as it is, `ClientDisconnect` if it ends
    early.
    """
    parts: list[bytes] = []
    left = bytes_max
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        left -= len(part)
        if left < 0:
            raise TooLarge
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _alternatives(
    operations: Sequence[Operation],
) -> tuple[re.Pattern[str], dict[int, tuple[Operation, ParameterReader]]]:
    """One pattern for all paths of a method, and the operation of each of its groups."""
    patterns, by_group, group = [], {}, 1
    for operation in operations:
        parts = _IN_PATH.split(operation.path)
        # Every second part is a name.
        pattern = "([^/]+)".join(map(re.escape, parts[::2]))
        patterns.append(f"({pattern})")
        by_group[group] = operation, ParameterReader(operation)
        group += 1 + len(parts) // 2
    return re.compile("|".join(patterns), re.DOTALL), by_group
