"""Check bits of ranks, and checkpoints as they are stored."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DocumentDamaged
from shared.ids import Position, StreamId, Version
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from shared.read_model.ranks import checked_rank, checked_ranks, stored_rank

MEMBERS = st.binary(min_size=16, max_size=16)
# Half stars and times up to the year 2100.
RANKS = st.integers(0, 4_102_444_800_000 * 16 + 10)
CHECKPOINT = Checkpoint(
    Position(812),
    StreamId(UUID(int=3)),
    Version(2),
    7,
    UUID("0190f7ad-5c5e-7000-8000-000000000009"),
    0xFEDC_BA98,
)


@given(MEMBERS, RANKS)
def test_a_stored_rank_gives_its_rank_back_also_as_a_double(member: bytes, rank: int) -> None:
    assert checked_rank(member, float(stored_rank(member, rank))) == rank


@given(MEMBERS, RANKS, RANKS)
def test_stored_ranks_order_as_the_ranks_do(member: bytes, one: int, other: int) -> None:
    if one < other:
        assert stored_rank(member, one) < stored_rank(member, other)


@given(MEMBERS, RANKS, st.data())
def test_no_digit_of_a_stored_rank_changes_unnoticed(
    member: bytes, rank: int, data: st.DataObject
) -> None:
    digits = str(stored_rank(member, rank))
    place = data.draw(st.integers(0, len(digits) - 1))
    digit = data.draw(st.sampled_from("0123456789").filter(lambda one: one != digits[place]))
    with pytest.raises(DocumentDamaged):
        checked_rank(member, float(digits[:place] + digit + digits[place + 1 :]))


@pytest.mark.parametrize("stored", [float("nan"), float("inf"), -float("inf"), 0.5, 1e300])
def test_a_rank_that_is_no_whole_number_is_damaged(stored: float) -> None:
    with pytest.raises(DocumentDamaged):
        checked_rank(bytes(16), stored)


@given(st.lists(st.tuples(MEMBERS, RANKS)))
def test_a_page_of_ranks_is_checked_as_each_rank_is(members: list[tuple[bytes, int]]) -> None:
    stored = [
        part for member, rank in members for part in (member, b"%d" % stored_rank(member, rank))
    ]
    assert checked_ranks(stored) == members


@given(MEMBERS, RANKS, st.data())
def test_no_digit_of_a_page_of_ranks_changes_unnoticed(
    member: bytes, rank: int, data: st.DataObject
) -> None:
    digits = str(stored_rank(member, rank))
    place = data.draw(st.integers(0, len(digits) - 1))
    digit = data.draw(st.sampled_from("0123456789").filter(lambda one: one != digits[place]))
    with pytest.raises(DocumentDamaged):
        checked_ranks([member, (digits[:place] + digit + digits[place + 1 :]).encode()])


@pytest.mark.parametrize("stored", [b"nan", b"inf", b"-inf", b"0.5", b"1e+300", b"9" * 17])
def test_a_rank_of_a_page_that_is_no_whole_number_is_damaged(stored: bytes) -> None:
    with pytest.raises(DocumentDamaged):
        checked_ranks([bytes(16), stored])


def test_a_rank_with_an_exponent_is_read() -> None:
    assert checked_ranks([bytes(16), b"1.27e+2"]) == [(bytes(16), 0)]


def test_a_checkpoint_is_read_as_it_was_written_and_by_the_release_before() -> None:
    stored = encode_checkpoint(CHECKPOINT)
    assert decode_checkpoint(stored) == CHECKPOINT
    assert msgspec.msgpack.decode(stored, type=Checkpoint) == CHECKPOINT
    plain = msgspec.msgpack.Encoder(uuid_format="bytes").encode(CHECKPOINT)
    # Five elements, where this one has a digest after them.
    before = b"\x95" + plain[1:-5]
    assert decode_checkpoint(before) == msgspec.structs.replace(CHECKPOINT, event_digest=0)


def test_no_byte_of_a_checkpoint_changes_unnoticed() -> None:
    stored = encode_checkpoint(CHECKPOINT)
    for place in range(len(stored)):
        for change in range(1, 256):
            damaged = bytearray(stored)
            damaged[place] ^= change
            with pytest.raises(DocumentDamaged):
                decode_checkpoint(bytes(damaged))
