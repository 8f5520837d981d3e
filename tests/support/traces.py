"""Everything that is kept, as bytes, to look for traces of a person in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import sql

from shared.ids import UserId
from shared.log.codec import Codec
from shared.log.sealing import NONCE_BYTES
from tests.support.system import System


def dumped(owner: psycopg.Connection[Any], schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the schema."""
    tables = owner.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]
    ).fetchall()
    return {
        name: owner.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))).fetchall()
        for (name,) in tables
    }


def opened_with_any_key(system: System, owner: psycopg.Connection[Any]) -> set[str]:
    """Return the sealed values in clear, using the settings and every key in the table."""
    wrap = system.key_wrap()
    wrapped = owner.execute("SELECT user_id, wrapped FROM subject_keys").fetchall()
    keys = [wrap.unwrap(UserId(user_id), key) for user_id, key in wrapped]
    texts: set[str] = set()
    for topic, state in owner.execute("SELECT topic, state FROM events").fetchall():
        decoded = Codec().decode_sealed(topic, state)
        event, metadata = decoded.event, decoded.metadata
        for field in event.personal:
            sealed = getattr(event, field)
            for key in keys if sealed is not None else ():
                raw = base64.b64decode(sealed)
                place = metadata.event_id.bytes + field.encode()
                try:
                    opened = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place)
                except InvalidTag:
                    continue
                texts.add(opened.decode())
    return texts


def database_bytes(owner: psycopg.Connection[Any], schema: str) -> bytes:
    """Every value of every table, binary ones as they are."""
    return b"\n".join(
        value if isinstance(value, bytes) else repr(value).encode()
        for rows in dumped(owner, schema).values()
        for row in rows
        for value in row
    )


def redis_bytes(system: System) -> bytes:
    """Every key of every database of Redis, with its value."""
    return b"\n".join(_redis_values(system.redis))


def redis_file_bytes(system: System) -> bytes:
    """Every file in the folder that Redis writes to."""
    kept = []
    for file in sorted(system.servers.home.valkey_data.rglob("*")):
        # The server may drop one at any moment.
        with suppress(FileNotFoundError, IsADirectoryError):
            kept.append(file.read_bytes())
    return b"\n".join(kept)


def holds(kept: bytes, trace: str) -> bool:
    """Whether a text is in the bytes, in upper or lower case, in UTF-8."""
    return trace.casefold().encode() in kept.decode("utf-8", "replace").casefold().encode()


def _redis_values(connection: Any) -> Iterator[bytes]:
    for key in connection.scan_iter(count=1_000):
        yield key
        match connection.type(key):
            case b"string":
                yield connection.get(key)
            case b"zset":
                yield repr(connection.zrange(key, 0, -1, withscores=True)).encode()
            case b"hash":
                yield from (part for pair in connection.hgetall(key).items() for part in pair)
            case b"stream":
                yield repr(connection.xrange(key)).encode()
            case other:
                raise AssertionError(f"{key!r} is a {other!r}")
