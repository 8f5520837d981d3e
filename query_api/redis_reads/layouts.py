"""How a generation's values are stored: with checksums, or as releases before checksums wrote them.

Those are read while the new release's generations are built, and until they are purged.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

from shared.errors import DocumentDamaged
from shared.read_model.checksum import checked
from shared.read_model.layout import CHECKED_SINCE, GenerationCopy
from shared.read_model.ranks import checked_rank, stored_rank


class Layout(NamedTuple):
    """From stored values to what they hold, and ranks back; raises `DocumentDamaged`."""

    document: Callable[[bytes], bytes]
    rank: Callable[[bytes, float], int]
    stored_rank: Callable[[bytes, int], int]


def layout_of(projection: str, generation: GenerationCopy) -> Layout:
    is_checked = generation.definition_version >= CHECKED_SINCE[projection]
    return _CHECKED if is_checked else _PLAIN


def _plain_document(stored: bytes) -> bytes:
    return stored


def _plain_rank(_member: bytes, stored: float) -> int:
    if not isfinite(stored):
        raise DocumentDamaged("a rank is no number")
    return int(stored)


def _plain_stored_rank(_member: bytes, rank: int) -> int:
    return rank


_CHECKED = Layout(checked, checked_rank, stored_rank)
_PLAIN = Layout(_plain_document, _plain_rank, _plain_stored_rank)
