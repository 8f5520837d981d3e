"""Numbers and keys of the read models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ids import Position
from shared.read_model.keys import PartitionKeys
from shared.read_model.ranks import from_rating_rank, rating_rank
from shared.read_model.statistics import BINS, statistics_of, weighted_average
from tests.support.builders import NOON, later


@pytest.mark.parametrize(
    ("scores", "average", "median"),
    [
        ([], None, None),
        ([7], 3.5, 3.5),
        ([6, 7], 3.25, 3.25),
        ([1, 2, 10], 2.1667, 1.0),
        ([6] * 15 + [7], 3.0313, 3.0),  # 3.03125: a half goes up, which floats do not promise.
    ],
)
def test_statistics(scores: list[int], average: float | None, median: float | None) -> None:
    histogram = tuple(scores.count(n) for n in range(1, BINS + 1))
    statistics = statistics_of(histogram, Position(1))
    assert (statistics.count, statistics.average, statistics.median) == (
        len(scores),
        average,
        median,
    )


def test_a_weighted_average_is_drawn_towards_c_until_there_are_many() -> None:
    assert weighted_average(1, 10) == round((5 + 25 * 3.5) / 26, 4)
    assert weighted_average(100_000, 1_000_000) == pytest.approx(5, abs=0.001)


@settings(derandomize=True, database=None, max_examples=60)
@given(st.integers(1, BINS), st.integers(-200_000, 200_000))
def test_a_rank_holds_time_and_score_exactly(half_stars: int, hours: int) -> None:
    """Redis keeps it as a float, which is exact up to 2**53."""
    rank = rating_rank(later(hours), half_stars)
    assert from_rating_rank(rank) == (later(hours), half_stars)


def test_ranks_sort_by_time_first() -> None:
    assert rating_rank(NOON, 10) < rating_rank(later(1), 1)


def test_a_partitions_keys_share_their_hash_tag() -> None:
    keys = PartitionKeys("movies", 3, 7)
    assert keys.checkpoint == "sf:{movies:3:7}:checkpoint"
    assert keys.document("stats", "ab") == "sf:{movies:3:7}:stats:ab"
    assert keys.document("catalogue") == "sf:{movies:3:7}:catalogue"
