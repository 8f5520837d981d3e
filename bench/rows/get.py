"""Reads, 32 clients: against a constant response, and a long list against a short one."""

from __future__ import annotations

import random
from urllib.parse import urlencode
from uuid import UUID

import httpx
import msgspec

from bench import catalogue
from bench.bench import Bench, Loaded, cores, latency, measure, rates
from bench.connection import Connection
from bench.findings import Finding, Goal, at_least, ratios
from bench.load import HOST, Load, request
from bench.seed import RATINGS_A_BATCH, client_of, created_movies, created_users, send_batch
from starfold_client import NewMovie, NewUser

CLIENTS = 32
SECONDS = 2.5
REQUESTS = 2_000
KNOWN = 500
LONG_LIST = 2_000
PAGE = 20
ORIGIN = "https://films.example"
RATED_AT = "2006-01-01T00:00:00Z"


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    noop = stack.start_peer("noop")
    loads = {"constant": _load(noop, ["/constant"])}
    loads |= {name: _load(stack.query_port, asked) for name, asked in paths(bench).items()}
    loads["304"] = _known(bench)
    loads |= {
        name: _load(stack.query_port, [f"/v1/users/{user_id}/ratings"])
        for name, user_id in _raters(bench).items()
    }
    measured: dict[str, list[Loaded]] = {}
    with (
        stack.other_query_api({"CORS_ORIGINS": ORIGIN}) as cross_origin,
        stack.other_query_api({"ACCESS_LOG": "true"}) as logged,
    ):
        loads |= _with_more(bench, cross_origin, logged)
        for _ in range(bench.rounds):
            for name, load in loads.items():
                measured.setdefault(name, []).append(measure(stack, load))
    return [
        _finding(measured, "GET a movie, 32 clients", "movie", "constant", at_least(0.75)),
        _finding(measured, "GET a movie that the client has", "304", "constant", at_least(0.75)),
        _finding(measured, "GET a movie, another origin", "origin", "constant", at_least(0.75)),
        _finding(measured, "GET a movie, a credential", "credential", "constant", at_least(0.75)),
        _finding(measured, "GET a movie, the access log on", "log", "constant", at_least(0.75)),
        _finding(measured, "GET a profile", "profile", "constant", at_least(0.6)),
        _finding(measured, "GET a page of 20 ratings", "ratings", "constant", at_least(0.3)),
        _finding(measured, "GET a search page", "search", "constant", at_least(0.3)),
        _finding(measured, f"GET 20 of {LONG_LIST:,} ratings", "long", "short", at_least(0.8)),
    ]


def _load(port: int, asked: list[str]) -> Load:
    requests = [request("GET", path) for path in asked]
    return Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)


def _with_more(bench: Bench, cross_origin: int, logged: int) -> dict[str, Load]:
    """A movie, next to the same request with extra cost."""
    asked = paths(bench)["movie"]
    token = bench.seeded.tokens[0]
    loads = {
        "origin": (cross_origin, [request("GET", path, origin=ORIGIN) for path in asked]),
        "credential": (
            bench.stack.query_port,
            [request("GET", path, token=token) for path in asked],
        ),
        "log": (logged, [request("GET", path) for path in asked]),
    }
    return {
        name: Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)
        for name, (port, requests) in loads.items()
    }


def _known(bench: Bench) -> Load:
    """Return requests of movies with their current tags."""
    port = bench.stack.query_port
    requests = []
    with httpx.Client(base_url=f"http://{HOST}:{port}") as client:
        for path in paths(bench)["movie"][:KNOWN]:
            etag = client.get(path).headers["etag"]
            requests.append(request("GET", path, if_none_match=etag))
    return Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)


def _raters(bench: Bench) -> dict[str, UUID]:
    """Add two users, one with a long list of ratings and one with a short one."""
    stack = bench.stack
    with client_of(stack) as client:
        users = [NewUser(f"get:{name}", name) for name in ("long", "short")]
        long, short = created_users(client, users)
        films = [
            NewMovie(external_id=f"get:{n}", title=f"One more {n}", year=1999)
            for n in range(LONG_LIST - len(bench.seeded.movie_ids))
        ]
        movies = [*bench.seeded.movie_ids, *created_movies(client, films)]
    with Connection(stack.command_port, stack.service_key) as connection:
        for user_id, count in ((long, LONG_LIST), (short, PAGE)):
            for start in range(0, count, RATINGS_A_BATCH):
                rows = [
                    {"user_id": user_id, "movie_id": movie_id, "score": 4, "rated_at": RATED_AT}
                    for movie_id in movies[start : min(start + RATINGS_A_BATCH, count)]
                ]
                send_batch(connection, msgspec.json.encode({"ratings": rows}))
    stack.wait_caught_up()
    return {"long": long, "short": short}


def _finding(
    measured: dict[str, list[Loaded]], what: str, name: str, other: str, goal: Goal
) -> Finding:
    note = f"{latency(measured[name])}; {cores(measured[name])}"
    return ratios(
        "get",
        what,
        rates(measured[name]),
        rates(measured[other]),
        against=other,
        goal=goal,
        note=note,
    )


def paths(bench: Bench) -> dict[str, list[str]]:
    """Return requests drawn by popularity, with several kinds of searches."""
    drawn = random.Random(3)
    movies = [bench.seeded.movie_ids[film] for film in catalogue.popular(drawn, REQUESTS)]
    users = [drawn.choice(bench.seeded.user_ids) for _ in range(REQUESTS)]
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
    return {
        "movie": [f"/v1/movies/{movie_id}" for movie_id in movies],
        "profile": [f"/v1/users/{user_id}" for user_id in users],
        "ratings": [f"/v1/users/{user_id}/ratings" for user_id in users],
        "search": searches,
    }
