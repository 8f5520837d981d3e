"""Damaged values that readers found: counted, logged at a limited rate, and reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from prometheus_client import Counter

from shared.errors import DocumentDamaged
from shared.read_model.clients import AsyncClient, is_wrong_type
from shared.read_model.damage import DAMAGED_KEY, REPORTED_MAX, DamageReport
from shared.read_model.keys import PartitionKeys

SEND_EVERY_S = 0.2
LOOK_EVERY_S = 5.0
# The same entity is logged again after this time.
LOGGED_AGAIN_S = 60.0
LOGGED_MAX = 100

DAMAGED = Counter(
    "starfold_damaged_reads",
    "Reads that found a damaged value.",
    ["projection"],
)

log = structlog.get_logger()


class Damage:
    """The damage found since the last report to the projector.

    Belongs to the event loop.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client: Any = client
        self._unsent: set[DamageReport] = set()
        self._some = asyncio.Event()
        self._logged_at: dict[DamageReport, float] = {}

    def found(self, keys: PartitionKeys, entity: UUID | None, reason: str) -> DocumentDamaged:
        """Record a damaged value of an entity, or of its partition's shared keys (None).

        Return the error to raise.
        """
        report = DamageReport(*keys, entity)
        DAMAGED.labels(keys.projection).inc()
        if len(self._unsent) < REPORTED_MAX:
            self._unsent.add(report)
            self._some.set()
        self._log(report, reason)
        what = f"partition {keys.partition}" if entity is None else str(entity)
        return DocumentDamaged(f"the read model {keys.projection} is damaged at {what}")

    @contextmanager
    def contained(self, keys: PartitionKeys) -> Iterator[None]:
        """Record damage of a partition's shared key, and raise `DocumentDamaged`."""
        try:
            yield
        except DocumentDamaged as damaged:
            raise self.found(keys, None, str(damaged)) from damaged
        except redis.ResponseError as refusal:
            if not is_wrong_type(refusal):
                raise
            raise self.found(keys, None, "a key has another type") from refusal

    async def send(self) -> None:
        """Wait up to `LOOK_EVERY_S` for damage, and add it to the set that the projector heals."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._some.wait()
        except TimeoutError:
            return
        reports, self._unsent = self._unsent, set()
        self._some.clear()
        if await self._client.scard(DAMAGED_KEY) < REPORTED_MAX:
            await self._client.sadd(DAMAGED_KEY, *(report.encoded() for report in reports))

    def _log(self, report: DamageReport, reason: str) -> None:
        """Log once a minute for each entity, for a limited number of entities."""
        now = time.monotonic()
        logged_at = self._logged_at.get(report)
        if logged_at is not None and now < logged_at + LOGGED_AGAIN_S:
            return
        if len(self._logged_at) >= LOGGED_MAX:
            self._logged_at = {
                one: at for one, at in self._logged_at.items() if now < at + LOGGED_AGAIN_S
            }
            if len(self._logged_at) >= LOGGED_MAX:
                return
        self._logged_at[report] = now
        log.error(
            "document_damaged",
            projection=report.projection,
            generation=report.generation,
            partition=report.partition,
            entity=None if report.entity is None else str(report.entity),
            reason=reason,
        )
