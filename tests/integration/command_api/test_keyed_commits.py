"""Commits with Idempotency-Keys: in one batch, over lost connections, until they are purged."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from command_api.commit import committer as commit_module
from command_api.commit.idempotency import RequestKey, purge_answers
from command_api.commit.pending_command import Answer, Outcome
from command_api.deciding.load_result import AnswerKey
from command_api.deciding.principal import Member
from command_api.deciding.user import EraseUser
from command_api.store.append import Append
from command_api.store.commit_store import CommitStore
from shared.errors import AppendOutcomeUnknown, IdempotencyKeyReused
from shared.ids import Position
from tests.support.builders import NOON, a_rating
from tests.support.commits import SERVICE, pending
from tests.support.faults.lossy_store import LossyStore
from tests.support.scenarios.commit_scenario import Rated
from tests.support.system import System, eventually


class Keyed(Rated):
    """A user, a movie, and commits with keys."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.start = self.store.head()

    def losing(self, *, after_commit: bool) -> LossyStore:
        store = self.system.commit_store(LossyStore)
        store.after_commit = after_commit
        return store

    def commit(
        self, *scored: tuple[int, RequestKey], store: CommitStore | None = None
    ) -> list[Any]:
        batch = [
            pending(a_rating(self.user_id, self.movie_id, half_stars), SERVICE, key)
            for half_stars, key in scored
        ]
        committer = self.system.committer(store) if store else self.committer
        answers: list[Answer] = asyncio.run(committer.commit(batch))
        # A kept answer has no version.
        return [one._replace(version=None) if isinstance(one, Outcome) else one for one in answers]


def a_key(request: bytes = b"r" * 32) -> RequestKey:
    return RequestKey(AnswerKey(SERVICE.key_id, uuid4()), request)


@pytest.fixture
def keyed(system: System) -> Keyed:
    return Keyed(system)


def test_a_key_twice_in_one_batch_counts_once(keyed: Keyed) -> None:
    """Each answer names its own event, also where a later one of the batch is on the stream."""
    key, other = a_key(), a_key()
    first, again, reused, second = keyed.commit(
        (6, key), (6, key), (9, RequestKey(key.key, b"x" * 32)), (10, other)
    )
    assert first == again
    assert isinstance(reused, IdempotencyKeyReused)
    assert (first.status, second.status) == ("created", "changed")
    assert second.position == first.position + 1 == keyed.store.head()
    assert keyed.commit((6, key), (10, other)) == [first, second]


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_lost_connection_answers_the_retry_alike(keyed: Keyed, *, after_commit: bool) -> None:
    key = a_key()
    store = keyed.losing(after_commit=after_commit)
    (first,) = keyed.commit((8, key), store=store)
    assert isinstance(first, Outcome)
    # The same opinion under a key of its own records no event, only its answer.
    store.times = 1
    unchanged = a_key()
    (same,) = keyed.commit((8, unchanged), store=store)
    assert (same.status, same.position) == ("unchanged", first.position)
    assert keyed.commit((8, key), (8, unchanged)) == [first, same]
    assert keyed.store.head() == keyed.start + 1


@pytest.mark.parametrize("after_commit", [True, False])
def test_after_an_unknown_outcome_a_retry_elsewhere_has_one_effect(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch, *, after_commit: bool
) -> None:
    monkeypatch.setattr(commit_module, "RESOLVE_FOR_S", 0.0)
    key = a_key()
    store = keyed.losing(after_commit=after_commit)
    store.times = 1_000
    (unknown,) = keyed.commit((8, key), store=store)
    assert isinstance(unknown, AppendOutcomeUnknown)
    (answer,) = keyed.commit((8, key))
    assert (answer.status, answer.position) == ("created", keyed.start + 1)
    assert keyed.store.head() == keyed.start + 1


def test_a_key_answered_elsewhere_meanwhile_is_found_by_the_append(keyed: Keyed) -> None:
    """Decided before the other's commit, appended after it: the append itself refuses."""
    key = a_key()

    class Late(CommitStore):
        late = True

        async def append(self, append: Append) -> Position:
            if self.late:
                self.late = False
                await asyncio.to_thread(keyed.commit, (10, a_key()), (8, key))
            return await super().append(append)

    (answer,) = keyed.commit((8, key), store=keyed.system.commit_store(Late))
    assert (answer.status, answer.position) == ("changed", keyed.start + 2)
    assert keyed.store.head() == keyed.start + 2


def test_after_24_hours_a_key_is_free_again(keyed: Keyed) -> None:
    old, young = a_key(), a_key()
    keyed.commit((8, old), (9, young))
    assert asyncio.run(purge_answers(keyed.system.command_store())) == 0
    with keyed.system.owner() as owner:
        owner.execute(
            "UPDATE idempotency_keys SET recorded_at = recorded_at - interval '24 hours'"
            " WHERE key_id = %s",
            [old.key.key_id],
        )
    assert asyncio.run(purge_answers(keyed.system.command_store())) == 1
    again, kept = keyed.commit((8, old), (9, young))
    assert (again.status, again.position) == ("changed", keyed.start + 3)
    assert (kept.status, kept.position) == ("changed", keyed.start + 2)


def test_a_command_api_purges_by_itself(keyed: Keyed) -> None:
    keyed.commit((8, a_key()))
    count = "SELECT count(*) FROM idempotency_keys"
    with keyed.system.owner() as owner:
        owner.execute("UPDATE idempotency_keys SET recorded_at = recorded_at - interval '24 hours'")
        assert owner.execute(count).fetchone() == (1,)
        keyed.system.start_command_api()
        eventually(lambda: owner.execute(count).fetchone() == (0,))


def test_who_is_erased_in_the_same_batch_leaves_no_answer(keyed: Keyed) -> None:
    own = RequestKey(AnswerKey(keyed.user_id, uuid4()), b"r" * 32)
    rating = a_rating(keyed.user_id, keyed.movie_id)
    erase = EraseUser(user_id=keyed.user_id, email_stream=None, now=NOON)
    batch = [pending(rating, Member(keyed.user_id), own), pending(erase)]
    rated, erased = asyncio.run(keyed.committer.commit(batch))
    assert isinstance(rated, Outcome)
    assert isinstance(erased, Outcome)
    with keyed.system.owner() as owner:
        assert owner.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (0,)
