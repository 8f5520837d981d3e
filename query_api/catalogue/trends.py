"""The movies by their number of ratings in the last days, from the days of their history.

Most ratings concern nobody who asks for these orders: a rating only notes its movie, whose history
is read when somebody next asks. A window moves on at midnight (UTC) without an event.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from query_api.catalogue.entry import Entry
from query_api.catalogue.slicing import Slice, Sliced, SortedKeys, sorted_in_slices

# Today and the days before it, in UTC.
Window = Literal[7, 30, 365]
WINDOWS: tuple[Window, ...] = get_args(Window)
# Sorting all is faster than bisection when more than one movie in this many has moved.
SORT_ONE_IN = 128

# The number of ratings in the window and of all, negative; then as in every order.
TrendKey = tuple[int, int, str, int, bytes]
TREND_KEY_TYPE: type[tuple[Any, ...]] = tuple[int, int, str, int, bytes]


class Trends:
    """Orders of the movies with more ratings given than withdrawn in a window.

    `update` is to have ended before it is called again. It may be given up at any pause.
    """

    def __init__(self) -> None:
        # Movies that changed since their history was read.
        self.unread: set[bytes] = set()
        # Movies whose history was read since the last update.
        self._read: set[bytes] = set()
        # Alternating days, as ordinals, and what they added to the number of ratings.
        self._days: dict[bytes, array[int]] = {}
        self._keys: dict[Window, dict[bytes, TrendKey]] = {window: {} for window in WINDOWS}
        self._orders = {window: SortedKeys() for window in WINDOWS}
        self._today = 0
        self._is_sorted = True

    def order(self, window: Window) -> SortedKeys:
        """Return the keys in order, as of the last update; some may be of movies that left."""
        return self._orders[window]

    def keys(self, window: Window) -> Mapping[bytes, TrendKey]:
        """Return the keys by movie; some may be of movies that left."""
        return self._keys[window]

    def put(self, movie: bytes, added: Mapping[int, int]) -> None:
        """Replace the days of a movie."""
        self._read.add(movie)
        if added:
            self._days[movie] = array("i", (part for day in added.items() for part in day))
        else:
            self._days.pop(movie, None)

    def update(self, entries: Mapping[bytes, Entry], today: int) -> Sliced[None]:
        """Bring the orders to a day, and to the movies whose history was read."""
        slice_ = Slice()
        was_sorted, self._is_sorted = self._is_sorted, False
        is_same_day = was_sorted and today == self._today
        changed = self._read if is_same_day else self._read | self._days.keys()
        moved: dict[Window, list[tuple[TrendKey | None, TrendKey | None]]] = {
            window: [] for window in WINDOWS
        }
        for movie in changed:
            entry = entries.get(movie)
            if entry is None:
                self._days.pop(movie, None)
            counts = _counts(self._days.get(movie, ()), today)
            for window, count in zip(WINDOWS, counts, strict=True):
                keys = self._keys[window]
                old = keys.pop(movie, None)
                new = None if entry is None or count <= 0 else _key(entry, count)
                if new is not None:
                    keys[movie] = new
                if new != old:
                    moved[window].append((old, new))
            yield from slice_.pause()
        for window, moves in moved.items():
            order = self._orders[window]
            if not was_sorted or len(moves) * SORT_ONE_IN > len(order):
                keys_of_all = self._keys[window].values()
                in_order = yield from sorted_in_slices(keys_of_all, slice_)
                self._orders[window] = SortedKeys(in_order)
                continue
            for old, new in moves:
                if old is not None:
                    order.remove(old)
                if new is not None:
                    order.add(new)
                yield from slice_.pause()
        self._read.clear()
        self._today, self._is_sorted = today, True


def _counts(days: Iterable[int], today: int) -> tuple[int, ...]:
    """Return the number of ratings in each window."""
    counts = [0] * len(WINDOWS)
    parts = iter(days)
    for day, added in zip(parts, parts, strict=True):
        age = today - day
        if age < 0:
            continue
        for place, window in enumerate(WINDOWS):
            if age < window:
                counts[place] += added
    return tuple(counts)


def _key(entry: Entry, count: int) -> TrendKey:
    film = entry.film
    return -count, -entry.ratings.count, film.title_key, film.year, film.movie_id
