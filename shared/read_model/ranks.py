"""Ranks in sorted sets, with check bits keyed by their member.

A stored rank is the rank times 128 plus a number under 127, chosen so that the whole is congruent
to the member modulo 127. It orders as the rank does, is exact in a double for times before the year
2109, and any single decimal digit that changes in Redis's files breaks the congruence, since no
multiple of 127 differs from 0 in one digit. A change of several digits passes once in 127 times.
"""

from __future__ import annotations

from shared.errors import DocumentDamaged

_STEP = 128  # Congruent to 1 modulo the prime below, so that the two parts add up.
_PRIME = 127


def stored_rank(member: bytes, rank: int) -> int:
    """Return the rank of a member as it is stored."""
    return rank * _STEP + (int.from_bytes(member) - rank) % _PRIME


def checked_rank(member: bytes, stored: float) -> int:
    """Return the rank of a stored one; raise `DocumentDamaged` if it is not this member's."""
    whole = int(stored) if abs(stored) < 2**53 else -1
    if whole != stored or whole % _PRIME != int.from_bytes(member) % _PRIME:
        raise DocumentDamaged("a rank does not match its member")
    return whole // _STEP
