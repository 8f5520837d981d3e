"""Ranks in sorted sets: a time, with a rating's score in its low digits, and check bits.

A stored rank is the rank times 128 plus a number under 127, chosen so that the sum is congruent to
the member modulo 127. It preserves the order of ranks, is exact in a double for times before the
year 2109, and any change of a single decimal digit in Redis's files breaks the congruence, since no
multiple of 127 differs from 0 in one digit. A change of several digits passes once in 127 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shared.errors import DocumentDamaged

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RATING_STEP = 16
RANK_STEP = 128  # Congruent to 1 modulo the prime below, so that the two parts add up.
_PRIME = 127
_EXACT_MAX = 2**53  # The limit of exact integers in a double.


def stored_rank(member: bytes, rank: int) -> int:
    """Return the rank of a member as it is stored."""
    return rank * RANK_STEP + (int.from_bytes(member) - rank) % _PRIME


def checked_rank(member: bytes, stored: float) -> int:
    """Return the rank in a stored one; raise `DocumentDamaged` if it is not this member's."""
    whole = int(stored) if abs(stored) < _EXACT_MAX else -1
    if whole != stored or whole % _PRIME != int.from_bytes(member) % _PRIME:
        raise DocumentDamaged("a rank does not match its member")
    return whole // RANK_STEP


def checked_ranks(stored: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Return members and ranks of a sorted set's reply, in which they alternate.

    Raises `DocumentDamaged`. One loop without calls, since a page has many ranks.
    """
    found = []
    parts = iter(stored)
    number_of = int.from_bytes
    for member, text in zip(parts, parts, strict=True):
        try:
            whole = int(text)
        except ValueError:  # Not a whole number, or written with an exponent.
            found.append((member, checked_rank(member, float(text))))
            continue
        if (number_of(member) - whole) % _PRIME or not -_EXACT_MAX < whole < _EXACT_MAX:
            raise DocumentDamaged("a rank does not match its member")
        found.append((member, whole // RANK_STEP))
    return found


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    # Exact until the year 2200: a double's error is below half a microsecond.
    return datetime.fromtimestamp(value / 1_000, UTC)


def rating_rank(rated_at: datetime, half_stars: int) -> int:
    """Return a rank that orders ratings by time and includes the score, exact in a double."""
    return milliseconds(rated_at) * _RATING_STEP + half_stars


def half_stars_of(rank: int) -> int:
    """Return the half stars in a rating's rank."""
    return rank % _RATING_STEP


def from_rating_rank(rank: int) -> tuple[datetime, int]:
    """Return the time and the half stars in a rating's rank."""
    at_ms, half_stars = divmod(rank, _RATING_STEP)
    # As `from_milliseconds`, without a call for each rating of a page.
    return datetime.fromtimestamp(at_ms / 1_000, UTC), half_stars
