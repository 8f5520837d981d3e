"""`PUT` a rating in a log of three million events, and in one of a hundred thousand beside it.

Both logs are on the same server, each with its own command API, and are measured in turn, so that a
slow moment of the machine or of its disk affects both. The projector is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import psycopg

from bench.bench import Bench, Loaded, cores, latency, measure, rates
from bench.findings import Finding, at_least, ratios
from bench.load import Load
from bench.seed import Seeded, rate_requests
from bench.stack import Stack
from bench.synthetic import append_ratings
from shared.log.codec import Codec
from shared.log.schema import migrate
from shared.log.sealing import KeyWrap

RATINGS = {"short": 100_000, "long": 3_000_000}
# As many callers in both: a token is verified once and then cached.
USERS, MOVIES = 600, 250
CLIENTS = 64
SECONDS = 4.0
REQUESTS = 30_000
DRAW = 5_000
# The cost of a request must not grow by more than a tenth.
RATIO_MIN = 0.9


class _Log(NamedTuple):
    """A command API with its own log, and the pairs of users and movies to rate."""

    port: int
    seeded: Seeded


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    measured: dict[str, list[Loaded]] = {name: [] for name in RATINGS}
    with ExitStack() as entered:
        logs = {name: entered.enter_context(_log(stack, name)) for name in RATINGS}
        _settle(stack)
        entered.enter_context(stack.paused_projector())
        for number in range(bench.rounds + 1):
            for name, log in logs.items():
                measured[name].append(measure(stack, _load(log, DRAW + number)))
    # The first round does not count: after a checkpoint PostgreSQL writes each page whole once,
    # which dominates these seconds and hardly matters until the next checkpoint.
    short, long = (measured[name][1:] for name in ("short", "long"))
    return [
        ratios(
            "grown",
            f"PUT in a log of {RATINGS['long'] / 1e6:.0f} million",
            rates(long),
            rates(short),
            against=f"of {RATINGS['short']:,}",
            goal=at_least(RATIO_MIN),
            note=f"{latency(long)} after {latency(short)}; {cores(long)} after {cores(short)}",
        )
    ]


def _load(log: _Log, draw: int) -> Load:
    requests = rate_requests(log.seeded, "PUT", "/v1", count=REQUESTS, draw=draw)
    return Load(port=log.port, requests=requests, clients=CLIENTS, seconds=SECONDS)


@contextmanager
def _log(stack: Stack, name: str) -> Iterator[_Log]:
    """Yield a synthetic log in its own schema."""
    home = stack.home
    migrate(home.owner_dsn(), schema=name, roles=home.secrets().role_passwords)
    key_wrap = KeyWrap(stack.projector_settings.sealing_key.get_secret_value())
    options = f"-c search_path={name}"
    with psycopg.connect(home.owner_dsn(), autocommit=True, options=options) as connection:
        made = append_ratings(connection, Codec(), key_wrap, ratings=RATINGS[name])
    users = made.user_ids[:USERS]
    seeded = Seeded(users, made.movie_ids[:MOVIES], stack.access_tokens(users))
    with stack.more_command_apis(1, DATABASE_SCHEMA=name) as (port,):
        yield _Log(port, seeded)


def _settle(stack: Stack) -> None:
    """Do now what the server would otherwise do during some round after this many writes."""
    with psycopg.connect(stack.home.owner_dsn(), autocommit=True) as owner:
        owner.execute("VACUUM (ANALYZE)")
        owner.execute("CHECKPOINT")
