"""Opaque cursors: where a page ended, by its sort key and never by a count of rows."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from shared.errors import InvalidInput

CURSOR_CHARS_MAX = 2_000

Key = TypeVar("Key")


def encode_cursor(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, key_type: type[Key]) -> Key:
    """The key; raises `InvalidInput` for what was not made here."""
    try:
        padded = cursor[:CURSOR_CHARS_MAX] + "=" * (-len(cursor) % 4)
        return msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=key_type)
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise InvalidInput("the cursor is not one that this API gave", pointer="cursor") from error
