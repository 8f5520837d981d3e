"""Movies in the order of their last change, so that a mirror can follow by pages.

A change appends a key; older keys of the movie are skipped, and removed once there are many. So a
change costs no search, and a movie costs one key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Protocol

from query_api.catalogue.slicing import Slice, Sliced, sorted_in_slices
from shared.ids import Position

# Keys that are out of date are removed beyond this many, or as many as the valid ones.
OUTDATED_MAX = 10_000

Change = tuple[Position, bytes]


class Placed(Protocol):
    """Anything that has the position of its last change."""

    @property
    def position(self) -> Position: ...


class ChangeOrder:
    """Keys of movies, with the position of each one's last change in one of the `places`."""

    def __init__(self, *places: Mapping[bytes, Placed]) -> None:
        self._places = places
        self._keys: list[Change] = []
        self._is_sorted = True
        self._compact_at = OUTDATED_MAX

    def note(self, movie: bytes, position: Position) -> None:
        """Record the last change of a movie."""
        key = position, movie
        # A movie may be read at a later position than the next one is.
        self._is_sorted = self._is_sorted and (not self._keys or self._keys[-1] <= key)
        self._keys.append(key)
        if len(self._keys) > self._compact_at:
            self._keys = [one for one in self._keys if self._is_valid(one)]
            self._compact_at = 2 * len(self._keys) + OUTDATED_MAX

    def sort(self, slice_: Slice) -> Sliced[None]:
        """Sort the keys of a load, which come in any order."""
        self._keys = yield from sorted_in_slices(self._keys, slice_)
        self._is_sorted = True

    def after(self, position: Position, until: Position, limit: int) -> list[Change]:
        """Return at most `limit` movies whose last change is in a range of positions."""
        if not self._is_sorted:
            self._keys.sort()  # Almost sorted already.
            self._is_sorted = True
        found: list[Change] = []
        previous = None
        for place in range(bisect_left(self._keys, (Position(position + 1), b"")), len(self._keys)):
            key = self._keys[place]
            if key[0] > until or len(found) == limit:
                break
            if key != previous and self._is_valid(key):
                found.append(key)
            previous = key
        return found

    def _is_valid(self, key: Change) -> bool:
        position, movie = key
        for place in self._places:
            if (placed := place.get(movie)) is not None:
                return placed.position == position
        return False
