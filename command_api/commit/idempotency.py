"""Idempotency keys: a repeat of a request gets the answer of the first one.

Only keyed hashes of the key and of the request are stored, for at least `KEPT_FOR_H`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple
from uuid import UUID

from command_api.deciding.load_result import AnswerKey
from command_api.store.store import Store
from shared.errors import InvalidInput
from shared.ids import keyed_uuid

KEY_CHARS_MAX = 255
KEPT_FOR_H = 24

_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARS_MAX}}}")
_PURGE = (
    b"DELETE FROM idempotency_keys WHERE (principal, key_id) IN ("
    b"SELECT principal, key_id FROM idempotency_keys"
    b" WHERE recorded_at < now() - make_interval(hours => %s) LIMIT %s)"
)


class RequestKey(NamedTuple):
    """A request's key, and the keyed hash of its contents."""

    key: AnswerKey
    request_hmac: bytes


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


def request_key(
    text: str, named: tuple[str, str, str], body: bytes, principal: UUID, secret: bytes
) -> RequestKey:
    """Return the key `text` of a request for `named`: method, path and `If-Match`."""
    asked = "\0".join((*named, "")).encode()
    digest = hmac.digest(secret, b"request\0" + asked + body, hashlib.sha256)
    return RequestKey(AnswerKey(principal, keyed_uuid(secret, "idempotency-key", text)), digest)


async def purge_answers(store: Store) -> int:
    """Delete the answers past their retention, and return their number."""
    return await store.delete_all(_PURGE, [KEPT_FOR_H])
