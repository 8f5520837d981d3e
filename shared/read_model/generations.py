"""The readers' copy of the active generations, and the layout of a generation's values.

Values have checksums, unless a release before checksums wrote them: readers accept those while the
new release builds its generations, and until the old ones are purged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import NamedTuple
from zlib import crc32

import msgspec

from shared.errors import DocumentDamaged
from shared.read_model.checksum import checked
from shared.read_model.keys import CHANGES, MOVIES, PROFILES
from shared.read_model.ranks import checked_rank, checked_ranks, stored_rank

# The first definition versions whose values have checksums and whose ranks have check bits.
CHECKED_SINCE = {MOVIES: 3, PROFILES: 3, CHANGES: 2}
# The first definition version of `movies` whose documents have the position of their last change.
MOVIE_POSITIONS_SINCE = 4
# The first definition version of `changes` with each movie once, in the order of its last change.
CHANGE_ORDER_SINCE = 3
# The first definition version of `profiles` with the position of each rating's last change.
RATING_POSITIONS_SINCE = 6


class GenerationCopy(msgspec.Struct, frozen=True):
    """The part of a projection's active generation that readers need.

    `checksum` is 0 in the copies of older releases.
    """

    number: int
    definition_version: int
    partitions: int
    checksum: int = 0


def generation_copy(projection: str, number: int, version: int, partitions: int) -> GenerationCopy:
    """Return a copy with its checksum."""
    checksum = crc32(f"{projection}:{number}:{version}:{partitions}".encode())
    return GenerationCopy(number, version, partitions, checksum)


class Layout(NamedTuple):
    """Conversions between stored values and their contents; they raise `DocumentDamaged`."""

    document: Callable[[bytes], bytes]
    rank: Callable[[bytes, float], int]
    ranks: Callable[[Sequence[bytes]], list[tuple[bytes, int]]]
    stored_rank: Callable[[bytes, int], int]
    # Only `profiles` has them.
    has_rating_positions: bool = False


def layout_of(projection: str, generation: GenerationCopy) -> Layout:
    if projection == PROFILES and generation.definition_version >= RATING_POSITIONS_SINCE:
        return _WITH_RATING_POSITIONS
    is_checked = generation.definition_version >= CHECKED_SINCE[projection]
    return _CHECKED if is_checked else _PLAIN


def _plain_document(stored: bytes) -> bytes:
    return stored


def _plain_rank(_member: bytes, stored: float) -> int:
    if not isfinite(stored):
        raise DocumentDamaged("a rank is not a number")
    return int(stored)


def _plain_ranks(stored: Sequence[bytes]) -> list[tuple[bytes, int]]:
    parts = iter(stored)
    return [
        (member, _plain_rank(member, float(rank)))
        for member, rank in zip(parts, parts, strict=True)
    ]


def _plain_stored_rank(_member: bytes, rank: int) -> int:
    return rank


_CHECKED = Layout(checked, checked_rank, checked_ranks, stored_rank)
_WITH_RATING_POSITIONS = _CHECKED._replace(has_rating_positions=True)
_PLAIN = Layout(_plain_document, _plain_rank, _plain_ranks, _plain_stored_rank)
