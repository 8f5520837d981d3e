"""How many batches a process takes at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded

# Each may take three times the largest body: all of them less than a gibibyte.
BATCHES_MAX = 16


class BatchRoom:
    """Of one process."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """For one batch; raises `Overloaded` when there is no room."""
        if self._taken >= BATCHES_MAX:
            raise Overloaded(f"{BATCHES_MAX} batches are being taken already")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
