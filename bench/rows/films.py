"""What a film takes: memory and start of a query API, bytes in Redis and in the log.

The films are made up (`bench.synthetic`), with as few ratings as that allows.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
import redis

from bench.bench import Bench
from bench.findings import Finding, Unit
from bench.stack import Stack
from bench.synthetic import append_ratings
from shared.log.codec import Codec
from shared.log.schema import migrate
from shared.log.sealing import KeyWrap

FILMS = (100_000, 1_000_000)
RATINGS = 1_000
# A database of Valkey; the first ones are the stack's own.
DATABASE = 2


def run(bench: Bench) -> list[Finding]:
    """Measure each once: building a million films takes minutes."""
    findings = []
    with bench.stack.paused_projector():
        for films in FILMS:
            findings += _measured(bench.stack, films)
    return findings


def _measured(stack: Stack, films: int) -> list[Finding]:
    home, schema = stack.home, f"films_{films}"
    migrate(home.owner_dsn(), schema=schema, roles=home.secrets().role_passwords)
    key_wrap = KeyWrap(stack.projector_settings.sealing_key.get_secret_value())
    options = f"-c search_path={schema}"
    with psycopg.connect(home.owner_dsn(), autocommit=True, options=options) as connection:
        append_ratings(connection, Codec(), key_wrap, ratings=RATINGS, films=films)
        size = connection.execute("SELECT pg_total_relation_size('events')").fetchone()
    assert size is not None
    url = home.redis_url(database=DATABASE)
    client: Any = redis.Redis.from_url(url)
    before = client.info("memory")["used_memory"]
    settings = {"DATABASE_SCHEMA": schema, "REDIS_URL": url}
    with stack.other_read_models(settings):
        in_redis = client.info("memory")["used_memory"] - before
        memory = stack.resident_bytes()["query_api"]
        began = time.monotonic()
        with stack.other_query_api(settings):
            started_ms = 1_000 * (time.monotonic() - began)
    client.flushdb()
    client.close()
    figures: tuple[tuple[str, Unit, float], ...] = (
        ("query API, resident", "bytes", memory),
        ("query API, start", "ms", started_ms),
        ("Redis, a film", "bytes", in_redis / films),
        ("log, a film", "bytes", size[0] / films),
    )
    return [
        Finding(
            row="films", what=f"{what}, {films:,} films", unit=unit, figures=[figure], goal=None
        )
        for what, unit, figure in figures
    ]
