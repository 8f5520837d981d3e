"""Key ranges: the unit in which an audit reads the keys of a partition."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, NamedTuple

import redis

from projector.documents.working_set import Key

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


def read_range(pipeline: Any, key: str, part: KeyRange) -> None:
    match part.type:
        case "string":
            pipeline.get(key)
        case "zset":
            low = "-inf" if part.low is None else part.low
            high = "+inf" if part.high is None else f"({part.high}"
            pipeline.zrangebyscore(key, low, high, withscores=True)
        case "hash":
            pipeline.hgetall(key)
        case "stream":
            pipeline.xrange(key)
        case "absent":
            pipeline.exists(key)


def _whole(rank: float) -> int:
    """Return a stored rank, or -1 (which no member has) for a damaged one that is not finite."""
    return int(rank) if isfinite(rank) else -1


def parts_of(part: KeyRange, answer: Any) -> Parts | None:
    if isinstance(answer, redis.ResponseError):
        return None
    match part.type:
        case "string":
            return {} if answer is None else {b"": answer}
        case "zset":
            return {member: _whole(rank) for member, rank in answer}
        case "hash":
            return dict(answer)
        case "stream":
            return {entry: b" ".join(fields.values()) for entry, fields in answer}
        case "absent":
            return {b"": b""} if answer else {}
