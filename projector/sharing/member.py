"""This projector as one of those that share the partitions."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import structlog
from prometheus_client import Gauge

from projector.projections import DEFINITIONS
from projector.projections.selection import Share
from projector.sharing.assignment import share_of
from projector.sharing.projectors import Projectors
from shared.ids import new_uuid7

LIVE = Gauge("starfold_projectors", "Live projectors that share the partitions.")
OWN_PARTITIONS = Gauge(
    "starfold_projector_partitions", "Partitions that this projector follows.", ["projection"]
)

log = structlog.get_logger()


class Member:
    """Holds this projector's share, and renews its membership.

    Projectors of one release share; another release follows generations of other definitions.
    """

    def __init__(self, projectors: Projectors) -> None:
        self.id = new_uuid7()
        self.share: Share = {}
        self.live: Collection[UUID] = ()
        self._projectors = projectors
        self._definitions = " ".join(f"{name}:{one.version}" for name, one in DEFINITIONS.items())
        self._place: tuple[int, int] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the oldest one, which does the work that is not divided."""
        return self._place is not None and self._place[0] == 0

    def renew(self) -> None:
        """Tell the others that this projector works, and take its share among the live ones."""
        self._projectors.renew(self.id, self._definitions)
        live = self._projectors.live()
        self.live = {one.projector_id for one in live}
        peers = [one.projector_id for one in live if one.definitions == self._definitions]
        if self.id not in peers:
            return  # It hung between the two statements.
        place = (peers.index(self.id), len(peers))
        if place != self._place:
            self._place, self.share = place, share_of(*place)
            partitions = {name: len(numbers) for name, numbers in self.share.items()}
            log.info("share_changed", place=place[0] + 1, projectors=place[1], **partitions)
            LIVE.set(place[1])
            for name, count in partitions.items():
                OWN_PARTITIONS.labels(name).set(count)

    def leave(self) -> None:
        """Tell the others that this projector ends."""
        if self._place is not None:
            self._projectors.remove(self.id)
