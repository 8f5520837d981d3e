"""Checksums of stored values, and reports of damaged ones."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DocumentDamaged
from shared.ids import Position
from shared.read_model.checksum import (
    checked,
    checked_positions,
    last_stored,
    stored_position,
    with_checksum,
)
from shared.read_model.damage import DamageReport, decoded_report


@given(st.binary(max_size=300))
def test_a_stored_value_gives_its_document_back(document: bytes) -> None:
    assert checked(with_checksum(document)) == document


@given(st.binary(max_size=300), st.data())
def test_no_changed_byte_goes_unnoticed(document: bytes, data: st.DataObject) -> None:
    stored = bytearray(with_checksum(document))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DocumentDamaged):
        checked(bytes(stored))


@given(st.binary(min_size=1, max_size=300), st.data())
def test_no_shortened_value_passes(document: bytes, data: st.DataObject) -> None:
    stored = with_checksum(document)
    with pytest.raises(DocumentDamaged):
        checked(stored[: data.draw(st.integers(0, len(stored) - 1))])


@pytest.mark.parametrize("entity", [None, UUID(int=7)])
def test_a_report_is_read_as_it_was_written(entity: UUID | None) -> None:
    report = DamageReport("movies", 3, 15, entity)
    assert decoded_report(report.encoded()) == report


@given(st.binary(max_size=60))
def test_an_entry_that_is_no_report_is_none(entry: bytes) -> None:
    report = decoded_report(entry)
    assert report is None or report.encoded() == entry


@pytest.mark.parametrize("entry", [b"movies:1:2:\n", b"movies:1:2", b"movies:1:2:" + b"0" * 31])
def test_a_damaged_report_is_none(entry: bytes) -> None:
    assert decoded_report(entry) is None


FIELDS = st.sampled_from([bytes(3), b"\xff\x00\x01", bytes(range(16))])
POSITIONS = st.integers(1, 2**60)


@given(FIELDS, POSITIONS, POSITIONS)
def test_stored_positions_are_ordered_by_length_and_then_by_bytes(
    field: bytes, one: int, since: int
) -> None:
    stored, last = stored_position(field, one), last_stored(since)
    assert checked_positions([field, stored], until=Position(one)) == {field: one}
    assert ((len(stored), stored) > (len(last), last)) == (one > since)


@given(FIELDS, POSITIONS, st.data())
def test_no_changed_bit_of_a_position_goes_unnoticed(
    field: bytes, position: int, data: st.DataObject
) -> None:
    stored = bytearray(stored_position(field, position))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DocumentDamaged):
        checked_positions([field, bytes(stored)], until=Position(2**62))


def test_a_position_after_the_checkpoint_is_damage() -> None:
    stored = [bytes(3), stored_position(bytes(3), 8)]
    with pytest.raises(DocumentDamaged):
        checked_positions(stored, until=Position(7))
