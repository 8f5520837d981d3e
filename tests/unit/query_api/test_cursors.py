"""Cursors: sealed, bound to their list, the same for the same page."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.views.cursors import Cursors
from shared.errors import InvalidInput

CURSORS = Cursors(bytes(range(32)))
KEY = (28_000_000_000_000, b"\1" * 16)
KEY_TYPE: type[tuple[Any, ...]] = tuple[int, bytes]


def test_a_cursor_comes_back_and_is_the_same_in_every_process() -> None:
    cursor = CURSORS.seal("raters", KEY)
    assert CURSORS.open("raters", cursor, KEY_TYPE) == KEY
    assert Cursors(bytes(range(32))).seal("raters", KEY) == cursor


def test_a_cursor_of_another_list_or_another_key_is_refused() -> None:
    cursor = CURSORS.seal("raters:1", KEY)
    with pytest.raises(InvalidInput, match="cursor"):
        CURSORS.open("raters:2", cursor, KEY_TYPE)
    with pytest.raises(InvalidInput, match="cursor"):
        Cursors(bytes(32)).open("raters:1", cursor, KEY_TYPE)


def test_a_cursor_says_nothing_of_its_row() -> None:
    sealed = base64.urlsafe_b64decode(CURSORS.seal("raters", KEY) + "==")
    assert KEY[1] not in sealed
    # The same length whatever the row is.
    assert len(CURSORS.seal("raters", (1 << 45, bytes(16)))) == len(CURSORS.seal("raters", KEY))


@given(st.text(max_size=120), st.data())
def test_whatever_else_is_refused(text: str, data: st.DataObject) -> None:
    sealed = CURSORS.seal("raters", KEY)
    place = data.draw(st.integers(0, len(sealed) - 2))
    # The last character's low bits are padding.
    damaged = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
    for foreign in (text, damaged, sealed + "A", sealed[:-4], "A" * 3_000):
        with pytest.raises(InvalidInput, match="cursor"):
            CURSORS.open("raters", foreign, KEY_TYPE)


def test_a_sealed_key_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        CURSORS.open("raters", CURSORS.seal("raters", ("a", "b", "c")), KEY_TYPE)
