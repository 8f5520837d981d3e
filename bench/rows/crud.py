"""A movie and a profile against plain CRUD with AVG and GROUP BY, both with 300,000 ratings."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import psycopg

from bench import catalogue
from bench.bench import Bench, Loaded, cores, measure, rates
from bench.catalogue import Rating
from bench.connection import Connection
from bench.findings import Finding, at_least, ratios
from bench.load import Load, request
from bench.rows.get import CLIENTS, SECONDS, paths
from bench.seed import RATINGS_A_BATCH, batch_body, insert_crud, send_batch

RATINGS = 300_000
FIRST_DAY = datetime(2005, 1, 1, tzinfo=UTC)
DAYS = 3_000
GOALS = {"movie": 3.0, "profile": 5.0}


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    _grow(bench)
    crud = stack.start_peer("crud")
    asked = paths(bench)
    measured: dict[str, list[Loaded]] = {}
    for _ in range(bench.rounds):
        for name, port, requests in (
            ("movie", stack.query_port, asked["movie"]),
            ("movie by SQL", crud, [path.removeprefix("/v1") for path in asked["movie"]]),
            ("profile", stack.query_port, asked["profile"]),
            ("profile by SQL", crud, [path.removeprefix("/v1") for path in asked["profile"]]),
        ):
            load = Load(
                port=port,
                requests=[request("GET", path) for path in requests],
                clients=CLIENTS,
                seconds=SECONDS,
            )
            measured.setdefault(name, []).append(measure(stack, load))
    return [
        ratios(
            "crud",
            f"GET a {name}, {RATINGS:,} ratings",
            rates(measured[name]),
            rates(measured[f"{name} by SQL"]),
            against=f"{name} by SQL",
            goal=at_least(goal),
            note=f"{cores(measured[name])}; {cores(measured[f'{name} by SQL'])}",
        )
        for name, goal in GOALS.items()
    ]


def _grow(bench: Bench) -> None:
    """Add ratings of new pairs until both have this number of them."""
    stack = bench.stack
    with psycopg.connect(stack.peers_dsn, autocommit=True) as connection:
        places = {
            **{user_id: place for place, user_id in enumerate(bench.seeded.user_ids)},
            **{movie_id: place for place, movie_id in enumerate(bench.seeded.movie_ids)},
        }
        standing = {
            (places[user_id], places[movie_id])
            for user_id, movie_id in connection.execute("SELECT user_id, movie_id FROM ratings")
        }
        more = _more(standing)
        insert_crud(connection, bench.seeded, more)
    with Connection(stack.command_port, stack.service_key) as connection:
        for start in range(0, len(more), RATINGS_A_BATCH):
            send_batch(connection, batch_body(bench.seeded, more[start : start + RATINGS_A_BATCH]))
    stack.wait_caught_up()


def _more(standing: set[tuple[int, int]]) -> list[Rating]:
    drawn = random.Random(4)
    pairs = drawn.sample(range(catalogue.USERS * catalogue.FILMS), RATINGS + len(standing))
    more: list[Rating] = []
    for pair in pairs:
        user, film = pair % catalogue.USERS, pair // catalogue.USERS
        if (user, film) in standing:
            continue
        at = FIRST_DAY + timedelta(days=drawn.randrange(DAYS), seconds=drawn.randrange(86_400))
        more.append(Rating(user, film, drawn.randint(1, 5), at))
        if len(standing) + len(more) >= RATINGS:
            break
    return more
