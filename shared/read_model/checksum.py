"""The checksum at the end of every value in the read models: damaged values are never served.

A value is its document followed by the document's CRC-32 in four bytes. Redis's append-only file
has no checksum of its own: a byte that changed on disk would be served as if it had been written.

The position of a rating's last change has a check of one byte: there is one for each rating.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from shared.errors import DocumentDamaged
from shared.ids import Position

CHECKSUM_BYTES = 4
# The CRC-32 of any bytes followed by their own CRC-32, lowest byte first.
_RESIDUE = 0x2144DF1C
# No change of a single bit is a multiple of it.
_PRIME = 251


def with_checksum(document: bytes) -> bytes:
    """Return the document as it is stored."""
    return document + crc32(document).to_bytes(CHECKSUM_BYTES, "little")


def checked(stored: bytes) -> bytes:
    """Return the document of a stored value; raise `DocumentDamaged` if a byte of it changed."""
    if crc32(stored) != _RESIDUE:
        raise DocumentDamaged(f"a value of {len(stored)} bytes does not match its checksum")
    return stored[:-CHECKSUM_BYTES]


def stored_position(field: bytes, position: int) -> bytes:
    """Return a position as it is stored in a field: few bytes, highest first, and a check byte.

    The check byte makes the whole congruent to the field modulo 251.
    """
    shifted = position << 8
    whole = shifted + (int.from_bytes(field) - shifted) % _PRIME
    return whole.to_bytes((whole.bit_length() + 7) // 8)


def last_stored(position: int) -> bytes:
    """Return bytes that no stored form of the position exceeds, and that of every later one does.

    Of two stored positions, the longer one is the later, and of equal length the greater one.
    """
    whole = position << 8 | 0xFF
    return whole.to_bytes((whole.bit_length() + 7) // 8)


def checked_positions(stored: Iterable[bytes], *, until: Position) -> dict[bytes, Position]:
    """Return the positions in hashes' replies, in which fields and values alternate.

    Raises `DocumentDamaged` for a value that is not its field's, or a position after `until`.
    """
    found = {}
    parts = iter(stored)
    number_of = int.from_bytes
    for field, value in zip(parts, parts, strict=True):
        whole = number_of(value)
        if (whole - number_of(field)) % _PRIME or not 0 < whole >> 8 <= until:
            raise DocumentDamaged("a position does not match its field")
        found[field] = Position(whole >> 8)
    return found
