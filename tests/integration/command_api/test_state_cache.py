"""What the command API remembers from batch to batch never decides on what has changed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from command_api.commit.pending_command import Outcome
from command_api.deciding.load_result import LoadRequest
from command_api.deciding.principal import Member
from command_api.deciding.state_cache import StateCache
from command_api.deciding.streams import Streams
from command_api.deciding.user import ChangeProfile, EraseUser
from shared.errors import NotAuthenticated, NotFound
from shared.ids import MovieId, StreamId, UserId, new_uuid7
from shared.log.sealing import SubjectKeys
from tests.support.builders import NOON, a_movie, a_rating, a_user
from tests.support.commits import commit
from tests.support.faults.lossy_store import LossyStore
from tests.support.system import System


class Two:
    """Two processes' committers on one log, and a user and a movie that both know."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.store = system.command_store()
        self.here, self.elsewhere = system.committer(), system.committer()
        user, movie = commit(self.here, a_user(), a_movie())
        assert isinstance(user, Outcome)
        assert isinstance(movie, Outcome)
        self.user_id, self.movie_id = UserId(user.subject), MovieId(movie.subject)
        self.rate(6)

    def rate(self, half_stars: int) -> object:
        rating = a_rating(self.user_id, self.movie_id, half_stars)
        (answer,) = commit(self.here, rating, principal=Member(self.user_id))
        return answer

    def streams(self, known: StateCache) -> Streams:
        wanted = LoadRequest(whole=[StreamId(self.user_id)], subjects=[self.user_id])
        loaded = asyncio.run(self.store.load(wanted))
        keys = SubjectKeys(self.system.key_wrap(), loaded.wrapped_keys)
        return Streams(loaded, self.system.codec(), keys, known)


@pytest.fixture
def two(system: System) -> Two:
    return Two(system)


def test_a_user_erased_elsewhere_fails_at_once(two: Two) -> None:
    """Also where nothing would be recorded, so that no guard is probed."""
    erase = EraseUser(user_id=two.user_id, email_stream=None, now=NOON)
    commit(two.elsewhere, erase)
    assert isinstance(two.rate(6), NotAuthenticated)
    assert isinstance(two.rate(7), NotAuthenticated)


def test_a_profile_changed_elsewhere_is_the_one_that_is_changed(two: Two) -> None:
    for committer, name in ((two.here, "Ann B."), (two.elsewhere, "Ann C.")):
        change = ChangeProfile(user_id=two.user_id, display_name=name, now=NOON)
        (answer,) = commit(committer, change)
        assert isinstance(answer, Outcome)
    change = ChangeProfile(user_id=two.user_id, visibility="private", now=NOON)
    commit(two.here, change)
    account = two.streams(StateCache()).account(two.user_id)
    assert (account.display_name, account.visibility) == ("Ann C.", "private")


def test_nothing_personal_is_remembered(two: Two) -> None:
    known = StateCache()
    streams = two.streams(known)
    assert streams.user(two.user_id).display_name is None
    assert streams.account(two.user_id).display_name == "Ann"
    remembered = known.user(StreamId(two.user_id), streams.version(StreamId(two.user_id)))
    assert remembered is not None
    assert remembered.present
    assert not {"Ann"}.intersection(map(str, msgspec.structs.astuple(remembered)))


def test_an_account_opened_later_in_a_batch_has_what_the_batch_recorded(two: Two) -> None:
    private, named = (
        ChangeProfile(user_id=two.user_id, visibility="private", now=NOON),
        ChangeProfile(user_id=two.user_id, display_name="Ben", now=NOON),
    )
    answers = commit(two.here, a_rating(two.user_id, two.movie_id, 1), private, named)
    assert all(isinstance(answer, Outcome) for answer in answers)
    account = two.streams(StateCache()).account(two.user_id)
    assert (account.display_name, account.visibility) == ("Ben", "private")


def test_after_a_lost_connection_a_movie_has_to_be_there_again(two: Two) -> None:
    """The next server may be a standby that never had it."""
    store = two.system.commit_store(LossyStore)
    store.times = 0
    committer = two.system.committer(store)
    (movie,) = commit(committer, a_movie())
    assert isinstance(movie, Outcome)
    movie_id = MovieId(movie.subject)
    commit(committer, a_rating(two.user_id, movie_id, 5))
    owner = two.system.owner()
    owner.execute("DELETE FROM events WHERE originator_id = %s", [movie_id])
    (believed,) = commit(committer, a_rating(two.user_id, movie_id, 6))
    assert isinstance(believed, Outcome)
    store.times = 1
    commit(committer, a_rating(two.user_id, movie_id, 7))
    (answer,) = commit(committer, a_rating(two.user_id, movie_id, 8))
    assert isinstance(answer, NotFound)


def test_an_unknown_movie_is_asked_for_each_time(two: Two) -> None:
    movie_id = MovieId(new_uuid7())
    (absent,) = commit(two.here, a_rating(two.user_id, movie_id, 5))
    assert isinstance(absent, NotFound)
    commit(two.elsewhere, msgspec.structs.replace(a_movie(), movie_id=movie_id))
    (present,) = commit(two.here, a_rating(two.user_id, movie_id, 5))
    assert isinstance(present, Outcome)
