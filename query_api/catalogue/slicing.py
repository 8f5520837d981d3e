"""Long computations in slices, and long lists in chunks.

A computation pauses after it has held the event loop for `SLICE_S`.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Generator, Iterable, Iterator
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeVar

SLICE_S = 0.002
# Keys sorted between two looks at the clock.
RUN = 1_000
# A longer chunk is halved.
CHUNK_MAX = 2_000

Result = TypeVar("Result")
Key = TypeVar("Key", str, tuple[Any, ...])
# A key of an order.
Ranked = tuple[Any, ...]
# A computation that pauses wherever the event loop may run other tasks.
Sliced = Generator[None, None, Result]


class Slice:
    """Measures how long a computation has held the event loop."""

    def __init__(self) -> None:
        self._ends_at = time.perf_counter() + SLICE_S

    def pause(self) -> Sliced[None]:
        """Pause if the computation has held the event loop for long enough."""
        if time.perf_counter() >= self._ends_at:
            yield
            self._ends_at = time.perf_counter() + SLICE_S


def finished(computation: Sliced[Result]) -> Result:
    """Run a computation to its end without pausing."""
    while True:
        try:
            next(computation)
        except StopIteration as ended:
            result: Result = ended.value
            return result


def sorted_in_slices(keys: Iterable[Key], slice_: Slice) -> Sliced[list[Key]]:
    """Return the keys in order, like `sorted`, which holds the event loop for seconds."""
    rest = iter(keys)
    runs: list[list[Key]] = []
    while run := sorted(islice(rest, RUN)):
        runs.append(run)
        yield from slice_.pause()
    merged = merge(*runs)
    found: list[Key] = []
    while chunk := list(islice(merged, RUN)):
        found += chunk
        yield from slice_.pause()
    return found


class SortedKeys:
    """Distinct keys in order, in chunks: a change moves one chunk in memory, however many exist."""

    def __init__(self, keys: Iterable[Ranked] = ()) -> None:
        """Take keys that are sorted."""
        rest = iter(keys)
        self._chunks = list(iter(lambda: list(islice(rest, CHUNK_MAX // 2)), []))
        self._lasts = [chunk[-1] for chunk in self._chunks]
        self._count = sum(map(len, self._chunks))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Ranked]:
        return chain.from_iterable(self._chunks)

    def after(self, key: Ranked | None, limit: int) -> list[Ranked]:
        """Return at most `limit` of the next keys, from the first one on; none at the end only."""
        if key is None:
            return self._chunks[0][:limit] if self._chunks else []
        place = bisect_right(self._lasts, key)
        if place == len(self._chunks):
            return []
        chunk = self._chunks[place]
        start = bisect_right(chunk, key)
        return chunk[start : start + limit]

    def add(self, key: Ranked) -> None:
        if not self._chunks:
            self._chunks.append([])
            self._lasts.append(key)
        place = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[place]
        insort(chunk, key)
        self._lasts[place] = chunk[-1]
        self._count += 1
        if len(chunk) > CHUNK_MAX:
            half = len(chunk) // 2
            self._chunks.insert(place + 1, chunk[half:])
            self._lasts.insert(place, chunk[half - 1])
            del chunk[half:]

    def remove(self, key: Ranked) -> None:
        """Remove a key that exists."""
        place = bisect_left(self._lasts, key)
        chunk = self._chunks[place]
        del chunk[bisect_left(chunk, key)]
        self._count -= 1
        if chunk:
            self._lasts[place] = chunk[-1]
        else:
            del self._chunks[place], self._lasts[place]
