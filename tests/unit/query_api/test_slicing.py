"""Long lists in chunks."""

from __future__ import annotations

from bisect import bisect_right, insort

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.catalogue.slicing import SortedKeys

numbers = st.integers(0, 40)


@given(st.sets(numbers), st.lists(numbers, max_size=120), numbers, st.integers(1, 9))
def test_keys_in_chunks_are_those_of_a_sorted_list(
    first: set[int], toggled: list[int], after: int, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("query_api.catalogue.slicing.CHUNK_MAX", 4)
        expected = sorted((number,) for number in first)
        keys = SortedKeys(expected)
        for number in toggled:
            key = (number,)
            if key in expected:
                expected.remove(key)
                keys.remove(key)
            else:
                insort(expected, key)
                keys.add(key)
            assert list(keys) == expected
        assert len(keys) == len(expected)
        later = expected[bisect_right(expected, (after,)) :]
        for start, rest in ((None, expected), ((after,), later)):
            found = keys.after(start, limit)
            assert found == rest[: len(found)]
            assert len(found) <= limit
            assert bool(found) == bool(rest)
