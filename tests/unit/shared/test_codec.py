"""Events as stored: sealed personal fields, and old versions brought up to date."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest

from shared.errors import Misconfigured
from shared.ids import EventId, MovieId, UserId, new_uuid7
from shared.log.codec import Codec, event_id_of, origin_of, recorded_at_of, trace_of
from shared.log.events import (
    EVENT_TYPES,
    Event,
    Metadata,
    MovieCreated,
    RatingSubmitted,
    TracedMetadata,
    UserCreated,
    UserPasswordChanged,
)
from tests.support.builders import (
    ANN,
    BEN,
    NOON,
    STALKER,
    movie_created,
    movie_fields,
    rating_submitted,
    user_created,
)

KEYS = {ANN: b"a" * 32, BEN: b"b" * 32}
METADATA = Metadata(event_id=EventId(new_uuid7()), recorded_at=NOON, actor=ANN)


def test_an_event_comes_back_as_it_was() -> None:
    event = rating_submitted(review="Slow, and worth it.")
    state = Codec().encode(event, METADATA, KEYS)
    decoded = Codec().decode("RatingSubmitted", state, KEYS)
    assert (decoded.event, decoded.metadata) == (event, METADATA)
    assert event_id_of(state) == METADATA.event_id


def test_a_trace_is_stored_in_26_bytes_and_overlooked_by_those_who_do_not_ask() -> None:
    """Events without one are stored as before, and a release before traces reads both."""
    trace = bytes(range(24))
    traced = TracedMetadata(**msgspec.structs.asdict(METADATA), trace=trace)
    without = Codec().encode(rating_submitted(), METADATA, KEYS)
    state = Codec().encode(rating_submitted(), traced, KEYS)
    assert len(state) == len(without) + 26
    assert (trace_of(without), trace_of(state)) == (None, trace)
    assert Codec().decode("RatingSubmitted", state, KEYS).metadata == METADATA
    assert event_id_of(state) == METADATA.event_id
    assert recorded_at_of(state) == METADATA.recorded_at


def test_a_log_line_names_the_request_of_an_event_and_its_trace() -> None:
    request_id = new_uuid7()
    fields = {**msgspec.structs.asdict(METADATA), "correlation_id": request_id}
    traced = TracedMetadata(**fields, trace=b"t" * 16 + b"s" * 8)
    state = Codec().encode(rating_submitted(), traced, KEYS)
    assert origin_of(state) == {"request_id": str(request_id), "trace_id": (b"t" * 16).hex()}
    assert origin_of(Codec().encode(rating_submitted(), METADATA, KEYS)) == {}
    assert origin_of(b"") == {}


def test_personal_fields_are_sealed_with_their_subjects_key() -> None:
    event = user_created(
        display_name="Ann of Example",
        email="ann@example.org",
        password_hash="$argon2",
        external_id="crm:4711",
    )
    state = Codec().encode(event, METADATA, KEYS)
    for personal in (b"Ann of Example", b"ann@example.org", b"$argon2", b"crm:4711"):
        assert personal not in state


def test_without_the_key_personal_fields_are_gone_and_the_score_stays() -> None:
    state = Codec().encode(rating_submitted(review="Mine."), METADATA, KEYS)
    event = Codec().decode("RatingSubmitted", state, {}).event
    assert event == rating_submitted(review=None)


def test_another_key_or_another_event_does_not_open_them() -> None:
    state = Codec().encode(rating_submitted(review="Mine."), METADATA, KEYS)
    with pytest.raises(Misconfigured, match="does not open"):
        Codec().decode("RatingSubmitted", state, {ANN: KEYS[BEN]})


def test_sealing_without_a_key_is_refused() -> None:
    with pytest.raises(Misconfigured, match=str(ANN)):
        Codec().encode(rating_submitted(review="Mine."), METADATA, {})


def test_an_unknown_topic_is_refused() -> None:
    with pytest.raises(Misconfigured, match="MovieExploded"):
        Codec().decode("MovieExploded", b"", {})


class _RatingSubmittedAsItWas(Event, frozen=True, kw_only=True):
    """Version 1 of a made-up history: scores were whole stars, under another name."""

    personal: ClassVar[tuple[str, ...]] = ("review",)

    user_id: UserId
    movie_id: MovieId
    stars: int
    rated_at: Any
    review: str | None = None


class _RatingSubmittedAsItIs(RatingSubmitted, frozen=True, kw_only=True):
    schema_version: ClassVar[int] = 2


def test_an_old_event_is_brought_up_to_date_as_it_is_read() -> None:
    """Its sealed review too: what is personal stays sealed through the upcast."""
    _RatingSubmittedAsItWas.__name__ = _RatingSubmittedAsItIs.__name__ = "RatingSubmitted"

    def to_half_stars(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "half_stars": 2 * fields.pop("stars")}

    before = Codec([_RatingSubmittedAsItWas], {})
    after = Codec([_RatingSubmittedAsItIs], {("RatingSubmitted", 1): to_half_stars})
    old = _RatingSubmittedAsItWas(
        user_id=ANN, movie_id=MovieId(UUID(int=11)), stars=4, rated_at=NOON, review="Slow."
    )
    state = before.encode(old, METADATA, KEYS)
    event = after.decode("RatingSubmitted", state, KEYS).event
    assert isinstance(event, _RatingSubmittedAsItIs)
    assert (event.half_stars, event.rated_at, event.review) == (8, NOON, "Slow.")


class _UserCreatedAsItWas(Event, frozen=True, kw_only=True):
    """Version 1: the external id stood in the clear."""

    personal: ClassVar[tuple[str, ...]] = ("display_name",)

    user_id: UserId
    display_name: str | None
    external_id: str | None = None
    created_at: Any


def test_an_external_id_that_stood_in_the_clear_is_read_as_if_it_were_sealed() -> None:
    """Readers without the key do not see it, for example after an erasure."""
    _UserCreatedAsItWas.__name__ = "UserCreated"
    old = _UserCreatedAsItWas(
        user_id=ANN, display_name="Ann", external_id="crm:4711", created_at=NOON
    )
    state = Codec([_UserCreatedAsItWas], {}).encode(old, METADATA, KEYS)
    assert b"crm:4711" in state
    seen = Codec().decode("UserCreated", state, KEYS).event
    assert isinstance(seen, UserCreated)
    assert (seen.external_id, seen.display_name) == ("crm:4711", "Ann")
    erased = Codec().decode("UserCreated", state, {}).event
    assert isinstance(erased, UserCreated)
    assert (erased.external_id, erased.display_name) == (None, None)


class _UserPasswordChangedAsItWas(Event, frozen=True, kw_only=True):
    """Version 1: it was not said which sessions ended."""

    personal: ClassVar[tuple[str, ...]] = ("password_hash",)

    user_id: UserId
    password_hash: str | None


def test_a_password_that_changed_long_ago_ends_no_sessions_now() -> None:
    _UserPasswordChangedAsItWas.__name__ = "UserPasswordChanged"
    old = _UserPasswordChangedAsItWas(user_id=ANN, password_hash="$argon2")
    state = Codec([_UserPasswordChangedAsItWas], {}).encode(old, METADATA, KEYS)
    event = Codec().decode("UserPasswordChanged", state, KEYS).event
    assert event == UserPasswordChanged(user_id=ANN, password_hash="$argon2")
    assert isinstance(event, UserPasswordChanged)
    assert not event.ends_sessions


class _FieldsAsTheyWere(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A movie's details before it had original and alternative titles and a TMDB id."""

    title: str
    year: int
    imdb_id: str | None = None


class _MovieCreatedAsItWas(Event, frozen=True, kw_only=True):
    movie_id: MovieId
    details: _FieldsAsTheyWere
    created_at: Any


def test_a_movie_of_an_earlier_release_has_no_other_titles_and_no_tmdb_id() -> None:
    _MovieCreatedAsItWas.__name__ = "MovieCreated"
    old = _MovieCreatedAsItWas(
        movie_id=STALKER,
        details=_FieldsAsTheyWere(title="Stalker", year=1979, imdb_id="tt0079944"),
        created_at=NOON,
    )
    state = Codec([_MovieCreatedAsItWas], {}).encode(old, METADATA, {})
    event = Codec().decode("MovieCreated", state, {}).event
    assert event == movie_created(details=movie_fields(imdb_id="tt0079944"))
    assert isinstance(event, MovieCreated)
    assert event.details.alternative_titles == ()
    assert (event.details.original_title, event.details.tmdb_id) == (None, None)


def test_topics_are_names_and_every_event_is_frozen() -> None:
    for event_type in EVENT_TYPES:
        assert event_type.__struct_config__.frozen
        assert event_type.__name__ == event_type.__qualname__
    assert len({event_type.__name__ for event_type in EVENT_TYPES}) == len(EVENT_TYPES)
    assert msgspec.structs.fields(RatingSubmitted)
