"""The audit finds whatever differs from the log, and nothing else; a repair makes it right."""

from __future__ import annotations

import pytest

from command_api.deciding.user import EraseUser
from projector.audit import auditor as audit
from projector.audit import shadow
from projector.audit.auditor import Audit
from projector.audit.differences import Difference
from projector.following.follower import Follower
from projector.projections import DEFINITIONS
from shared.errors import AuditImpossible, LogDiverged
from shared.ids import MovieId, UserId
from shared.read_model.checksum import with_checksum
from shared.read_model.keys import partition_of
from shared.read_model.kinds import PARKED_MARK
from tests.support.builders import NOON, a_movie, a_rating, a_user, impossible_rating
from tests.support.commits import commit
from tests.support.faults.tamperer import Fault, Tamperer
from tests.support.log import append_raw
from tests.support.read_models import active, read_model
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, follow_to_the_end
from tests.support.system import System

FAULTS = {"movies": 34, "profiles": 20, "changes": 1}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a large read model is taken to pieces."""
    monkeypatch.setattr(shadow, "RANGE_MEMBERS", 3)
    monkeypatch.setattr(audit, "RANGES_A_READ", 10)
    monkeypatch.setattr(audit, "EVENTS_A_PASS", 100)
    monkeypatch.setattr(audit, "CONFIRM_S", 0.0)


class Followed:
    """A system whose read models stand at the head of a mixed log."""

    def __init__(self, system: System) -> None:
        self.wiring = system.projector_wiring()
        self.history = History(system)
        self.history.go_on()
        bootstrapped(self.wiring)
        self.follower = Follower(self.wiring.reader, self.wiring.store)
        self.go_on()

    def go_on(self) -> None:
        self.history.go_on(100)
        self.catch_up()

    def catch_up(self) -> None:
        follow_to_the_end(self.follower, self.wiring)

    @property
    def audit(self) -> Audit:
        return Audit(self.wiring.reader, self.wiring.store)


def faults(found: list[Difference]) -> set[Fault]:
    return {Fault(one.partition, *one.key) for one in found}


def test_a_right_read_model_passes(system: System) -> None:
    live = Followed(system)
    for projection in DEFINITIONS:
        report = live.audit.verify(active(live.wiring, projection))
        assert report.differences == []
        assert report.position == live.wiring.reader.head()
        assert report.events >= report.position
        assert report.keys > 0


def test_every_fault_is_found_and_repaired(system: System) -> None:
    live = Followed(system)
    for seed, (projection, count) in enumerate(FAULTS.items()):
        generation = active(live.wiring, projection)
        right = read_model(system, generation)
        made = Tamperer(system.redis, seed).tamper(generation, count)
        assert len(made) == count
        assert read_model(system, generation) != right
        assert faults(live.audit.verify(generation).differences) == made
        report = live.audit.verify(generation, repair=True)
        assert faults(report.differences) == made
        assert read_model(system, generation) == right
        assert live.audit.verify(generation).passed
    # Followers drop what they had cached of the wrong documents.
    live.go_on()
    for projection in DEFINITIONS:
        assert live.audit.verify(active(live.wiring, projection)).passed


def test_a_read_model_that_is_followed_meanwhile_passes(system: System) -> None:
    live = Followed(system)
    generation = active(live.wiring, "profiles")
    rounds = iter(range(3))

    def go_on(_events: int) -> None:
        if next(rounds, None) is not None:
            live.go_on()

    before = live.wiring.reader.head()
    report = Audit(live.wiring.reader, live.wiring.store, on_progress=go_on).verify(generation)
    assert report.differences == []
    assert report.position > before


def test_a_user_who_is_erased_meanwhile_is_no_difference(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is gone at once for every earlier event; the read model hears of it later."""
    live = Followed(system)
    monkeypatch.setattr(Audit, "_let_pass", lambda *_arguments: live.catch_up())
    generation = active(live.wiring, "profiles")
    sign_up = a_user()
    user = UserId(live.history.made(sign_up))
    live.history.users.append(user)
    live.go_on()
    erasure = EraseUser(
        user_id=user, email_stream=None, external_stream=sign_up.external_stream, now=NOON
    )
    commit(live.history.committer, erasure)
    assert live.audit.verify(generation).differences == []
    assert live.audit.verify(generation).position == live.wiring.reader.head()


def test_one_movie_or_user_is_compared_alone(system: System) -> None:
    live = Followed(system)
    generation = active(live.wiring, "movies")
    Tamperer(system.redis, 7).tamper(generation, 30)
    wrong = live.audit.verify(generation).differences
    entities = {one.entity for one in wrong if one.entity in live.history.movies}
    assert len(entities) > 2
    for movie in entities:
        assert movie is not None
        own = live.audit.verify(generation, entities=[movie]).differences
        assert {(one.key, one.part) for one in own} == {
            (one.key, one.part) for one in wrong if one.entity == movie
        }
    movie = min(filter(None, entities))
    live.audit.verify(generation, entities=[movie], repair=True)
    left = live.audit.verify(generation).differences
    assert {one.entity for one in left} == {one.entity for one in wrong} - {movie}


def test_what_is_personal_is_not_shown(system: System) -> None:
    live = Followed(system)
    generation = active(live.wiring, "profiles")
    user = live.history.users[0]
    key = generation.keys(partition_of(user)).document("profile", user.hex)
    system.redis.set(key, with_checksum(b'{"display_name":"Cassandra"}'))
    (found,) = live.audit.verify(generation).differences
    assert (found.entity, found.stored, found.wanted) == (user, "(hidden)", "(hidden)")
    assert "display_name" in found.part


def test_a_repair_folds_what_was_parked(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a release with a fault: the documents are as if nothing had happened."""
    live = Followed(system)
    movie, user = MovieId(live.history.made(a_movie())), UserId(live.history.made(a_user()))
    live.history.movies.append(movie)
    commit(live.history.committer, a_rating(user, movie, 2))
    live.catch_up()
    generation = active(live.wiring, "movies")
    keys = generation.keys(partition_of(movie))
    with monkeypatch.context() as patched:
        patched.setattr("projector.projections.movies.move_score", _faulty)
        commit(live.history.committer, a_rating(user, movie, 9))
        live.catch_up()
    live.go_on()
    (mark,) = live.audit.verify(generation).parked
    assert mark.entity == movie
    found = live.audit.verify(generation, entities=[movie], repair=True).differences
    assert ("stats", movie.hex) in {one.key for one in found}
    assert system.redis.get(keys.document("parked", movie.hex)) is None
    live.go_on()
    report = live.audit.verify(generation)
    assert (report.differences, report.parked) == ([], [])


def test_what_still_cannot_be_applied_stays_parked(system: System) -> None:
    live = Followed(system)
    user, movie = UserId(live.history.made(a_user())), MovieId(live.history.made(a_movie()))
    append_raw(system, impossible_rating(user, movie))
    live.catch_up()
    generation = active(live.wiring, "movies")
    report = live.audit.verify(generation, entities=[movie], repair=True)
    assert report.differences == []
    assert [one.entity for one in report.parked] == [movie]


def test_what_an_operator_gave_up_is_no_difference(system: System) -> None:
    live = Followed(system)
    user, movie = UserId(live.history.made(a_user())), MovieId(live.history.made(a_movie()))
    append_raw(system, impossible_rating(user, movie))
    live.catch_up()
    generation = active(live.wiring, "movies")
    live.audit.discard(generation, movie)
    keys = generation.keys(partition_of(movie))
    stored = system.redis.get(keys.document("parked", movie.hex))
    assert isinstance(stored, bytes)
    assert PARKED_MARK.decode(stored).discarded
    live.go_on()
    report = live.audit.verify(generation)
    assert report.differences == []
    assert [one.discarded for one in report.parked] == [True]
    with pytest.raises(AuditImpossible, match="not parked"):
        live.audit.discard(generation, live.history.movies[0])


def test_a_read_model_of_another_log_cannot_be_audited(system: System) -> None:
    live = Followed(system)
    owner = system.owner()
    owner.execute(
        "UPDATE events SET originator_version = originator_version + 1000"
        " WHERE notification_id = (SELECT max(notification_id) FROM events)"
    )
    with pytest.raises(LogDiverged, match="not in the log"):
        live.audit.verify(active(live.wiring, "changes"))


def test_a_lost_read_model_cannot_be_audited(system: System) -> None:
    live = Followed(system)
    system.redis.flushall()
    with pytest.raises(AuditImpossible, match="no readable checkpoint"):
        live.audit.verify(active(live.wiring, "movies"))


def _faulty(*_arguments: object, **_removed_and_added: object) -> None:
    raise ZeroDivisionError
