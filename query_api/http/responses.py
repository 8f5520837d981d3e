"""From what was read to an answer: position, ETag, pages. Documents are passed through as bytes."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from fastapi import Request, Response
from pydantic import BaseModel

from shared.ids import START, Position
from shared.web.problems import POSITION_HEADER, PROBLEM_JSON, PROBLEM_SCHEMA

JSON = "application/json"
# Below, compressing costs more than it saves.
COMPRESSED_MIN_BYTES = 4_096
COMPRESSION_LEVEL = 1
TAG_CHARS = 24
NEWEST_HEADER = "Starfold-Newest"

_PROBLEM: dict[str, Any] = {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such thing, or it is private", "content": _PROBLEM},
    429: {"description": "A rate limit of reads, with `Retry-After`", "content": _PROBLEM},
    422: {"description": "Some values are not allowed", "content": _PROBLEM},
    503: {"description": "Not there yet, or Redis does not answer; retry", "content": _PROBLEM},
}
CALLER_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "The access token is missing, or not good any more", "content": _PROBLEM},
}
OPERATOR_PROBLEMS: dict[int | str, dict[str, Any]] = {
    **CALLER_PROBLEMS,
    403: {"description": "Not allowed to this caller", "content": _PROBLEM},
}


def example(value: object, *, description: str) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a route of the operators'."""
    content = {JSON: {"schema": {"type": "object"}, "example": value}}
    return {200: {"description": description, "content": content}}


def documented(
    value: object, shape: type[BaseModel], *, description: str
) -> dict[int | str, dict[str, Any]]:
    """The documented answers of a read, whose body is passed through as bytes."""
    position = {
        "description": "The log position up to which all is in it",
        "schema": {"type": "integer"},
    }
    newest = {
        "description": "The log position after which nothing is in it, where that is another",
        "schema": {"type": "integer"},
    }
    headers = {
        POSITION_HEADER: position,
        NEWEST_HEADER: newest,
        "ETag": {"schema": {"type": "string"}},
    }
    return {
        200: {
            "description": description,
            "headers": headers,
            "model": shape,
            "content": {JSON: {"example": value}},
        },
        304: {"description": "It is what `If-None-Match` names", "headers": headers},
    }


class Answer(NamedTuple):
    """What is sent for a read that found something."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Known(NamedTuple):
    """What the request says about its answer: the tags that it has, the encodings that it takes."""

    if_none_match: str | None = None
    accept_encoding: str | None = None


def answer(
    body: bytes,
    position: Position,
    known: Known,
    *,
    newest: Position = START,
    link: str | None = None,
    own: bool = False,
) -> Answer:
    """The body with its tag and position, or 304 if the caller has it; large ones compressed.

    `newest` is stated where the body may hold more than up to the position.
    """
    etag = etag_of(body)
    headers = [
        # To be kept, and asked about with its tag each time.
        (b"cache-control", b"private, no-cache" if own else b"no-cache"),
        (b"starfold-position", b"%d" % position),
    ]
    if newest > position:
        headers.append((b"starfold-newest", b"%d" % newest))
    if link is not None:
        headers.append((b"link", link.encode()))
    if len(body) >= COMPRESSED_MIN_BYTES:
        headers.append((b"vary", b"accept-encoding"))
        if known.accept_encoding is not None and _takes_gzip(known.accept_encoding):
            etag = etag[:-1] + '-gzip"'
            headers.append((b"content-encoding", b"gzip"))
            body = gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
    headers.append((b"etag", etag.encode()))
    if known.if_none_match is not None and knows(known.if_none_match, etag):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
    headers += ((b"content-type", JSON.encode()), (b"content-length", b"%d" % len(body)))
    return Answer(HTTPStatus.OK, headers, body)


def page(
    path: str, query: Mapping[str, str], items: Sequence[bytes], cursor: str | None
) -> tuple[bytes, str | None]:
    """A page's body and its `Link`; the items are JSON already, `cursor` begins the next page."""
    link = None
    if cursor is not None:
        link = f'<{quote(path)}?{urlencode({**query, "cursor": cursor})}>; rel="next"'
    body = b"".join(
        (b'{"items":[', b",".join(items), b'],"next_cursor":', msgspec.json.encode(cursor), b"}")
    )
    return body, link


def document(
    request: Request,
    body: bytes,
    position: Position,
    *,
    newest: Position = START,
    link: str | None = None,
    own: bool = False,
) -> Response:
    """A single document, or 304 if the caller has it already. `own`: it is the caller's alone."""
    known = Known(request.headers.get("if-none-match"), request.headers.get("accept-encoding"))
    made = answer(body, position, known, newest=newest, link=link, own=own)
    response = Response(made.body, status_code=made.status)
    response.raw_headers = made.headers
    return response


def etag_of(body: bytes) -> str:
    """A strong tag of these very bytes."""
    return f'"{sha256(body).hexdigest()[:TAG_CHARS]}"'


def knows(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` names the tag, also made weak by a proxy that compresses."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def listing(
    request: Request,
    items: Sequence[bytes],
    cursor: str | None,
    position: Position,
    newest: Position = START,
) -> Response:
    """A page of items that are JSON already; `cursor` is where the next one begins."""
    body, link = page(request.scope["path"], request.query_params, items, cursor)
    return document(request, body, position, newest=newest, link=link)


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
