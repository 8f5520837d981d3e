"""The rules of a rating."""

from __future__ import annotations

from datetime import timedelta

import pytest

from command_api.deciding import rating
from command_api.deciding.rating import CLOCK_AHEAD_MAX, Rating
from shared.errors import InvalidInput, RatingSuperseded
from tests.support.builders import (
    ANN,
    NOON,
    SOLARIS,
    STALKER,
    later,
    move_rating,
    rating_moved,
    rating_submitted,
    rating_withdrawn,
    submit_rating,
    withdraw_rating,
)
from tests.support.scenarios.decider_scenario import given


def test_a_first_opinion_replaces_nothing() -> None:
    given().when(submit_rating(half_stars=7)).then(rating_submitted(half_stars=7))


def test_a_second_opinion_says_what_it_replaces() -> None:
    given(rating_submitted(half_stars=6)).when(submit_rating(half_stars=10, now=later(1))).then(
        rating_submitted(
            half_stars=10, rated_at=later(1), previous_half_stars=6, previous_rated_at=NOON
        )
    )


def test_the_same_opinion_again_records_nothing() -> None:
    given(rating_submitted()).when(submit_rating(now=later(5))).then_nothing()


def test_a_review_left_out_stays() -> None:
    given(rating_submitted(review="Slow.")).when(submit_rating(half_stars=8)).then(
        rating_submitted(
            half_stars=8, review="Slow.", previous_half_stars=6, previous_rated_at=NOON
        )
    )


def test_a_review_of_null_is_removed() -> None:
    given(rating_submitted(review="Slow.")).when(submit_rating(review=None)).then(
        rating_submitted(previous_half_stars=6, previous_rated_at=NOON)
    )


def test_a_new_review_of_the_same_score_is_recorded() -> None:
    given(rating_submitted()).when(submit_rating(review="Slow.")).then(
        rating_submitted(review="Slow.", previous_half_stars=6, previous_rated_at=NOON)
    )


def test_a_rating_dated_before_the_current_one_is_refused() -> None:
    given(rating_submitted(rated_at=NOON)).when(
        submit_rating(half_stars=1, rated_at=later(-1), now=later(2))
    ).then_refused(RatingSuperseded, "current")


def test_a_default_date_is_never_earlier_than_the_current_one() -> None:
    """A clock may go backwards; a day in the movie's history must not count a user twice."""
    given(rating_submitted(rated_at=later(3))).when(submit_rating(half_stars=1, now=NOON)).then(
        rating_submitted(
            half_stars=1, rated_at=later(3), previous_half_stars=6, previous_rated_at=later(3)
        )
    )


def test_a_date_of_a_clock_that_is_ahead_is_taken_for_now() -> None:
    """Up to five minutes; it replaces what is dated later still, as a rating without a date."""
    ahead = NOON + CLOCK_AHEAD_MAX
    given().when(submit_rating(rated_at=ahead)).then(rating_submitted(rated_at=NOON))
    given(rating_submitted(rated_at=later(1))).when(
        submit_rating(half_stars=1, rated_at=ahead)
    ).then(
        rating_submitted(
            half_stars=1, rated_at=later(1), previous_half_stars=6, previous_rated_at=later(1)
        )
    )


def test_a_date_further_in_the_future_is_refused() -> None:
    beyond = NOON + CLOCK_AHEAD_MAX + timedelta(milliseconds=1)
    given().when(submit_rating(rated_at=beyond)).then_refused(InvalidInput, "future")


def test_a_rating_may_be_dated_in_the_past() -> None:
    given().when(submit_rating(rated_at=later(-9))).then(rating_submitted(rated_at=later(-9)))


def test_a_withdrawal_says_what_it_takes_away() -> None:
    given(rating_submitted(half_stars=9)).when(withdraw_rating(now=later(1))).then(
        rating_withdrawn(withdrawn_at=later(1), previous_half_stars=9)
    )


def test_a_withdrawal_is_never_dated_before_its_rating() -> None:
    given(rating_submitted(rated_at=later(4))).when(withdraw_rating(now=NOON)).then(
        rating_withdrawn(withdrawn_at=later(4), previous_rated_at=later(4))
    )


def test_what_does_not_stand_cannot_be_withdrawn() -> None:
    given().when(withdraw_rating()).then_nothing()
    given(rating_submitted(), rating_withdrawn()).when(withdraw_rating()).then_nothing()


def test_after_a_withdrawal_a_rating_is_a_first_one_again() -> None:
    given(rating_submitted(), rating_withdrawn(withdrawn_at=later(2))).when(
        submit_rating(half_stars=2, now=later(1))
    ).then(rating_submitted(half_stars=2, rated_at=later(2)))


class TestMoving:
    """Ann's rating of Stalker, which is merged into Solaris."""

    def test_it_is_given_to_the_movie_that_stays_with_its_time_and_review(self) -> None:
        assert moved(rating_submitted(review="Rain")) == [
            rating_moved(),
            rating_submitted(movie_id=SOLARIS, review="Rain"),
        ]

    def test_a_later_opinion_replaces_the_one_there(self) -> None:
        there = rating_submitted(movie_id=SOLARIS, half_stars=3, rated_at=later(-1), review="Sea")
        assert moved(rating_submitted(), there=there) == [
            rating_moved(),
            rating_submitted(movie_id=SOLARIS, previous_half_stars=3, previous_rated_at=later(-1)),
        ]

    @pytest.mark.parametrize("hours", [0, 1])
    def test_an_opinion_as_late_there_counts(self, hours: float) -> None:
        there = rating_submitted(movie_id=SOLARIS, half_stars=3, rated_at=later(hours))
        assert moved(rating_submitted(), there=there) == [rating_moved()]

    def test_it_does_not_come_back_after_a_later_withdrawal_there(self) -> None:
        there = rating_withdrawn(movie_id=SOLARIS, withdrawn_at=later(1))
        assert moved(rating_submitted(), there=there) == [rating_moved()]

    def test_after_an_earlier_withdrawal_there_it_is_a_first_one(self) -> None:
        there = rating_withdrawn(movie_id=SOLARIS, withdrawn_at=later(-1))
        assert moved(rating_submitted(), there=there) == [
            rating_moved(),
            rating_submitted(movie_id=SOLARIS),
        ]

    @pytest.mark.parametrize("ended", [rating_withdrawn(), rating_moved()])
    def test_what_does_not_stand_does_not_move(self, ended: rating.RatingEvent) -> None:
        assert moved(ended) == []


def moved(
    last: rating.RatingEvent, *, there: rating.RatingEvent | None = None
) -> list[rating.RatingEvent]:
    """What moving comes to, given the last events of both ratings."""
    command = move_rating(ANN, STALKER, SOLARIS)
    staying = Rating() if there is None else rating.evolve(Rating(), there)
    return rating.move(command, rating.evolve(Rating(), last), staying)
