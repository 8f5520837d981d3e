"""From what was read to an answer: position, ETag, pages. Documents are passed through as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import Query, Request, Response

from query_api.cursors import encode_cursor
from shared.http import POSITION_HEADER
from shared.ids import Position
from shared.problems import PROBLEM_JSON

LIMIT_MAX = 100
LIMIT_DEFAULT = 20
JSON = "application/json"

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]

_PROBLEM: dict[str, Any] = {PROBLEM_JSON: {"schema": {"type": "object"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such thing, or it is private", "content": _PROBLEM},
    422: {"description": "Some values are not allowed", "content": _PROBLEM},
    503: {"description": "Not there yet, or Redis does not answer; retry", "content": _PROBLEM},
}


def example(value: object, *, description: str) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a route whose body is passed through as bytes."""
    return {
        200: {
            "description": description,
            "headers": {POSITION_HEADER: {"schema": {"type": "integer"}}},
            "content": {JSON: {"schema": {"type": "object"}, "example": value}},
        }
    }


def with_ratings(details: bytes, statistics: bytes | None, parked: bytes | None) -> bytes:
    """A movie or a profile with its statistics, and `stale` if it is parked."""
    stale = b',"stale":true}' if parked is not None else b"}"
    return b"".join((details[:-1], b',"ratings":', statistics or b"null", stale))


def document(request: Request, body: bytes, position: Position) -> Response:
    """A single document, or 304 if the caller has it already."""
    etag = etag_of(body)
    headers = {"ETag": etag, POSITION_HEADER: str(position), "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match")
    if known is not None and knows(known, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def etag_of(body: bytes) -> str:
    """A strong tag of these very bytes."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def knows(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` names the tag."""
    return etag in (tag.strip() for tag in if_none_match.split(","))


def listing(
    request: Request, items: Sequence[bytes], next_key: object | None, position: Position
) -> Response:
    """A page of items that are JSON already; `next_key` is where the next one goes on."""
    headers = {POSITION_HEADER: str(position), "Cache-Control": "no-cache"}
    cursor = None if next_key is None else encode_cursor(next_key)
    if cursor is not None:
        query = urlencode({**request.query_params, "cursor": cursor})
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    body = b"".join(
        (b'{"items":[', b",".join(items), b'],"next_cursor":', msgspec.json.encode(cursor), b"}")
    )
    return Response(body, headers=headers, media_type=JSON)
