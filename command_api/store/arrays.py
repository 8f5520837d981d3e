"""PostgreSQL arrays in binary format, each built by one join.

psycopg writes a list element by element, as text that it searches for characters to quote, and the
server parses it again. The format is `array_recv`'s: dimensions, a flag for nulls, the elements'
type, their number and the first index, then each element after its length in bytes. No element is
null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_HEAD = Struct(">iiIii").pack
_EMPTY_HEAD = Struct(">iiI").pack
_LENGTH = Struct(">i").pack
_BIGINT = Struct(">iq").pack
_UUID_LENGTH = _LENGTH(16)


class UuidArray(bytes):
    __slots__ = ()

    @classmethod
    def of(cls, items: Sequence[UUID]) -> UuidArray:
        if not items:
            return _NO_UUIDS
        elements = _UUID_LENGTH.join([b"", *(item.bytes for item in items)])
        return cls(_head("uuid", len(items)) + elements)


class BigintArray(bytes):
    __slots__ = ()

    @classmethod
    def of(cls, items: Sequence[int]) -> BigintArray:
        if not items:
            return _NO_BIGINTS
        elements = b"".join([_BIGINT(8, item) for item in items])
        return cls(_head("int8", len(items)) + elements)


class ByteaArray(bytes):
    __slots__ = ()

    @classmethod
    def of(cls, items: Sequence[bytes]) -> ByteaArray:
        if not items:
            return _NO_BYTEAS
        return cls(_head("bytea", len(items)) + _behind_lengths(items))


class TextArray(bytes):
    __slots__ = ()

    @classmethod
    def of(cls, items: Sequence[str]) -> TextArray:
        if not items:
            return _NO_TEXTS
        return cls(_head("text", len(items)) + _behind_lengths(item.encode() for item in items))


class _Dumper(Dumper):
    """Sends arrays that are encoded already."""

    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


class _UuidDumper(_Dumper):
    oid = types["uuid"].array_oid


class _BigintDumper(_Dumper):
    oid = types["int8"].array_oid


class _ByteaDumper(_Dumper):
    oid = types["bytea"].array_oid


class _TextDumper(_Dumper):
    oid = types["text"].array_oid


# The `context` of connections that send such arrays.
ADAPTERS = AdaptersMap(psycopg.adapters)
for _kind, _dumper in (
    (UuidArray, _UuidDumper),
    (BigintArray, _BigintDumper),
    (ByteaArray, _ByteaDumper),
    (TextArray, _TextDumper),
):
    ADAPTERS.register_dumper(_kind, _dumper)


def _head(element: str, count: int) -> bytes:
    return _HEAD(1, 0, types[element].oid, count, 1)


def _without_elements(element: str) -> bytes:
    return _EMPTY_HEAD(0, 0, types[element].oid)


def _behind_lengths(items: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    for item in items:
        parts += (_LENGTH(len(item)), item)
    return b"".join(parts)


# Most arrays of most appends have no elements.
_NO_UUIDS = UuidArray(_without_elements("uuid"))
_NO_BIGINTS = BigintArray(_without_elements("int8"))
_NO_BYTEAS = ByteaArray(_without_elements("bytea"))
_NO_TEXTS = TextArray(_without_elements("text"))
