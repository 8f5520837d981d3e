"""Key ranges: the unit in which an audit reads the keys of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Literal, NamedTuple

import redis

from projector.documents.working_set import Key
from shared.read_model.clients import Command

Type = Literal["string", "zset", "hash", "stream", "absent"]
# By member, field or entry name; a string document has the empty name.
Parts = Mapping[bytes, bytes | int]


class KeyRange(NamedTuple):
    """A key read as one type; of a large sorted set only part of it.

    That part has ranks from `low` (inclusive) to `high` (exclusive).
    """

    key: Key
    type: Type
    low: int | None = None
    high: int | None = None


def as_read(key: str, part: KeyRange) -> Command:
    """Return the command that reads a range."""
    match part.type:
        case "string":
            return ("GET", key)
        case "zset":
            low = "-inf" if part.low is None else part.low
            high = "+inf" if part.high is None else f"({part.high}"
            return ("ZRANGEBYSCORE", key, low, high, "WITHSCORES")
        case "hash":
            return ("HGETALL", key)
        case "stream":
            return ("XRANGE", key, "-", "+")
        case "absent":
            return ("EXISTS", key)


def parts_of(part: KeyRange, answer: Any) -> Parts | None:
    """Return the parts in a reply; None for a key of an unexpected type."""
    if isinstance(answer, redis.ResponseError):
        return None
    match part.type:
        case "string":
            return {} if answer is None else {b"": answer}
        case "zset":
            return {member: _whole(float(rank)) for member, rank in pairs(answer)}
        case "hash":
            return dict(pairs(answer))
        case "stream":
            return {entry: b" ".join(fields[1::2]) for entry, fields in answer}
        case "absent":
            return {b"": b""} if answer else {}


def pairs(answer: Any) -> Iterable[tuple[bytes, Any]]:
    """Return the pairs in a reply, which the protocol's version 2 has as a flat list."""
    if isinstance(answer, dict):
        return answer.items()
    if answer and not isinstance(answer[0], list):
        return zip(answer[::2], answer[1::2], strict=True)
    return ((one, other) for one, other in answer)


def _whole(rank: float) -> int:
    """Return a stored rank, or -1 (which no member has) for a damaged one that is not finite."""
    return int(rank) if isfinite(rank) else -1
