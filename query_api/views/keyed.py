"""Rows of a list with their keys: in order, after a cursor, cut to a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from query_api.read_limits import SORTED_A_TOKEN, charge_work
from shared.errors import InvalidInput
from shared.read_model.ranks import half_stars_of

# Ratings are sorted for each request in any order but the newest first; this many are at most.
SORTED_MAX = 20_000

Row = TypeVar("Row")
Key = tuple[Any, ...]
# A row, and the key that a page which ends there goes on after.
Keyed = tuple[Key, Row]


def ordered(rows: Sequence[Keyed[Row]], sort: str, after: Key | None) -> list[Keyed[Row]]:
    """Rows by their keys, of which no two are the same, those after the cursor's.

    Charges the caller for it; raises `InvalidInput` for more than `SORTED_MAX`.
    """
    if len(rows) > SORTED_MAX:
        detail = f"only up to {SORTED_MAX} ratings are sorted by {sort}; newest has no limit"
        raise InvalidInput(detail, pointer="/query/sort")
    charge_work(len(rows) // SORTED_A_TOKEN)
    return [one for one in sorted(rows) if after is None or one[0] > after]


def cut(rows: Sequence[Keyed[Row]], limit: int) -> tuple[list[Row], Key | None]:
    """At most `limit` rows, and the key where the next page begins if there are more."""
    return [row for _, row in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None


def score_key(member: bytes, rank: int) -> tuple[int, int, bytes]:
    """Orders by score, of the same score the newest first."""
    return -half_stars_of(rank), -rank, member
