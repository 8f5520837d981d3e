"""Reads, 32 clients: against a constant response, and against CRUD with AVG and GROUP BY."""

from __future__ import annotations

import random
from urllib.parse import urlencode

from bench import catalogue
from bench.bench import Bench, Loaded, cores, latency, measure, rates
from bench.findings import Finding, Goal, at_least, ratios
from bench.load import Load, request

CLIENTS = 32
SECONDS = 2.5
REQUESTS = 2_000


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    noop, crud = stack.start_peer("noop"), stack.start_peer("crud")
    paths = _paths(bench)
    measured: dict[str, list[Loaded]] = {}
    for _ in range(bench.rounds):
        for name, port, asked in (
            ("constant", noop, ["/constant"]),
            ("movie", stack.query_port, [f"/v1/movies/{one}" for one in paths["movie"]]),
            ("movie by SQL", crud, [f"/movies/{one}" for one in paths["movie"]]),
            ("profile", stack.query_port, [f"/v1/users/{one}" for one in paths["profile"]]),
            ("profile by SQL", crud, [f"/users/{one}" for one in paths["profile"]]),
            ("ratings", stack.query_port, [f"/v1/users/{u}/ratings" for u in paths["profile"]]),
            ("search", stack.query_port, paths["search"]),
        ):
            requests = [request("GET", path) for path in asked]
            load = Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)
            measured.setdefault(name, []).append(measure(stack, load))
    return [
        _finding(measured, "GET a movie, 32 clients", "movie", "constant", at_least(0.75)),
        _finding(measured, "GET a profile", "profile", "constant", at_least(0.6)),
        _finding(measured, "GET a page of 20 ratings", "ratings", "constant", at_least(0.3)),
        _finding(measured, "GET a search page", "search", "constant", at_least(0.3)),
        _finding(measured, "GET a movie", "movie", "movie by SQL", None),
        _finding(measured, "GET a profile", "profile", "profile by SQL", None),
    ]


def _finding(
    measured: dict[str, list[Loaded]], what: str, name: str, other: str, goal: Goal | None
) -> Finding:
    note = f"{latency(measured[name])}; {cores(measured[name])}"
    return ratios(
        *("get", what, rates(measured[name]), rates(measured[other])),
        against=other,
        goal=goal,
        note=note if goal else cores(measured[other]),
    )


def _paths(bench: Bench) -> dict[str, list[str]]:
    """Whom and what is asked for, drawn by popularity; searches of several kinds."""
    drawn = random.Random(3)
    movies = [str(bench.seeded.movie_ids[film]) for film in catalogue.popular(drawn, REQUESTS)]
    users = [str(drawn.choice(bench.seeded.user_ids)) for _ in range(REQUESTS)]
    searches = []
    for _ in range(REQUESTS):
        year = drawn.randint(1940, 1990)
        wanted: dict[str, str | int] = drawn.choice(
            [
                {"q": drawn.choice(catalogue.SECOND_WORDS).lower()[:4]},
                {"q": f"{drawn.choice(catalogue.FIRST_WORDS)} {drawn.choice('bcd')}"},
                {"genre": drawn.choice(catalogue.GENRES), "year_min": year, "year_max": year + 9},
            ]
        )
        searches.append("/v1/movies?" + urlencode(wanted))
    return {"movie": movies, "profile": users, "search": searches}
