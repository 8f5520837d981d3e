"""How many batches a process takes at once."""

from __future__ import annotations

from types import TracebackType

from shared.errors import Overloaded

# Each may take three times the largest body: all of them less than a gibibyte.
BATCHES_MAX = 16


class BatchRoom:
    """Entered by each batch; raises `Overloaded` when it is full."""

    def __init__(self) -> None:
        self._taken = 0

    def __enter__(self) -> None:
        if self._taken >= BATCHES_MAX:
            raise Overloaded(f"{BATCHES_MAX} batches are being taken already")
        self._taken += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._taken -= 1
