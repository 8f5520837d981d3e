"""The projections, without any server."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from datetime import timedelta
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from command_api.deciding import rating
from command_api.deciding.rating import Rating
from projector.documents.working_set import Corrupt, Key, WorkingSet
from projector.projections import DEFINITIONS
from shared.errors import ProjectionFault
from shared.ids import MovieId, Position, UserId, Version
from shared.log.events import (
    EmailVerified,
    Event,
    MovieReopened,
    MovieWithdrawalStarted,
    MovieWithdrawn,
    UserErased,
)
from shared.read_model.checksum import with_checksum
from shared.read_model.documents import (
    HISTORY_STEP,
    ClosedDocument,
    HistoryYear,
    movie_document,
)
from shared.read_model.kinds import (
    CATALOGUE,
    CHANGE_ORDER,
    CHANGED_MOVIES,
    CLOSED,
    HISTORY,
    KINDS,
    LEFT,
    MOVIE,
    PRIVATE,
    PROFILE,
    RATERS,
    RATINGS,
    REVIEWS,
    STATISTICS,
    Scores,
)
from shared.read_model.ranks import milliseconds, stored_rank
from shared.read_model.statistics import BINS
from tests.support.builders import (
    ANN,
    BEN,
    NOON,
    SOLARIS,
    STALKER,
    later,
    movie_created,
    movie_details_changed,
    movie_fields,
    movie_merged,
    rating_moved,
    rating_submitted,
    rating_withdrawn,
    submit_rating,
    user_created,
    user_profile_changed,
    withdraw_rating,
)
from tests.support.scenarios.projection_scenario import folded, given, logged

PROFILE_SETTINGS = hypothesis.settings(derandomize=True, database=None, max_examples=60)
USERS = [UserId(UUID(int=n)) for n in range(1, 4)]
MOVIES = [MovieId(UUID(int=n)) for n in range(11, 14)]


def histogram(**bins: int) -> list[int]:
    """`histogram(_6=2)`: two scores of six half stars."""
    return [bins.get(f"_{half_stars}", 0) for half_stars in range(1, BINS + 1)]


def statistics(entity: UUID) -> Key:
    return STATISTICS.name, entity.hex


def test_a_second_opinion_moves_the_histogram_by_the_difference() -> None:
    again = rating_submitted(half_stars=10, previous_half_stars=6, previous_rated_at=NOON)
    given("movies", movie_created(), rating_submitted(half_stars=6)).when(again).times(2).then(
        {statistics(STALKER): Scores(histogram(_10=1), Position(3))}
    )


@pytest.mark.parametrize(
    ("projection", "entity", "sets"),
    [("movies", STALKER, RATERS), ("profiles", ANN, RATINGS)],
)
def test_a_withdrawn_rating_is_gone_from_movie_and_profile(
    projection: str, entity: UUID, sets: str
) -> None:
    history = [user_created(), movie_created(), rating_submitted()]
    none_left = {statistics(entity): Scores(histogram(), Position(4)), (sets, entity.hex): None}
    given(projection, *history).when(rating_withdrawn()).times(2).then(none_left)


def test_a_merged_movie_is_not_in_the_catalogue_and_says_where_it_went() -> None:
    created = movie_created(details=movie_fields(imdb_id="tt0079944", tmdb_id=1398))
    left = ClosedDocument(into=SOLARIS, position=Position(3), imdb_id="tt0079944", tmdb_id=1398)
    given("movies", created, rating_submitted()).when(movie_merged()).times(2).then(
        {
            (MOVIE.name, STALKER.hex): None,
            (CLOSED.name, STALKER.hex): left,
            (CATALOGUE, ""): None,
            (LEFT, ""): {STALKER.bytes: stored_rank(STALKER.bytes, milliseconds(NOON))},
            statistics(STALKER): Scores(histogram(_6=1), Position(2)),
        }
    )


def test_a_withdrawn_movie_is_not_in_the_catalogue() -> None:
    withdrawn = MovieWithdrawn(movie_id=STALKER, withdrawn_at=NOON)
    given("movies", movie_created()).when(withdrawn).times(2).then(
        {
            (MOVIE.name, STALKER.hex): None,
            (CLOSED.name, STALKER.hex): ClosedDocument(into=None, position=Position(2)),
            (CATALOGUE, ""): None,
        }
    )


def test_a_reopened_movie_is_shown_with_the_details_of_that_event() -> None:
    started = MovieWithdrawalStarted(movie_id=STALKER, started_at=NOON)
    reopened = MovieReopened(movie_id=STALKER, details=movie_fields(year=1980), reopened_at=NOON)
    document = movie_document(STALKER, movie_fields(year=1980), NOON, Position(3), Version(1))
    given("movies", movie_created(), started).when(reopened).times(2).then(
        {(MOVIE.name, STALKER.hex): document}
    )


def test_a_rating_moves_from_one_movie_to_the_other() -> None:
    solaris = movie_created(movie_id=SOLARIS)
    history = [movie_created(), solaris, rating_submitted(), movie_merged()]
    moved = (rating_moved(moved_at=later(48)), rating_submitted(movie_id=SOLARIS))
    noon = NOON.timetuple().tm_yday * HISTORY_STEP
    given("movies", *history).when(*moved).times(2).then(
        {
            statistics(STALKER): Scores(histogram(), Position(5)),
            statistics(SOLARIS): Scores(histogram(_6=1), Position(6)),
            (RATERS, STALKER.hex): None,
            (HISTORY.name, f"{SOLARIS.hex}:2026"): HistoryYear({noon + 6: 1}),
        }
    )
    stored = given("profiles", user_created(), *history).when(*moved).times(2).then({})
    assert list(stored[RATINGS, ANN.hex]) == [SOLARIS.bytes]
    assert stored[statistics(ANN)].histogram == histogram(_6=1)
    changes = given("changes", *history).when(*moved).times(2).then({})
    assert len(changes[CHANGED_MOVIES, ""]) == 6


def test_a_review_moves_with_its_rating() -> None:
    history = [user_created(), rating_submitted(review="Rain")]
    moved = (rating_moved(), rating_submitted(movie_id=SOLARIS, review="Rain"))
    given("profiles", *history).when(*moved).times(2).then(
        {(REVIEWS, ANN.hex): {SOLARIS.bytes: with_checksum(b"Rain")}}
    )


def test_changed_details_keep_the_date_of_creation() -> None:
    changed = movie_details_changed(details=movie_fields(title="Сталкер"))
    stored = given("movies", movie_created()).when(changed).times(2).then({})
    movie = stored[MOVIE.name, STALKER.hex]
    assert (movie.title, movie.created_at) == ("Сталкер", NOON)


def test_a_day_in_history_holds_what_it_added() -> None:
    noon = NOON.timetuple().tm_yday * HISTORY_STEP
    added = {
        noon + 6: 1,
        noon + HISTORY_STEP + 6: -1,
        noon + HISTORY_STEP + 2: 1,
        noon + 2 * HISTORY_STEP + 2: -1,
    }
    given("movies", movie_created()).when(
        rating_submitted(half_stars=6),
        rating_submitted(
            half_stars=2, rated_at=later(24), previous_half_stars=6, previous_rated_at=NOON
        ),
        rating_withdrawn(withdrawn_at=later(48), previous_half_stars=2),
    ).times(2).then({(HISTORY.name, f"{STALKER.hex}:2026"): HistoryYear(added)})


def test_a_profile_shows_its_changes() -> None:
    private = user_profile_changed(display_name="Anna", visibility="private")
    stored = given("profiles", user_created()).when(private).times(2).then({})
    profile = stored[PROFILE.name, ANN.hex]
    assert (profile.display_name, profile.visibility) == ("Anna", "private")


def test_a_verified_address_is_shown_as_such() -> None:
    verified = EmailVerified(user_id=ANN)
    created = user_created(email="ann@example.org")
    stored = given("profiles", created).when(verified).times(2).then({})
    assert stored[PRIVATE.name, ANN.hex].email_verified
    # A replay after an erasure finds no address.
    assert given("profiles", user_created(email=None)).when(verified).then({}) is not None


def test_an_erased_profile_shows_no_name_and_keeps_its_statistics() -> None:
    erased = UserErased(user_id=ANN, erased_at=NOON)
    stored = (
        given("profiles", user_created(), rating_submitted(review="Mine."))
        .when(erased)
        .times(2)
        .then(
            {
                statistics(ANN): Scores(histogram(_6=1), Position(2)),
                (PRIVATE.name, ANN.hex): None,
                (REVIEWS, ANN.hex): None,
            }
        )
    )
    profile = stored[PROFILE.name, ANN.hex]
    assert (profile.display_name, profile.erased) == (None, True)


def test_what_a_batch_says_of_a_person_whom_it_erases_is_not_written() -> None:
    erased = UserErased(user_id=ANN, erased_at=NOON)
    batch = [user_created(), rating_submitted(review="Mine."), erased]
    written = b"".join(b"".join(op.arguments) for op in folded("profiles", {}, batch))
    assert b"Mine." not in written
    assert b"ann@example.org" not in written


@pytest.mark.parametrize(("review", "kept"), [("Second.", b"Second."), (None, None)])
def test_a_review_is_replaced_and_removed(review: str | None, kept: bytes | None) -> None:
    again = rating_submitted(review=review, previous_half_stars=6, previous_rated_at=NOON)
    reviews = {STALKER.bytes: with_checksum(kept)} if kept else None
    history = [user_created(), rating_submitted(review="First.")]
    given("profiles", *history).when(again).times(2).then({(REVIEWS, ANN.hex): reviews})


def test_changes_name_each_movie_at_its_position() -> None:
    events = [movie_created(), user_created(), rating_submitted(), movie_details_changed()]
    movie = with_checksum(STALKER.bytes)
    given("changes").when(*events).times(2).then(
        {
            (CHANGE_ORDER, ""): {STALKER.bytes: stored_rank(STALKER.bytes, 4)},
            (CHANGED_MOVIES, ""): dict.fromkeys([b"1-0", b"3-0", b"4-0"], movie),
        }
    )


@pytest.mark.parametrize(
    ("projection", "event"),
    [
        ("movies", rating_submitted()),
        ("movies", movie_details_changed()),
        ("profiles", rating_submitted()),
        ("profiles", user_profile_changed()),
        ("profiles", UserErased(user_id=ANN, erased_at=NOON)),
    ],
)
def test_a_missing_document_is_a_fault_and_not_a_new_one(projection: str, event: Event) -> None:
    given(projection).when(event).then_fault()


def test_taking_away_a_score_that_is_not_there_is_a_fault() -> None:
    withdrawn = rating_withdrawn(previous_half_stars=3)
    given("movies", movie_created()).when(withdrawn).then_fault("no score of 3")


def fold(projection: str, *events: Event, into: WorkingSet | None = None) -> WorkingSet:
    """Fold events, numbered from 1, into an empty read model or on into another."""
    definition = DEFINITIONS[projection]
    working_set = into or WorkingSet(complete=True)
    for position, event in enumerate(events, start=1):
        if definition.entity(event) is not None:
            definition.apply(working_set, logged(position, event))
    return working_set


def test_reads_names_what_apply_reads() -> None:
    """A live partition loads exactly that, and `apply` fails where something is missing."""
    history: list[Event] = [user_created(), movie_created(), rating_submitted()]
    for projection, definition in DEFINITIONS.items():
        for event in (
            rating_submitted(previous_half_stars=6, previous_rated_at=NOON),
            rating_withdrawn(),
            movie_details_changed(),
            user_profile_changed(),
            UserErased(user_id=ANN, erased_at=NOON),
            user_created(user_id=BEN),
        ):
            if definition.entity(event) is None:
                continue
            known = fold(projection, *history)
            live = WorkingSet(complete=False)
            for key in definition.reads(event):
                live.documents[key] = known.get(KINDS[key[0]], key[1])
            definition.apply(live, logged(9, event))


FAULTY: list[Event] = [
    rating_submitted(previous_half_stars=9, previous_rated_at=NOON),
    rating_withdrawn(previous_half_stars=9),
    movie_details_changed(),
    user_profile_changed(),
    UserErased(user_id=ANN, erased_at=NOON),
]


@pytest.mark.parametrize("event", FAULTY, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("projection", DEFINITIONS)
def test_what_cannot_be_applied_changes_nothing(projection: str, event: Event) -> None:
    """One document after the other that the event reads is missing or cannot be decoded."""
    definition = DEFINITIONS[projection]
    reads = definition.reads(event) if definition.entity(event) is not None else ()
    history = (user_created(), movie_created(), rating_submitted(half_stars=9))
    for key in reads:
        read_model = fold(projection, *history)
        read_model.documents[key] = Corrupt("by a test")
        before = deepcopy(vars(read_model))
        with pytest.raises(ProjectionFault):
            definition.apply(read_model, logged(9, event))
        assert vars(read_model) == before
        fold(projection, *history, event)


@st.composite
def rating_histories(draw: st.DrawFn) -> list[Event]:
    """What the deciders record for any sequence of commands by a few users on a few movies."""
    standing: dict[tuple[UserId, MovieId], Rating] = {}
    events: list[Event] = []
    for n in range(draw(st.integers(0, 40))):
        user, movie = draw(st.sampled_from(USERS)), draw(st.sampled_from(MOVIES))
        now = NOON + timedelta(hours=5 * n)
        half_stars = draw(st.integers(0, BINS))
        command = (
            submit_rating(user_id=user, movie_id=movie, half_stars=half_stars, now=now)
            if half_stars
            else withdraw_rating(user_id=user, movie_id=movie, now=now)
        )
        before = standing.get((user, movie), Rating())
        for event in rating.decide(command, before):
            standing[user, movie] = rating.evolve(before, event)
            events.append(event)
    return events


CREATED: list[Event] = [
    *(user_created(user_id=user) for user in USERS),
    *(movie_created(movie_id=movie) for movie in MOVIES),
]


@PROFILE_SETTINGS
@hypothesis.given(rating_histories())
def test_any_history_folds_to_what_counting_says(history: list[Event]) -> None:
    last = {(e.user_id, e.movie_id): e for e in history}  # type: ignore[attr-defined]  # Ratings.
    counted = {
        pair: event.half_stars for pair, event in last.items() if hasattr(event, "half_stars")
    }
    for projection, place, entities in (("movies", 1, MOVIES), ("profiles", 0, USERS)):
        read_model = fold(projection, *CREATED, *history)
        for entity in entities:
            truth = Counter(score for pair, score in counted.items() if pair[place] == entity)
            scores = read_model.get(STATISTICS, entity.hex)
            assert scores is not None
            assert scores.histogram == [truth[n] for n in range(1, BINS + 1)]


@PROFILE_SETTINGS
@hypothesis.given(rating_histories(), st.integers(0, 40))
def test_folding_in_pieces_equals_folding_in_one_go(history: list[Event], cut: int) -> None:
    """Also where the second piece is delivered twice."""
    before, after = history[:cut], history[cut:]
    for projection in DEFINITIONS:
        whole = given(projection).when(*CREATED, *history).then({})
        assert given(projection, *CREATED, *before).when(*after).times(2).then({}) == whole
