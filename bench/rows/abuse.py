"""Ordinary clients beside one abusive client: their latency, and the processes' memory."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

import msgspec

from bench.abuse import Abuse, Suffered, beside
from bench.bench import SHARE_SHOWN_MIN, Bench
from bench.findings import Finding, at_most
from bench.load import HOST, Answers, Load, request
from bench.load import run as run_load
from bench.rows.get import paths
from bench.seed import rate_requests
from bench.stack import Stack

CLIENTS = 32
# Together far below what two cores can do: an ordinary client is not a flood.
RATES_A_SECOND = 150.0
READS_A_SECOND = 300.0
SECONDS = 6.0
# The abusive client starts before the measurement of the ordinary ones and ends after it.
ABUSED_S = SECONDS + 3.0
REQUESTS = 5_000
DRAW = 8_000
P99_TIMES_MAX = 2.0
RESIDENT_MAX = 600e6
LOOK_EVERY_S = 0.2
MIB = 2**20
BULK = "/v1/ratings/batch"


class Measured(NamedTuple):
    """Answers of the ordinary clients, and the share of a core that each program used."""

    rated: Answers
    read: Answers
    shares: Mapping[str, float]


def run(bench: Bench) -> list[Finding]:
    """Measure each abuse next to the same load without it, so that both see the same machine."""
    findings: list[Finding] = []
    for nth, abuse in enumerate(_abuses(bench)):
        calm: list[Measured] = []
        abused: list[Measured] = []
        peaks: list[int] = []
        for number in range(bench.rounds):
            draw = DRAW + 2 * (nth * bench.rounds + number)
            calm.append(_ordinary(bench, draw))
            with _watched(bench.stack) as peak, beside(abuse) as suffered:
                abused.append(_ordinary(bench, draw + 1))
            peaks.append(max(peak.values()))
        findings += [
            _slower(
                f"PUT a rating beside {abuse.name}, p99",
                [one.rated.p99_ms for one in calm],
                [one.rated.p99_ms for one in abused],
                note=f"{_told(suffered)}; {_cores(calm, abused)}",
            ),
            _slower(
                f"GET a movie beside {abuse.name}, p99",
                [one.read.p99_ms for one in calm],
                [one.read.p99_ms for one in abused],
            ),
            Finding(
                row="abuse",
                what=f"largest process beside {abuse.name}",
                unit="bytes",
                figures=peaks,
                goal=at_most(RESIDENT_MAX),
                measured=max(peak, key=lambda program: peak[program]),
            ),
        ]
    return findings


def _slower(what: str, before: Sequence[float], during: Sequence[float], note: str = "") -> Finding:
    shown = [", ".join(f"{ms:.1f}" for ms in figures) for figures in (during, before)]
    return Finding(
        row="abuse",
        what=what,
        unit="times",
        figures=[after / calm for after, calm in zip(during, before, strict=True)],
        goal=at_most(P99_TIMES_MAX),
        measured=f"{shown[0]} ms",
        reference=f"undisturbed {shown[1]} ms",
        note=note,
    )


def _cores(calm: Sequence[Measured], abused: Sequence[Measured]) -> str:
    """Return the share of a core in the last round: steadier than a latency on a busy machine."""
    before, during = calm[-1].shares, abused[-1].shares
    grown = [
        f"{program} {before.get(program, 0.0):.0%} to {share:.0%}"
        for program, share in sorted(during.items())
        if share - before.get(program, 0.0) >= SHARE_SHOWN_MIN
    ]
    return "of a core " + (", ".join(grown) or "no more than undisturbed")


def _ordinary(bench: Bench, draw: int) -> Measured:
    """Half of the clients rate, half of them read; any refusal ends the run."""
    stack = bench.stack
    rating = Load(
        port=stack.command_port,
        requests=rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=draw),
        clients=CLIENTS // 2,
        seconds=SECONDS,
        per_second=RATES_A_SECOND,
    )
    reading = Load(
        port=stack.query_port,
        requests=[request("GET", path) for path in paths(bench)["movie"]],
        clients=CLIENTS // 2,
        seconds=SECONDS,
        per_second=READS_A_SECOND,
    )
    used = stack.core_seconds()
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        rated, read = pool.map(run_load, (rating, reading))
    took_s = time.perf_counter() - started
    shares = {
        program: (seconds - used.get(program, 0.0)) / took_s
        for program, seconds in stack.core_seconds().items()
    }
    return Measured(rated, read, shares)


@contextmanager
def _watched(stack: Stack) -> Iterator[dict[str, int]]:
    """Yield the largest memory seen of a process of each program."""
    peak: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            for program, held in stack.resident_bytes().items():
                peak[program] = max(peak.get(program, 0), held)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()


def _told(suffered: Sequence[Suffered]) -> str:
    statuses = ", ".join(f"{n} times {one}" for one, n in sorted(suffered[0].statuses.items()))
    return f"it was answered {statuses or 'nothing'}, closed {suffered[0].closed} times"


def _abuses(bench: Bench) -> list[Abuse]:
    command, query = bench.stack.command_port, bench.stack.query_port
    member, service = bench.seeded.tokens[-1], bench.stack.service_key
    slow = request("POST", BULK, body=b"{" + b" " * 9_999, token=member)
    listing = request("GET", "/v1/movies?limit=100")
    huge_head = request("GET", "/v1/movies").replace(
        HOST.encode(), HOST.encode() + b"\r\nx-junk: " + b"x" * 16 * MIB, 1
    )
    search = request("GET", f"/v1/movies?q={'t%20' * 100}&genre=Nothing&year_min=1990")
    return [
        _abuse("rows of junk names", command, [_junk_row(member)], 2),
        _abuse("bulk requests of long reviews", command, [_long_reviews(bench, service)], 2),
        _abuse("sign-ups of junk", command, [_junk_sign_up()], 8),
        _abuse("75 sign-ups at once", command, [_sign_up(n) for n in range(5_000)], 75),
        _abuse("wrong keys", command, [_wrong_key() for _ in range(5_000)], 16),
        _abuse("slow bulk requests", command, [slow], 16, manner="slow"),
        _abuse("readers that take nothing", query, [listing * 20], 16, manner="deaf"),
        _abuse("heads of 16 MiB to the command API", command, [huge_head], 4),
        _abuse("heads of 16 MiB to the query API", query, [huge_head], 4),
        _abuse("searches for nothing", query, [search], 4),
    ]


def _abuse(
    name: str, port: int, requests: Sequence[bytes], connections: int, *, manner: str = "asks"
) -> Abuse:
    settings = {
        "name": name,
        "port": port,
        "requests": requests,
        "connections": connections,
        "manner": manner,
        "seconds": ABUSED_S,
    }
    return msgspec.convert(settings, Abuse)


def _junk_row(token: str) -> bytes:
    names = b",".join(b'"n%d":1' % n for n in range(1_200_000))
    return request("POST", BULK, body=b'{"ratings":[{%s}]}' % names, token=token)


def _junk_sign_up() -> bytes:
    names = b",".join(b'"n%d":1' % n for n in range(24_000))
    return request("POST", "/v1/users", body=b"{%s}" % names)


def _sign_up(nth: int) -> bytes:
    email = f"abuse{nth}.{uuid4().hex}@example.org"
    body = {"email": email, "password": "correct horse battery", "display_name": "Ann"}
    return request("POST", "/v1/users", body=json.dumps(body).encode())


def _wrong_key() -> bytes:
    return request("POST", "/v1/movies", body=b"{}", token=f"sfk_{uuid4().hex}_wrong")


def _long_reviews(bench: Bench, service_key: str) -> bytes:
    """The largest write that a request may make: 400 reviews of 40 KB."""
    drawn = random.Random(1)
    rows = [
        {
            "user_id": str(user_id),
            "movie_id": str(drawn.choice(bench.seeded.movie_ids)),
            "score": 4,
            "review": "".join(drawn.choices("\U0001f600\U0001f601\U0001f602", k=10_000)),
        }
        for user_id in drawn.sample(list(bench.seeded.user_ids), 400)
    ]
    body = json.dumps({"ratings": rows}, ensure_ascii=False).encode()
    return request("POST", BULK, body=body, token=service_key)
