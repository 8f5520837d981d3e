"""The table of the projectors that live, by the database's clock.

It divides the work and guards nothing: two projectors that both believe to own a partition write by
compare-and-set as ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import namedtuple_row

from shared.log.event_store import Datastore

# A projector renews its row at least once a second while its passes succeed.
GONE_AFTER = "3 seconds"

_RENEW = """
WITH gone AS (
    DELETE FROM projectors
    WHERE seen_at < now() - %(gone_after)s::interval AND projector_id <> %(id)s
)
INSERT INTO projectors (projector_id, definitions) VALUES (%(id)s, %(definitions)s)
ON CONFLICT (projector_id) DO UPDATE SET seen_at = now()
"""
_LIVE = """
SELECT projector_id, definitions, started_at FROM projectors
WHERE seen_at >= now() - %s::interval ORDER BY started_at, projector_id
"""


class LiveProjector(NamedTuple):
    """A live projector, and the definitions that its release has."""

    projector_id: UUID
    definitions: str
    started_at: datetime


class Projectors:
    """The table, accessed through the event store's connections."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def renew(self, projector_id: UUID, definitions: str) -> None:
        """Register a projector or renew its row, and delete the rows of those that are gone."""
        parameters = {"id": projector_id, "definitions": definitions, "gone_after": GONE_AFTER}
        with self._datastore.get_connection() as connection:
            connection.execute(_RENEW, parameters)

    def live(self) -> list[LiveProjector]:
        """Return the live projectors, oldest first."""
        with self._datastore.get_connection() as connection:
            cursor = connection.cursor(row_factory=namedtuple_row)
            return [LiveProjector(*row) for row in cursor.execute(_LIVE, [GONE_AFTER])]

    def remove(self, projector_id: UUID) -> None:
        with self._datastore.get_connection() as connection:
            connection.execute("DELETE FROM projectors WHERE projector_id = %s", [projector_id])
