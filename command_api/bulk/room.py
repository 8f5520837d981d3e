"""How many bulk requests a process takes at once, and how many bytes of their bodies it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from command_api.bodies.models import BULK_BYTES_MAX
from shared.errors import Overloaded

BATCHES_MAX = 16
BATCHES_PER_CALLER_MAX = 4
# Bodies that are still coming, all together. A slow sender holds what it has sent and no place.
COMING_BYTES_MAX = 8 * BULK_BYTES_MAX
COMING_BYTES_PER_CALLER_MAX = 2 * BULK_BYTES_MAX


class BulkRoom:
    """Places of one process. Raises `Overloaded` where there is none."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()
        self._coming_bytes: Counter[UUID] = Counter()

    def require_place(self, caller: UUID) -> None:
        if self._taken[caller] >= BATCHES_PER_CALLER_MAX:
            raise Overloaded(f"{BATCHES_PER_CALLER_MAX} batches of yours are being taken already")
        if self._taken.total() >= BATCHES_MAX:
            raise Overloaded(f"{BATCHES_MAX} batches are being taken already")

    @contextmanager
    def entered(self, caller: UUID) -> Iterator[None]:
        """Take a place for a bulk request whose body is there."""
        self.require_place(caller)
        self._taken[caller] += 1
        try:
            yield
        finally:
            _reduce(self._taken, caller, 1)

    async def received(self, caller: UUID, parts: AsyncIterable[bytes]) -> bytes:
        """Return a body, once it has come whole."""
        held: list[bytes] = []
        held_bytes = 0
        try:
            async for part in parts:
                held.append(part)
                held_bytes += len(part)
                self._coming_bytes[caller] += len(part)
                self._require_bytes(caller)
            return b"".join(held)
        finally:
            _reduce(self._coming_bytes, caller, held_bytes)

    def _require_bytes(self, caller: UUID) -> None:
        if self._coming_bytes[caller] > COMING_BYTES_PER_CALLER_MAX:
            raise Overloaded(f"more than {COMING_BYTES_PER_CALLER_MAX} bytes of yours are coming")
        if self._coming_bytes.total() > COMING_BYTES_MAX:
            raise Overloaded(f"more than {COMING_BYTES_MAX} bytes are coming already")


def _reduce(counter: Counter[UUID], caller: UUID, amount: int) -> None:
    """A caller with nothing left is forgotten."""
    counter[caller] -= amount
    if counter[caller] <= 0:
        del counter[caller]
