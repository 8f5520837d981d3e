"""The rules of a rating."""

from __future__ import annotations

from datetime import timedelta

from command_api.deciding.rating import CLOCK_AHEAD_MAX
from shared.errors import InvalidInput, RatingSuperseded
from tests.support.builders import (
    NOON,
    later,
    rating_submitted,
    rating_withdrawn,
    submit_rating,
    withdraw_rating,
)
from tests.support.decider_scenario import given


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


def test_a_rating_dated_before_the_standing_one_is_refused() -> None:
    given(rating_submitted(rated_at=NOON)).when(
        submit_rating(half_stars=1, rated_at=later(-1), now=later(2))
    ).then_refused(RatingSuperseded, "standing")


def test_a_default_date_is_never_earlier_than_the_standing_one() -> None:
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
