"""Reads of three million ratings beside the same reads of a hundred thousand.

Both logs are on the same server and so are their read models, in separate databases, each with its
own query API. They are measured in turn, so that a slow moment of the machine affects both. The
ratings and movies are synthetic (`bench.synthetic`): the number of movies grows with the ratings.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from urllib.parse import urlencode

import psycopg

from bench.bench import Bench, Loaded, cores, latency, measure, rates
from bench.findings import Finding, at_least, ratios
from bench.load import Load, request
from bench.rows.get import CLIENTS, REQUESTS, SECONDS
from bench.stack import Stack
from bench.synthetic import Made, append_ratings
from shared.log.codec import Codec
from shared.log.schema import migrate
from shared.log.sealing import KeyWrap

RATINGS = {"few": 100_000, "many": 3_000_000}
# Databases of Valkey; the first two are the stack's own.
DATABASES = {"few": 2, "many": 3}
# The cost of a request must not grow by more than a tenth.
RATIO_MIN = 0.9
# Users and movies requested of each.
KNOWN = 250


class _ReadModels(NamedTuple):
    port: int
    made: Made


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    measured: dict[tuple[str, str], list[Loaded]] = {}
    with ExitStack() as entered:
        entered.enter_context(stack.paused_projector())
        logs = {name: entered.enter_context(_read_models(stack, name)) for name in RATINGS}
        loads = {
            (what, name): Load(port=one.port, requests=asked, clients=CLIENTS, seconds=SECONDS)
            for name, one in logs.items()
            for what, asked in _requests(one.made).items()
        }
        for _ in range(bench.rounds):
            for what_of in sorted(loads):
                measured.setdefault(what_of, []).append(measure(stack, loads[what_of]))
    return [
        _finding(what, measured[what, "many"], measured[what, "few"])
        for what in ("movie", "profile", "page of 20 ratings", "search page")
    ]


def _finding(what: str, many: list[Loaded], few: list[Loaded]) -> Finding:
    return ratios(
        "large_reads",
        f"GET a {what}, {RATINGS['many'] / 1e6:.0f} million ratings",
        rates(many),
        rates(few),
        against=f"of {RATINGS['few']:,}",
        goal=at_least(RATIO_MIN),
        note=f"{latency(many)} after {latency(few)}; {cores(many)} after {cores(few)}",
    )


def _requests(made: Made) -> dict[str, list[bytes]]:
    drawn = random.Random(6)
    movies = [drawn.choice(made.movie_ids[:KNOWN]) for _ in range(REQUESTS)]
    users = [drawn.choice(made.user_ids[:KNOWN]) for _ in range(REQUESTS)]
    # Titles end in a number. A number that begins no other one finds one movie in both logs.
    alone = range(len(made.movie_ids) // 10 + 1, len(made.movie_ids))
    searches: list[dict[str, int | str]] = []
    for _ in range(REQUESTS):
        year = drawn.randint(1940, 1990)
        by_title: dict[str, int | str] = {"q": f"made {drawn.choice(alone)}"}
        searches.append(drawn.choice([by_title, {"year_min": year, "year_max": year + 9}]))
    paths = {
        "movie": [f"/v1/movies/{movie_id}" for movie_id in movies],
        "profile": [f"/v1/users/{user_id}" for user_id in users],
        "page of 20 ratings": [f"/v1/users/{user_id}/ratings" for user_id in users],
        "search page": ["/v1/movies?" + urlencode(wanted) for wanted in searches],
    }
    return {what: [request("GET", path) for path in of] for what, of in paths.items()}


@contextmanager
def _read_models(stack: Stack, name: str) -> Iterator[_ReadModels]:
    """Yield the read models of a synthetic log in its own schema."""
    home = stack.home
    schema = f"reads_{name}"
    migrate(home.owner_dsn(), schema=schema, roles=home.secrets().role_passwords)
    key_wrap = KeyWrap(stack.projector_settings.sealing_key.get_secret_value())
    options = f"-c search_path={schema}"
    with psycopg.connect(home.owner_dsn(), autocommit=True, options=options) as connection:
        made = append_ratings(connection, Codec(), key_wrap, ratings=RATINGS[name])
    settings = {"DATABASE_SCHEMA": schema, "REDIS_URL": home.redis_url(database=DATABASES[name])}
    with stack.other_read_models(settings) as port:
        yield _ReadModels(port, made)
