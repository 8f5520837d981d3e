"""The header field Idempotency-Key, with which a client may repeat a request."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from shared.errors import InvalidInput
from shared.web.operation import Header, Parameters

KEY_CHARS_MAX = 255

_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARS_MAX}}}")


class Idempotent(Parameters):
    """Parameters of an operation that is executed once for each Idempotency-Key."""

    idempotency_key: Annotated[
        str | None,
        Header("Idempotency-Key"),
        Field(
            description="A repeat of the same request gets the first answer, for 24 hours.",
            json_schema_extra={"minLength": 1, "maxLength": KEY_CHARS_MAX, "pattern": "^[!-~]+$"},
        ),
    ] = None


def key_text(header: str) -> str:
    """Return the key in a header's text without outer white space; raise `InvalidInput`."""
    text = header.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':  # A string of RFC 9651, as the draft requires.
        text = text[1:-1]
    if not _KEY.fullmatch(text):
        raise InvalidInput(
            f"Idempotency-Key must be 1 to {KEY_CHARS_MAX} visible ASCII characters without spaces"
        )
    return text
