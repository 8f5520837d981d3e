"""The library's own test cases for recorders, on our event store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from shared.log.event_store import EventStore
from tests.support.servers import Servers
from tests.support.system import System


class _OnOurStore:
    """Gives a library's case the store of a system of its own."""

    @pytest.fixture(autouse=True)
    def _system(self, servers: Servers) -> Iterator[None]:
        self.system = System(servers)
        yield
        self.system.close()

    def create_recorder(self) -> EventStore:
        return self.system.event_store(pool_size=10)


class TestApplicationRecorder(_OnOurStore, ApplicationRecorderTestCase[EventStore]):
    """Inserting, selecting, concurrency without and with conflicts, subscriptions."""


class TestNonInterleavingNotificationIDs(_OnOurStore, NonInterleavingNotificationIDsBaseCase):
    """Positions of one append have no gap, whatever else is appended at the same time."""

    insert_num = 1_000


# Imported bases are collected too, and cannot be run.
del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
