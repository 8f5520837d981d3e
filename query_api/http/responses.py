"""Build answers from what was read: position, ETag, pages; documents pass through as bytes."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from query_api.http.shapes import Shape
from query_api.views.cursors import Cursors
from query_api.views.pages import Page
from shared.ids import START, Position
from shared.web import openapi
from shared.web.answer import JSON, Answer, AnswerKind
from shared.web.openapi import NEWEST_HEADER
from shared.web.operation import Request
from shared.web.problems import POSITION_HEADER

# Smaller answers cost more to compress than compression saves.
COMPRESSED_MIN_BYTES = 4_096
COMPRESSION_LEVEL = 1
TAG_CHARS = 24

# Characters allowed in a query string (RFC 3986), including those already quoted.
_QUERY_CHARS = "%+=:@!$'()*,;/?"
_JSON = JSON.encode()
_json = msgspec.json.Encoder().encode


# Answers for a movie that left the catalogue.
CLOSED = {
    status: kind._replace(headers=(*kind.headers, POSITION_HEADER))
    for status, kind in openapi.CLOSED.items()
}


def documented(shape: type[Shape], *, description: str) -> dict[int, AnswerKind]:
    """Document the answers of a read, whose body passes through as bytes."""
    headers = (POSITION_HEADER, NEWEST_HEADER, "ETag", "Cache-Control")
    paged = (*headers, "Link") if "next_cursor" in shape.model_fields else headers
    return {
        200: AnswerKind(description, shape, paged, shape.EXAMPLE),
        304: AnswerKind("The caller has it: `If-None-Match` names its tag", headers=paged),
    }


def document(
    request: Request[Any, Any],
    body: bytes,
    position: Position,
    *,
    newest: Position = START,
    link: str | None = None,
    own: bool = False,
    version: str | None = None,
) -> Answer:
    """Answer with a body, its ETag and its position, or with 304 if the caller has it.

    Large bodies are compressed. `version` is the one that commands take as the condition of a
    change. `newest` is reported if the body may include changes after the position. `own` marks a
    body that only the caller may see.
    """
    etag = etag_of(body, version)
    fields = [
        # Clients keep the answer, and revalidate it with its tag each time.
        (b"cache-control", b"private, no-cache" if own else b"no-cache"),
        (b"starfold-position", b"%d" % position),
    ]
    if newest > position:
        fields.append((b"starfold-newest", b"%d" % newest))
    if link is not None:
        fields.append((b"link", link.encode()))
    if len(body) >= COMPRESSED_MIN_BYTES:
        fields.append((b"vary", b"accept-encoding"))
        accepted = request.field(b"accept-encoding")
        if accepted is not None and _takes_gzip(accepted):
            etag = etag[:-1] + '-gzip"'
            fields.append((b"content-encoding", b"gzip"))
            body = gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
    fields.append((b"etag", etag.encode()))
    known = request.field(b"if-none-match")
    if known is not None and knows(known, etag):
        return Answer(304, fields)
    fields += ((b"content-type", _JSON), (b"content-length", b"%d" % len(body)))
    return Answer(200, fields, body)


def page_answer(request: Request[Any, Any], page: Page, cursors: Cursors, of: str) -> Answer:
    """Answer with a page that exists, of the list that `of` names in its cursors."""
    assert page.items is not None
    cursor = page.cursor(cursors, of)
    return listing(request, page.items, cursor, page.position, page.newest, page.total)


def listing(
    request: Request[Any, Any],
    items: Sequence[bytes],
    cursor: str | None,
    position: Position,
    newest: Position = START,
    count: int | None = None,
) -> Answer:
    """Answer with a page of items that are JSON already; `cursor` starts the next page."""
    link = None if cursor is None else f'<{_next_page(request, cursor)}>; rel="next"'
    end = b"}" if count is None else b',"count":%d}' % count
    parts = (b'{"items":[', b",".join(items), b'],"next_cursor":', _json(cursor), end)
    return document(request, b"".join(parts), position, newest=newest, link=link)


def _next_page(request: Request[Any, Any], cursor: str) -> str:
    """Return the request's own target with another cursor, which needs no quoting."""
    query_string: bytes = request.scope["query_string"]
    parts = [
        quote(part, safe=_QUERY_CHARS)
        for part in query_string.split(b"&")
        if part and unquote_to_bytes(part.partition(b"=")[0]) != b"cursor"
    ]
    return f"{quote(request.path)}?{'&'.join([*parts, 'cursor=' + cursor])}"


def etag_of(body: bytes, version: str | None = None) -> str:
    """Return a strong tag of these bytes, including the version that they show."""
    digest = sha256(body).hexdigest()[:TAG_CHARS]
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


def knows(if_none_match: str, etag: str) -> bool:
    """Whether `If-None-Match` names the tag; a compressing proxy may have made it weak."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
