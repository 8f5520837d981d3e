"""The checksum at the end of every value in the read models: damaged values are never served.

A value is its document followed by the document's CRC-32 in four bytes. Redis's append-only file
has no checksum of its own: a byte that changed on disk would be served as if it had been written.
"""

from __future__ import annotations

from zlib import crc32

from shared.errors import DocumentDamaged

CHECKSUM_BYTES = 4
# The CRC-32 of any bytes followed by their own CRC-32, lowest byte first.
_RESIDUE = 0x2144DF1C


def with_checksum(document: bytes) -> bytes:
    """Return the document as it is stored."""
    return document + crc32(document).to_bytes(CHECKSUM_BYTES, "little")


def checked(stored: bytes) -> bytes:
    """Return the document of a stored value; raise `DocumentDamaged` if a byte of it changed."""
    if crc32(stored) != _RESIDUE:
        raise DocumentDamaged(f"a value of {len(stored)} bytes does not match its checksum")
    return stored[:-CHECKSUM_BYTES]
