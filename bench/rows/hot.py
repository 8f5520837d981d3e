"""One rating that all clients change: 32 of them, and four processes with some of it each.

No update may be lost, and no answer may be a 409 or a 5xx: either would end the run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from bench.bench import Bench, Loaded, cores, measure
from bench.findings import Finding, at_most
from bench.load import Load, request
from bench.seed import rate_requests
from bench.stack import Stack
from shared.ids import MovieId, Position, StreamId, UserId, rating_stream_id
from shared.log.codec import Codec
from shared.log.events import RatingSubmitted

CLIENTS = 32
PROCESSES = 4
HOT_ONE_IN = 32
SECONDS = 4.0
REQUESTS = 20_000
DRAW = 4_000
P99_MAX_MS = 100.0
PAGE = 5_000


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    only: list[Loaded] = []
    mixed: list[Loaded] = []
    with stack.more_command_apis(PROCESSES - 1) as others:
        for number in range(bench.rounds):
            hot = _hot_requests(bench, number)
            only.append(_measured(bench, hot, ()))
            cold = rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=DRAW + number)
            mixed.append(_measured(bench, _mixed(hot, cold), others))
    return [
        _finding("PUT one rating, 32 clients, p99", only),
        _finding(f"PUT, 4 processes, 1 in {HOT_ONE_IN} of one rating, p99", mixed),
    ]


def _finding(what: str, loaded: Sequence[Loaded]) -> Finding:
    rates = [one.answers.per_second for one in loaded]
    return Finding(
        row="hot",
        what=what,
        unit="ms",
        figures=[one.answers.p99_ms for one in loaded],
        goal=at_most(P99_MAX_MS),
        measured=f"{min(rates):,.0f}/s to {max(rates):,.0f}/s",
        note=cores(loaded),
    )


def _hot_requests(bench: Bench, number: int) -> list[bytes]:
    """Return requests with alternating scores, so that each is recorded."""
    path = f"/v1/movies/{bench.seeded.movie_ids[0]}/rating"
    bodies = ({"score": 3.5, "review": f"{number}, {nth}"} for nth in range(REQUESTS))
    token = bench.seeded.tokens[0]
    return [request("PUT", path, body=msgspec.json.encode(one), token=token) for one in bodies]


def _mixed(hot: Sequence[bytes], cold: Sequence[bytes]) -> list[bytes]:
    return [
        one
        for start, hot_one in zip(range(0, len(cold), HOT_ONE_IN - 1), hot, strict=False)
        for one in (hot_one, *cold[start : start + HOT_ONE_IN - 1])
    ]


def _measured(bench: Bench, requests: Sequence[bytes], others: Sequence[int]) -> Loaded:
    stack = bench.stack
    stack.wait_caught_up()
    head = stack.wiring.reader.head()
    loaded = measure(
        stack,
        Load(
            port=stack.command_port,
            more_ports=others,
            requests=requests,
            clients=CLIENTS,
            seconds=SECONDS,
        ),
    )
    stack.wait_caught_up()
    stream_id = rating_stream_id(
        UserId(bench.seeded.user_ids[0]), MovieId(bench.seeded.movie_ids[0])
    )
    _require_unbroken(_ratings(stack, stream_id, head))
    return loaded


def _ratings(stack: Stack, stream_id: StreamId, after: Position) -> list[RatingSubmitted]:
    codec = Codec()
    found: list[RatingSubmitted] = []
    for start in itertools.count(after + 1, PAGE):
        rows = stack.wiring.events.fetch(Position(start), PAGE)
        for row in rows:
            if row.stream_id == stream_id:
                event = codec.decode(row.topic, row.state, {}).event
                assert isinstance(event, RatingSubmitted)
                found.append(event)
        if len(rows) < PAGE:
            return found
    raise AssertionError("the log has an end")


def _require_unbroken(ratings: Sequence[RatingSubmitted]) -> None:
    """Raise `AssertionError` if a rating was not decided on the one before it."""
    assert ratings
    for before, after in itertools.pairwise(ratings):
        replaced = (after.previous_half_stars, after.previous_rated_at)
        assert replaced == (before.half_stars, before.rated_at), "an update was lost"
