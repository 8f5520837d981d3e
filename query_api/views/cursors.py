"""Opaque cursors: the sort key at which a page ended, never a count of rows.

A cursor may hold the key of a row that its bearer may not see (a private user's rating), so it is
sealed with authenticated encryption. It is bound to its list: other lists and orders refuse it. The
same key gives the same cursor (AES-SIV needs no nonce), so that an unchanged page keeps its ETag.
"""

from __future__ import annotations

import base64
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared.errors import InvalidInput

CURSOR_CHARS_MAX = 2_000

Key = TypeVar("Key")

_encode = msgspec.msgpack.Encoder().encode


class Cursors:
    """Seals and opens cursors with the key that all query APIs share."""

    def __init__(self, key: bytes) -> None:
        self._sealing = AESSIV(key)

    def seal(self, of: str, key: object) -> str:
        """Return the cursor for a key of a list, whose name includes all that distinguishes it."""
        sealed = self._sealing.encrypt(_encode(key), [of.encode()])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, of: str, cursor: str, key_type: type[Key]) -> Key:
        """Return the key in a cursor; raise `InvalidInput` for a cursor of another list."""
        if len(cursor) > CURSOR_CHARS_MAX:
            raise _foreign()
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            encoded = self._sealing.decrypt(sealed, [of.encode()])
            return msgspec.msgpack.decode(encoded, type=key_type)
        except (ValueError, InvalidTag) as error:  # `DecodeError` is a `ValueError`.
            raise _foreign() from error


def _foreign() -> InvalidInput:
    detail = "the cursor does not belong to this list"
    return InvalidInput(detail, pointer="/query/cursor")
