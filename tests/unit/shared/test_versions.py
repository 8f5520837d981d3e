"""Versions, which both APIs make of the same facts, and the conditions of `If-Match`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from query_api.views.pages import version_of_profile, version_of_rating
from shared.errors import MalformedHeader, StaleVersion
from shared.ids import Position, Version
from shared.read_model.documents import movie_document, movie_version
from shared.read_model.ranks import rating_rank
from shared.versions import condition_of, profile_version, rating_version
from tests.support.builders import NOON, SOLARIS, movie_fields

REVIEW = "Worth the wait."


@pytest.mark.parametrize("more_us", [0, 1, 999, 1_000, 999_999, 123_456_789])
@pytest.mark.parametrize("review", [None, REVIEW, ""])
def test_a_read_and_a_command_make_the_same_version_of_a_rating(
    more_us: int, review: str | None
) -> None:
    rated_at = NOON + timedelta(microseconds=more_us)
    read = version_of_rating(rating_rank(rated_at, 9), None if review is None else review.encode())
    assert read == rating_version(9, review, rated_at)


def test_every_part_of_a_rating_is_in_its_version() -> None:
    versions = {
        rating_version(9, REVIEW, NOON),
        rating_version(8, REVIEW, NOON),
        rating_version(9, None, NOON),
        rating_version(9, "", NOON),
        rating_version(9, REVIEW, NOON + timedelta(milliseconds=1)),
    }
    assert len(versions) == 5
    assert all("-" not in version for version in versions)


def test_the_version_of_a_profile_is_of_what_is_shown() -> None:
    stored = msgspec.json.encode({"display_name": "Ann", "visibility": "public", "erased": False})
    assert version_of_profile(stored) == profile_version("Ann", "public")
    others = {profile_version("Ann", "private"), profile_version("Anne", "public")}
    assert len(others | {profile_version("Ann", "public"), profile_version(None, "public")}) == 4


@pytest.mark.parametrize("version", [1, 12, 999])
def test_the_version_of_a_movie_is_taken_from_its_document(version: int) -> None:
    fields = movie_fields(description='"version":7} : {')
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    stored = msgspec.json.encode(
        movie_document(SOLARIS, fields, created_at, Position(7), Version(version))
    )
    assert movie_version(stored) == str(version)


@pytest.mark.parametrize(
    "if_match",
    [
        '"3"',
        '"3-9f86"',
        '"3-9f86-gzip"',
        '"1" , "3-a"',
        ' "2",\t"3"',
        '"1","3",',
        ', ,"3"',
        "*",
        " * ",
    ],
)
def test_a_condition_that_holds(if_match: str) -> None:
    condition_of(if_match).require("3", "movie")


@pytest.mark.parametrize(
    "if_match", ['"2"', '"30"', '"2-3"', 'W/"3"', 'W/"3-9f86", "4"', '""', '"ä-3"']
)
def test_a_condition_that_does_not(if_match: str) -> None:
    with pytest.raises(StaleVersion):
        condition_of(if_match).require("3", "movie")


@pytest.mark.parametrize(
    "if_match", ["", ",", "3", '"3', '3"', "'3'", '"3" "4"', '*, "3"', 'w/"3"']
)
def test_what_is_no_condition(if_match: str) -> None:
    with pytest.raises(MalformedHeader) as refused:
        condition_of(if_match)
    assert refused.value.pointer == "/header/if-match"


def test_nothing_meets_no_condition() -> None:
    for if_match in ("*", '"3"'):
        with pytest.raises(StaleVersion):
            condition_of(if_match).require(None, "rating")
