"""An event that cannot be applied parks its entity, one that cannot be read stops what needs it."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from projector.following import fold
from projector.following import followed_generation as followed
from projector.following.follower import Follower
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.ids import MovieId, Position, UserId, new_uuid7
from shared.log.codec import origin_of
from shared.log.events import RatingSubmitted, UserErased
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.documents import Parked
from shared.read_model.keys import partition_of
from shared.read_model.kinds import PARKED_MARK
from tests.support.builders import NOON, a_movie, a_rating, a_user, impossible_rating
from tests.support.commits import commit
from tests.support.log import append_raw
from tests.support.read_models import active, read_model
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built, follow_to_the_end
from tests.support.system import System


def parked(wiring: Wiring, generation: Generation) -> list[Parked]:
    return [one for entities in wiring.store.parked(generation.all_keys) for one in entities]


def positions(wiring: Wiring, generation: Generation) -> set[Position]:
    stored = wiring.store.checkpoints(generation.all_keys)
    return {decode_checkpoint(checkpoint).position for checkpoint in stored}


def test_a_parked_movie_stands_still_and_all_others_go_on(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on()
    bootstrapped(wiring)
    movies = active(wiring, "movies")
    movie = MovieId(history.made(a_movie()))
    newcomer = UserId(history.made(a_user()))
    commit(history.committer, a_rating(newcomer, movie, 2))
    history.movies.append(movie)
    follower = Follower(wiring.reader, wiring.store)
    follow_to_the_end(follower, wiring)
    keys = movies.keys(partition_of(movie))
    bad = append_raw(system, impossible_rating(newcomer, movie))
    before = system.redis.get(keys.document("stats", movie.hex))
    history.go_on()
    with capture_logs() as lines:
        follow_to_the_end(follower, wiring)

    (mark,) = parked(wiring, movies)
    assert (mark.entity, mark.position, mark.topic) == (movie, bad, "RatingSubmitted")
    assert "10 half stars" in mark.error
    (line,) = [one for one in lines if one.get("projection") == "movies"]
    (stored_event,) = wiring.reader.fetch(bad, 1)
    assert (line["event"], line["position"]) == ("entity_parked", bad)
    assert origin_of(stored_event.state) == {"request_id": line["request_id"]}
    stored: Any = system.redis.get(keys.document("parked", movie.hex))
    assert PARKED_MARK.decode(stored) == mark
    assert system.redis.get(keys.document("stats", movie.hex)) == before
    assert positions(wiring, movies) == {wiring.reader.head()}
    assert [one.entity for one in parked(wiring, active(wiring, "profiles"))] == [newcomer]
    # A fresh fold of the log parks the same, and all else is as if nothing had happened.
    for projection in ("movies", "profiles"):
        live = read_model(system, active(wiring, projection))
        assert live == read_model(system, built(wiring, projection))


def test_a_restarted_projector_keeps_parked_entities_parked(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on(50)
    append_raw(system, impossible_rating(history.users[0], history.movies[0]))
    bootstrapped(wiring)
    history.go_on(50)
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    live = read_model(system, active(wiring, "movies"))
    assert live == read_model(system, built(wiring, "movies"))
    assert len(parked(wiring, active(wiring, "movies"))) == 1


def test_personal_data_that_does_not_open_parks_its_user_alone(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    user = history.users[3]
    system.owner().execute(
        "UPDATE subject_keys SET wrapped = set_byte(wrapped, 29, get_byte(wrapped, 29) # 255)"
        " WHERE user_id = %s",
        [user],
    )
    history.go_on()
    bootstrapped(wiring)
    assert [one.entity for one in parked(wiring, active(wiring, "profiles"))] == [user]
    assert parked(wiring, active(wiring, "movies")) == []


def test_a_document_that_cannot_be_decoded_parks_its_entity(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on()
    bootstrapped(wiring)
    movies, movie = active(wiring, "movies"), history.movies[2]
    key = movies.keys(partition_of(movie)).document("stats", movie.hex)
    system.redis.set(key, b"{")
    commit(
        history.committer,
        a_rating(history.users[0], movie, 1),
        a_rating(history.users[0], movie, 9),
    )
    history.go_on()
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    (mark,) = parked(wiring, movies)
    assert mark.entity == movie
    assert "cannot be decoded" in mark.error
    assert system.redis.get(key) == b"{"


def test_a_parked_user_who_is_erased_leaves_nothing_personal(system: System) -> None:
    """Even where the stored profile cannot be decoded."""
    wiring = system.projector_wiring()
    history = History(system)
    torn, kept = (UserId(history.made(a_user())) for _ in range(2))
    bootstrapped(wiring)
    profiles = active(wiring, "profiles")
    for user in (torn, kept):
        append_raw(system, impossible_rating(user, MovieId(new_uuid7())))
    key = profiles.keys(partition_of(torn)).document("profile", torn.hex)
    system.redis.set(key, b'{"display_name":"Ann')
    for user in (torn, kept):
        append_raw(system, UserErased(user_id=user, erased_at=NOON))
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    assert {one.entity for one in parked(wiring, profiles)} >= {torn, kept}
    model = read_model(system, profiles)
    assert not any(name.startswith(f"profile:{torn.hex}") for name in model)
    assert b'"display_name":null' in model[f"profile:{kept.hex}@{partition_of(kept)}"]
    assert not any(name.startswith("reviews:") and torn.hex in name for name in model)


def test_a_projector_that_another_overtakes_parks_nobody(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fold events into documents that hold them already."""
    monkeypatch.setattr("projector.following.follower.IDLE_ADVANCE_S", 0.0)
    # The first one that it meant to park would stop it.
    monkeypatch.setattr(fold, "PARKED_MAX", 0)
    wiring, others = system.projector_wiring(), system.projector_wiring()
    history = History(system)
    history.go_on()
    bootstrapped(wiring)
    live = wiring.generations.all()
    slow, quick = (Follower(one.reader, one.store) for one in (wiring, others))
    slow.follow(live)
    history.go_on()
    load = wiring.store.load

    def overtaken(wanted: Any) -> Any:
        follow_to_the_end(quick, others)
        return load(wanted)

    monkeypatch.setattr(wiring.store, "load", overtaken)
    slow.run_pass()
    assert {one.stopped for one in slow.followed.values()} == {None}
    history.go_on()
    slow.run_pass()
    follow_to_the_end(slow, wiring)
    for projection in ("movies", "profiles", "changes"):
        generation = active(wiring, projection)
        assert parked(wiring, generation) == []
        assert read_model(system, generation) == read_model(system, built(wiring, projection))


def test_too_many_parked_entities_stop_the_generation(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "PARKED_MAX", 0)
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on()
    bootstrapped(wiring)
    before = read_model(system, active(wiring, "movies"))
    append_raw(system, impossible_rating(history.users[0], history.movies[0]))
    follower = Follower(wiring.reader, wiring.store)
    follow_to_the_end(follower, wiring)
    reasons = {name: one.stopped for (name, _), one in follower.followed.items()}
    assert "parked entities already" in str(reasons["movies"])
    assert reasons["changes"] is None
    assert read_model(system, active(wiring, "movies")) == before


def test_an_event_of_an_unknown_topic_stops_following_until_it_can_be_read(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "RETRY_STOPPED_EVERY_S", 0.0)
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    rating = RatingSubmitted(
        user_id=UserId(history.made(a_user())),
        movie_id=history.movies[0],
        half_stars=3,
        rated_at=NOON,
        review=None,
        previous_half_stars=None,
        previous_rated_at=None,
    )
    history.go_on(20)
    unknown = append_raw(system, rating, topic="FilmPremiered")
    history.go_on(20)
    follower = Follower(wiring.reader, wiring.store)
    follow_to_the_end(follower, wiring)
    for projection in ("movies", "profiles", "changes"):
        assert positions(wiring, active(wiring, projection)) == {unknown - 1}
    reasons = {one.stopped for one in follower.followed.values()}
    assert len(reasons) == 1
    assert f"position {unknown}" in str(reasons)
    assert "FilmPremiered" in str(reasons)

    # What a release does that knows the topic.
    owner = system.owner()
    owner.execute("UPDATE events SET topic = 'RatingSubmitted' WHERE topic = 'FilmPremiered'")
    follow_to_the_end(follower, wiring)
    assert positions(wiring, active(wiring, "movies")) == {wiring.reader.head()}
    assert {one.stopped for one in follower.followed.values()} == {None}


def test_bytes_that_cannot_be_decoded_stop_only_what_they_may_concern(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    head = wiring.reader.head()
    history.go_on(50)
    system.owner().execute(
        "UPDATE events SET state = '\\x93'::bytea WHERE notification_id ="
        " (SELECT min(notification_id) FROM events WHERE topic = 'UserProfileChanged'"
        " AND notification_id > %s)",
        [head],
    )
    follower = Follower(wiring.reader, wiring.store)
    follow_to_the_end(follower, wiring)
    stopped = {name for (name, _), one in follower.followed.items() if one.stopped}
    assert stopped == {"profiles"}
    assert positions(wiring, active(wiring, "movies")) == {wiring.reader.head()}


def test_a_generation_far_behind_holds_nobody_up(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.following.follower.FETCH_EVENTS_MAX", 10)
    monkeypatch.setattr("projector.following.follower.IDLE_ADVANCE_S", 0.0)
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    late = built(wiring, "movies")
    history.go_on(100)
    live = [one for one in wiring.generations.all() if one.number != late.number]
    follower = Follower(wiring.reader, wiring.store)
    follower.follow(live)
    while follower.run_pass() or follower.lagging:
        pass
    history.go_on(5)
    follower.follow([*live, late])
    follower.run_pass()
    assert positions(wiring, active(wiring, "profiles")) == {wiring.reader.head()}
    assert max(positions(wiring, late)) < wiring.reader.head()
    follow_to_the_end(follower, wiring)
    assert positions(wiring, late) == {wiring.reader.head()}
