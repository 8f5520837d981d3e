"""Incidents: damage and losses that the projector repaired by itself, for `starfold status`."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import structlog
from eventsourcing.postgres import PostgresDatastore

KEPT = "7 days"
SHOWN_MAX = 10

log = structlog.get_logger()


class Incident(NamedTuple):
    """An incident: its time, and a sentence without personal data that says what happened."""

    at: datetime
    what: str


class Incidents:
    """The table of incidents, accessed through the event store's connections."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        self._datastore = datastore

    def note(self, what: str) -> None:
        """Log and store an incident, and delete the expired ones."""
        log.warning("incident", what=what)
        with self._datastore.get_connection() as connection, connection.transaction():
            connection.execute("INSERT INTO incidents (what) VALUES (%s)", [what])
            connection.execute(
                "DELETE FROM incidents WHERE occurred_at < now() - %s::interval", [KEPT]
            )

    def recent(self) -> list[Incident]:
        """Return the last incidents, oldest first."""
        with self._datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT occurred_at, what FROM incidents ORDER BY incident_id DESC LIMIT %s",
                [SHOWN_MAX],
            ).fetchall()
        return [Incident(row["occurred_at"], row["what"]) for row in reversed(rows)]
