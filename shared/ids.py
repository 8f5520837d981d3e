"""Identifiers, and how new and derived ones are made. Imports no framework."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import NewType
from uuid import UUID, SafeUUID

import msgspec

UserId = NewType("UserId", UUID)
MovieId = NewType("MovieId", UUID)
StreamId = NewType("StreamId", UUID)
EventId = NewType("EventId", UUID)

# An event's place in the whole log, in commit order and never reused; 1 is the first.
Position = NewType("Position", int)
# An event's place in its stream; 1 is the first, 0 means an empty stream.
Version = NewType("Version", int)

NO_VERSION = Version(0)
START = Position(0)
POSITION_MAX = 2**63 - 1

# Random numbers of 80 bits, drawn by the hundred: a system call for each id released Python's lock
# three times a rating, and woke a waiting thread each time.
_RANDOM_BYTES = 10
_DRAWN_AT_ONCE = 256
_drawn: list[int] = []
# Not shared with a forked child, which would make the same ids.
os.register_at_fork(after_in_child=_drawn.clear)

_VERSION_5 = 0x5 << 76
_VERSION_7 = 0x7 << 76
_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62
_UNVERSIONED_MASK = ~(0xF << 76) & ~(0b11 << 62)
_RANDOM_A_MASK = 0xFFF << 64
_RANDOM_B_MASK = (1 << 62) - 1
# Members of an enumeration are looked up by a function.
_UNKNOWN = SafeUUID.unknown

_json = msgspec.json.Encoder().encode


def new_uuid7() -> UUID:
    """Return a time-ordered random UUID: RFC 9562, 5.7, with 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = _random_bits()
    return _uuid(
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | _VERSION_7
        | random & _RANDOM_A_MASK
        | _VARIANT
        | random & _RANDOM_B_MASK
    )


def _random_bits() -> int:
    """Return 80 bits of the system's randomness."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            drawn = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE)
            _drawn.extend(
                int.from_bytes(drawn[at : at + _RANDOM_BYTES], "big")
                for at in range(0, len(drawn), _RANDOM_BYTES)
            )


def rating_stream_id(user_id: UserId, movie_id: MovieId) -> StreamId:
    """Return the stream of one user's rating of one movie; a user has at most one.

    It is `uuid5(user_id, movie_id.hex)`, computed a third faster: bulk requests need one for each
    row.
    """
    return StreamId(_uuid5(user_id, movie_id.hex))


def sessions_stream_id(subject_id: UUID) -> StreamId:
    """Return the stream of the ended sessions of a user or of a service key.

    It is separate from the user's own stream, which is read with every rating and must stay short.
    """
    return StreamId(_uuid5(subject_id, "sessions"))


def merges_stream_id(movie_id: MovieId) -> StreamId:
    """Return the stream of the movies that this one absorbed.

    It is separate from the movie's own stream, whose version is the version of the details.
    """
    return StreamId(_uuid5(movie_id, "merges"))


def _uuid5(namespace: UUID, name: str) -> UUID:
    digest = hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    bits = int.from_bytes(digest[:16], "big") & _UNVERSIONED_MASK
    return _uuid(bits | _VERSION_5 | _VARIANT)


def _uuid(bits: int) -> UUID:
    """Return `UUID(int=bits)` in half the time, without its checks; a rating makes four."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", bits)
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


def uuid_text(one: UUID) -> bytes:
    """Return `str(one)` as bytes in half the time."""
    return _json(one)[1:-1]


# The one stream of closed movies, which take no ratings; every rating is decided on it.
CLOSURES = StreamId(_uuid5(UUID(int=0), "closures"))


def keyed_uuid(secret: bytes, kind: str, value: str) -> UUID:
    """Return a UUID that only a holder of the secret can compute from `value`.

    It has version 8 (RFC 9562). An unkeyed hash of an e-mail address can be guessed; this one
    reveals nothing without the secret.
    """
    digest = hmac.digest(secret, f"{kind}\0{value}".encode(), hashlib.sha256)
    bits = int.from_bytes(digest[:16], "big")
    bits &= _UNVERSIONED_MASK
    return UUID(int=bits | _VERSION_8 | _VARIANT)
