"""Limits of a process on concurrent bulk requests and on the bytes of incomplete bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from command_api.bodies.models import BULK_BYTES_MAX
from shared.errors import Overloaded

BULK_REQUESTS_MAX = 16
BULK_REQUESTS_PER_CALLER_MAX = 4
# Total of incomplete bodies. A slow sender occupies its bytes, but no place.
COMING_BYTES_MAX = 8 * BULK_BYTES_MAX
COMING_BYTES_PER_CALLER_MAX = 2 * BULK_BYTES_MAX


class BulkRoom:
    """The places of one process; raises `Overloaded` if none is free."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()
        self._coming_bytes: Counter[UUID] = Counter()

    def require_place(self, caller: UUID) -> None:
        if self._taken[caller] >= BULK_REQUESTS_PER_CALLER_MAX:
            detail = f"this caller has {BULK_REQUESTS_PER_CALLER_MAX} bulk requests in progress"
            raise Overloaded(detail)
        if self._taken.total() >= BULK_REQUESTS_MAX:
            raise Overloaded(f"{BULK_REQUESTS_MAX} bulk requests are in progress already")

    @contextmanager
    def entered(self, caller: UUID) -> Iterator[None]:
        """Hold a place for a bulk request whose body is complete."""
        self.require_place(caller)
        self._taken[caller] += 1
        try:
            yield
        finally:
            _reduce(self._taken, caller, 1)

    async def received(self, caller: UUID, parts: AsyncIterable[bytes]) -> bytes:
        """Return a body once it is complete."""
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
            raise Overloaded(
                f"this caller is sending more than {COMING_BYTES_PER_CALLER_MAX} bytes"
            )
        if self._coming_bytes.total() > COMING_BYTES_MAX:
            raise Overloaded(f"callers are sending more than {COMING_BYTES_MAX} bytes already")


def _reduce(counter: Counter[UUID], caller: UUID, amount: int) -> None:
    """Reduce a caller's count, and drop the caller at zero."""
    counter[caller] -= amount
    if counter[caller] <= 0:
        del counter[caller]
