"""Arrays in PostgreSQL's binary format say what the lists say that they are made of."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import psycopg
import pytest

from command_api.store.arrays import ADAPTERS, BigintArray, ByteaArray, TextArray, UuidArray
from tests.support.servers import Servers

IDS = [UUID(int=0), UUID(int=2**128 - 1), UUID("0190f3c5-7a2e-7d3a-9c1e-5b1f0a2d4c6e")]


@pytest.mark.parametrize(
    ("cast", "made", "items"),
    [
        ("uuid", UuidArray.of(IDS), IDS),
        ("uuid", UuidArray.of([]), []),
        ("bigint", BigintArray.of([0, -1, 2**63 - 1]), [0, -1, 2**63 - 1]),
        ("bigint", BigintArray.of([]), []),
        ("bytea", ByteaArray.of([b"", b"\0\\x", b"x" * 70_000]), [b"", b"\0\\x", b"x" * 70_000]),
        ("bytea", ByteaArray.of([]), []),
        ("text", TextArray.of(['"', "NULL", "{}", "ä\\"]), ['"', "NULL", "{}", "ä\\"]),
        ("text", TextArray.of([]), []),
    ],
)
def test_the_server_reads_what_was_meant(
    servers: Servers, cast: str, made: bytes, items: list[Any]
) -> None:
    with psycopg.connect(servers.home.owner_dsn(), context=ADAPTERS) as connection:
        row = connection.execute(f"SELECT %s::{cast}[]", [made], binary=True).fetchone()
    assert row == (items,)


def test_a_number_that_no_bigint_holds_is_refused() -> None:
    with pytest.raises(struct.error):
        BigintArray.of([2**63])
