"""Merge duplicates in a catalogue while users keep rating.

`make faults` merges a thousand of them.
"""

from __future__ import annotations

from tests.support.api import Api
from tests.support.faults.duplicates import Duplicates
from tests.support.log import assert_unbroken, read_log
from tests.support.read_models import assert_exact_at_head
from tests.support.system import System, eventually

PAIRS = 30


def test_pairs_of_movies_are_merged_exactly_under_load(own: Api, system: System) -> None:
    duplicates = Duplicates(own, pairs=PAIRS, seed=7)
    store = system.event_store()
    with duplicates.load():
        for old in duplicates.new_of:
            duplicates.merge(old)
    eventually(lambda: completed(system) == PAIRS)
    own.position = store.head()
    log = read_log(store, system.key_wrap())
    assert_unbroken(log)
    duplicates.assert_moved(log)
    duplicates.assert_shown(log)
    assert_exact_at_head(system)


def completed(system: System) -> int:
    row = (
        system.owner()
        .execute("SELECT count(*) FROM events WHERE topic = 'MovieMergeCompleted'")
        .fetchone()
    )
    assert row is not None
    return int(row[0])
