"""Idempotency keys: a repeat of a request gets the answer of the first one.

Only keyed hashes of the key and of the request are stored, for at least `KEPT_FOR_H`.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from uuid import UUID

from command_api.deciding.load_result import AnswerKey
from command_api.store.store import Store
from shared.ids import keyed_uuid

KEPT_FOR_H = 24

_PURGE = (
    b"DELETE FROM idempotency_keys WHERE (principal, key_id) IN ("
    b"SELECT principal, key_id FROM idempotency_keys"
    b" WHERE recorded_at < now() - make_interval(hours => %s) LIMIT %s)"
)


class RequestKey(NamedTuple):
    """A request's key, and the keyed hash of its contents."""

    key: AnswerKey
    request_hmac: bytes


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
