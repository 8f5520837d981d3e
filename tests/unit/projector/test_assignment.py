"""The division of the partitions among live projectors."""

from __future__ import annotations

import pytest

from projector.projections import DEFINITIONS
from projector.projections.selection import Share
from projector.sharing.assignment import ONLY_PARTITION_WEIGHT, share_of
from shared.read_model.keys import CHANGES, MOVIES, PARTITIONS, PROFILES

COUNTS = range(1, PARTITIONS + 4)


def _shares(count: int) -> list[Share]:
    return [share_of(rank, count) for rank in range(count)]


def _weight(share: Share) -> int:
    return sum(
        len(numbers) * (1 if DEFINITIONS[name].partitions > 1 else ONLY_PARTITION_WEIGHT)
        for name, numbers in share.items()
    )


@pytest.mark.parametrize("count", COUNTS)
def test_each_partition_has_exactly_one_projector(count: int) -> None:
    for name, definition in DEFINITIONS.items():
        numbers = sorted(number for share in _shares(count) for number in share[name])
        assert numbers == list(range(definition.partitions))


@pytest.mark.parametrize("count", COUNTS)
def test_partitions_of_the_same_number_stay_together(count: int) -> None:
    for share in _shares(count):
        assert share[MOVIES] == share[PROFILES]


@pytest.mark.parametrize("count", range(1, 6))
def test_the_work_is_balanced_to_one_number(count: int) -> None:
    weights = list(map(_weight, _shares(count)))
    assert max(weights) - min(weights) <= 2


@pytest.mark.parametrize("count", COUNTS[:-1])
def test_one_that_joins_takes_and_nothing_moves_among_the_others(count: int) -> None:
    before, after = _shares(count), _shares(count + 1)
    for held, left in zip(before, after, strict=False):
        assert all(set(left[name]) <= set(held[name]) for name in DEFINITIONS)


def test_two_projectors_divide_the_work_in_halves() -> None:
    first, second = _shares(2)
    assert (len(first[MOVIES]), len(first[CHANGES])) == (7, 1)
    assert (len(second[MOVIES]), len(second[CHANGES])) == (9, 0)


def test_only_more_projectors_than_numbers_are_idle() -> None:
    for count in COUNTS:
        idle = [share for share in _shares(count) if _weight(share) == 0]
        assert len(idle) == max(count - PARTITIONS - 1, 0)
