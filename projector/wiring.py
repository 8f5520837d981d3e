"""Wiring of the projector's parts, for the process and for the build jobs."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import SecretStr

from projector.documents.store import PartitionStore
from projector.event_index import EventIndex
from projector.generations.table import Generations
from projector.incidents import Incidents
from projector.log.reader import LogReader
from projector.log.replica import ReplicatedReader
from projector.mails.sender import MailSender, sender_of
from projector.settings import ProjectorSettings
from projector.sharing.projectors import Projectors
from shared.log.codec import Codec
from shared.log.event_store import EventStore
from shared.log.sealing import KeyWrap

# Upkeep holds a lock on one connection while it reads on another; the scrubber shares the pool.
POOL_SIZE = 3
# The largest statement reads 5,000 events.
ANSWER_WITHIN_S = 10.0


class Wiring(NamedTuple):
    """The connections of one thread."""

    events: EventStore
    reader: LogReader
    store: PartitionStore
    generations: Generations
    incidents: Incidents
    projectors: Projectors
    event_index: EventIndex
    mails: MailSender | None
    replica: EventStore | None

    def close(self) -> None:
        self.events.close()
        if self.replica is not None:
            self.replica.close()
        self.store.close()


def wire(settings: ProjectorSettings) -> Wiring:
    events = _event_store(settings, settings.database_url)
    key_wrap = KeyWrap(*settings.sealing_keys)
    replica, reader = None, LogReader(events, Codec(), key_wrap)
    if settings.log_replica_url is not None:
        replica = _event_store(settings, settings.log_replica_url)
        reader = ReplicatedReader(events, replica, Codec(), key_wrap)
    return Wiring(
        events=events,
        reader=reader,
        store=PartitionStore(settings.redis_url.get_secret_value()),
        generations=Generations(events.connections),
        incidents=Incidents(events.datastore),
        projectors=Projectors(events.connections),
        event_index=EventIndex(events.connections),
        mails=sender_of(settings, events.connections),
        replica=replica,
    )


def _event_store(settings: ProjectorSettings, url: SecretStr) -> EventStore:
    return EventStore(
        url.get_secret_value(),
        schema=settings.database_schema,
        pool_size=POOL_SIZE,
        pooler=settings.database_pooler,
        answer_within_s=ANSWER_WITHIN_S,
    )
