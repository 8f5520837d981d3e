"""What a request costs the database: what went wrong in an earlier service."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg

from tests.support.api import Api
from tests.support.system import System, eventually


def test_connections_to_the_database_are_kept(system: System) -> None:
    command = system.start_command_api()
    with Api(command.url, command.url, system.service_key()) as api, system.owner() as owner:
        ann, movie_id = api.sign_up(), api.movie()
        api.rate(ann, movie_id, 1)
        before = backends(owner)
        for n in range(50):
            api.rate(ann, movie_id, n % 10 / 2 + 0.5)
        assert backends(owner) == before


def test_a_write_reads_no_more_of_a_long_log_than_of_a_short_one(system: System) -> None:
    """And never a whole table, to make an average of it or for anything else."""
    key = system.service_key()

    def read_by_some_ratings() -> int:
        """Rows; the server knows of them once the connections that read them are gone."""
        with system.owner() as owner:
            others, before = backends(owner), rows_read(owner, system.schema)
            command = system.start_command_api()
            with Api(command.url, command.url, key) as api:
                ann, movies = api.sign_up(), [api.movie() for _ in range(20)]
                for movie_id, score in itertools.product(movies, (1, 5)):
                    api.rate(ann, movie_id, score)
            command.stop()
            eventually(lambda: backends(owner) <= others)
            return rows_read(owner, system.schema) - before

    short = read_by_some_ratings()
    command = system.start_command_api()
    with Api(command.url, command.url, key) as api:
        ann, movies = api.sign_up(), [api.movie() for _ in range(100)]
        for turn in range(100):
            rows = [{"movie_id": one, "score": turn % 10 / 2 + 0.5} for one in movies]
            api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers))
    command.stop()
    assert read_by_some_ratings() <= 1.05 * short


def backends(owner: psycopg.Connection[Any]) -> set[int]:
    """The server's processes that work for command APIs."""
    rows = owner.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'starfold_command'")
    return {row[0] for row in rows}


def rows_read(owner: psycopg.Connection[Any], schema: str) -> int:
    """By whatever way, from all tables of the write side, so far."""
    row = owner.execute(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint"
        " FROM pg_stat_user_tables WHERE schemaname = %s",
        [schema],
    ).fetchone()
    assert row is not None
    read: int = row[0]
    return read
