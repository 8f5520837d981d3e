"""Sort keys of a list's rows: ordering, continuing after a cursor, cutting to a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from query_api.read_limits import SORTED_A_TOKEN, charge_work
from shared.errors import InvalidInput
from shared.read_model.ranks import half_stars_of

# Maximum ratings to sort for a request in any order but newest first.
SORTED_MAX = 20_000

Row = TypeVar("Row")
Key = tuple[Any, ...]
# A row with its sort key, which is unique in the list.
KeyedRow = tuple[Key, Row]


def ordered(rows: Sequence[KeyedRow[Row]], sort: str, after: Key | None) -> list[KeyedRow[Row]]:
    """Return the rows after the cursor's key in order, and charge the caller for the sorting.

    Raises `InvalidInput` for more than `SORTED_MAX` rows.
    """
    if len(rows) > SORTED_MAX:
        detail = f"at most {SORTED_MAX} ratings can be sorted by {sort}; newest has no limit"
        raise InvalidInput(detail, pointer="/query/sort")
    charge_work(len(rows) // SORTED_A_TOKEN)
    return [one for one in sorted(rows) if after is None or one[0] > after]


def cut(rows: Sequence[KeyedRow[Row]], limit: int) -> tuple[list[Row], Key | None]:
    """Return at most `limit` rows, and the key where the next page starts if there is one."""
    return [row for _, row in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None


def score_key(member: bytes, rank: int) -> tuple[int, int, bytes]:
    """Return a key that orders by score, and equal scores newest first."""
    return -half_stars_of(rank), -rank, member
