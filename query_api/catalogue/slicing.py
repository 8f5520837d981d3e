"""Slices of a long search: it pauses after it has held the event loop for `SLICE_S`."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

SLICE_S = 0.002

Result = TypeVar("Result")
# A search that pauses wherever the event loop may run other tasks.
Sliced = Generator[None, None, Result]


class Slice:
    """Measures how long a search has held the event loop."""

    def __init__(self) -> None:
        self._ends_at = time.perf_counter() + SLICE_S

    def pause(self) -> Sliced[None]:
        """Pause if the search has held the event loop for long enough."""
        if time.perf_counter() >= self._ends_at:
            yield
            self._ends_at = time.perf_counter() + SLICE_S


def finished(search: Sliced[Result]) -> Result:
    """Run a search to its end without pausing."""
    while True:
        try:
            next(search)
        except StopIteration as ended:
            result: Result = ended.value
            return result
