"""Slices of a long computation: it pauses after it has held the event loop for `SLICE_S`."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

SLICE_S = 0.002
# Keys sorted between two looks at the clock.
RUN = 1_000

Result = TypeVar("Result")
Key = TypeVar("Key", str, tuple[Any, ...])
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
