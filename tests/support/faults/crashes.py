"""SIGKILL to the write side of a local Starfold, while writers write."""

from __future__ import annotations

import base64
import random
import time

from shared.log.event_store import EventStore
from shared.log.schema import COMMAND_ROLE
from shared.log.sealing import KeyWrap
from tests.support.faults.process_tree import kill_all
from tests.support.faults.writers import Writers
from tests.support.local_starfold import Local
from tests.support.log import Entry, read_log
from tests.support.system import eventually

PROGRAMS = ("command_api", "postgres")
# Commands acknowledged before the next process is killed.
ACKNOWLEDGED_BETWEEN = 100
# Somewhere in the middle of some commit.
WAIT_MAX_S = 0.05
RECOVERED_WITHIN_S = 60.0


def kill_in_turns(local: Local, writers: Writers, *, kills: int) -> int:
    """Kill each process in turn, once it has served again; return when both serve."""
    draw = random.Random(kills)
    killed = 0
    for number in range(kills):
        _wait_for_progress(local, writers)
        time.sleep(draw.random() * WAIT_MAX_S)
        process = local.supervised(PROGRAMS[number % len(PROGRAMS)])
        if process is not None:
            kill_all([process])
            killed += 1
    _wait_for_progress(local, writers)
    return killed


def whole_log(local: Local) -> list[Entry]:
    home = local.home
    secrets = home.secrets()
    store = EventStore(home.dsn(COMMAND_ROLE, secrets.role_passwords[COMMAND_ROLE]))
    try:
        return read_log(store, KeyWrap(base64.b64decode(secrets.sealing_key)))
    finally:
        store.close()


def _wait_for_progress(local: Local, writers: Writers) -> None:
    eventually(local.takes_commands, RECOVERED_WITHIN_S)
    wanted = writers.acknowledged + ACKNOWLEDGED_BETWEEN
    eventually(lambda: writers.acknowledged >= wanted, RECOVERED_WITHIN_S)
