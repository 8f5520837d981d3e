"""`starfold import movielens` of a made-up set in the form and size of MovieLens 32M.

The import is killed twice and run again, as an operator would. Afterwards films and users drawn at
random are read over HTTP and compared with the files, which this row reads by itself. `--size` is
the share of 32 million ratings: a tenth of it takes minutes, all of it an hour or more.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import UUID

import psutil
import psycopg

from bench.bench import Bench, Loaded, cores, measure, rates
from bench.findings import Finding, Unit, at_most
from bench.load import Load, request
from bench.movielens import DataSet, Rating
from bench.rows import large
from bench.rows.get import CLIENTS, REQUESTS, SECONDS
from bench.seed import Seeded, client_of, created_users, rate_requests
from bench.stack import Stack
from starfold_client import NewUser, Starfold

# Compared with the files, half of them films and half of them users.
COMPARED = 2_000
# Ratings of these users are compared one by one.
READ_WHOLE = 100
# Shares of the ratings after which the import is killed.
KILLED_AT = (0.02, 0.05)
SAMPLED_EVERY_S = 1.0
POLL_S = 0.2
IMPORTED_WITHIN_S = 4 * 3_600.0
CAUGHT_UP_WITHIN_S = 3_600.0
PUT_CLIENTS = 64
DRAW = 7_000
KNOWN_USERS, KNOWN_FILMS = 900, 1_600
IMPORTER = "importer"
# A line of the import's summary.
COUNT = re.compile(r"ratings (\w+)\D+([\d,]+)")


class _Imported(NamedTuple):
    seconds: float
    rows: int
    peaks: dict[str, int]


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    made = DataSet(stack.folder / "movielens", size=bench.size)
    made.write()
    few = _served(bench, bench.seeded)
    imported = _import(stack, made)
    caught_up_s = _wait_caught_up(stack)
    users = _compare(stack, made)
    with client_of(stack) as client:
        films = [_film_id(client, film) for film in range(1, KNOWN_FILMS + 1)]
    some = list(users.values())[:KNOWN_USERS]
    many = _served(bench, Seeded(some, films, stack.access_tokens(some)))
    findings = [
        *_findings(stack, made, imported, caught_up_s),
        *(_beside(what, many, few) for what in few if what != "constant"),
    ]
    with stack.paused_projector():
        return [*findings, *large.replayed_and_verified(bench, "imports")]


def _import(stack: Stack, made: DataSet) -> _Imported:
    """Run the command until it ends by itself; the first runs are killed."""
    before = stack.wiring.reader.head()
    program = str(Path(sys.executable).with_name("starfold"))
    home = str(stack.home.path)
    command = [program, "import", "movielens", str(made.folder), "--home", home]
    give_up_at = time.monotonic() + IMPORTED_WITHIN_S
    with _sampled(stack) as peaks:
        for share in KILLED_AT:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                peaks.watch(process.pid)
                while stack.wiring.reader.head() - before < share * made.ratings:
                    if process.poll() is not None or time.monotonic() > give_up_at:
                        process.kill()
                        raise RuntimeError(f"the import ended with {process.returncode}")
                    time.sleep(POLL_S)
                process.send_signal(signal.SIGKILL)
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            peaks.watch(process.pid)
            try:
                printed, _ = process.communicate(timeout=IMPORTED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        seconds = time.perf_counter() - started
    counts = {what: int(count.replace(",", "")) for what, count in COUNT.findall(printed)}
    done = counts.get("imported", 0) + counts.get("unchanged", 0)
    if process.returncode or done != made.ratings or counts["read"] != made.ratings:
        raise RuntimeError(f"of {made.ratings:,} ratings {done:,} were imported:\n{printed}")
    return _Imported(seconds, done, peaks.peaks)


class _Peaks:
    """The largest memory that each program had at any time, in bytes."""

    def __init__(self, stack: Stack) -> None:
        self.peaks: dict[str, int] = {}
        self.is_over = threading.Event()
        self._stack = stack
        self._importer: psutil.Process | None = None

    def watch(self, pid: int) -> None:
        self._importer = psutil.Process(pid)

    def sample(self) -> None:
        while not self.is_over.wait(SAMPLED_EVERY_S):
            held = self._stack.resident_bytes()
            if self._importer is not None:
                with suppress(psutil.NoSuchProcess):
                    held[IMPORTER] = self._importer.memory_info().rss
            for name, size in held.items():
                self.peaks[name] = max(size, self.peaks.get(name, 0))


@contextmanager
def _sampled(stack: Stack) -> Iterator[_Peaks]:
    peaks = _Peaks(stack)
    thread = threading.Thread(target=peaks.sample, name="peaks")
    thread.start()
    try:
        yield peaks
    finally:
        peaks.is_over.set()
        thread.join()


def _wait_caught_up(stack: Stack) -> float:
    """Return for how long the read models were behind after the import."""
    started = time.perf_counter()
    stack.wait_caught_up(within_s=CAUGHT_UP_WITHIN_S)
    return time.perf_counter() - started


def _compare(stack: Stack, made: DataSet) -> dict[int, UUID]:
    """Raise `AssertionError` unless the drawn films and users are as in the files."""
    drawn = random.Random(COMPARED)
    films = drawn.sample(range(1, made.films + 1), min(COMPARED // 2, made.films))
    users = drawn.sample(range(1, made.users + 1), min(COMPARED // 2, made.users))
    of_film: defaultdict[int, list[Rating]] = defaultdict(list)
    of_user: defaultdict[int, list[Rating]] = defaultdict(list)
    for rating in made.read(users, films):
        of_film[rating.film].append(rating)
        of_user[rating.user].append(rating)
    with client_of(stack) as client:
        for film in films:
            movie = client.find_movie("external", f"movielens:{film}")
            assert movie.ratings.histogram == _histogram(of_film[film]), film
        # The import created them: a repeat finds them.
        rows = [NewUser(f"movielens:{user}", f"movielens user {user}") for user in users]
        user_ids = dict(zip(users, created_users(client, rows), strict=True))
        for user in users:
            profile = client.get_profile(user_ids[user])
            assert profile.ratings.histogram == _histogram(of_user[user]), user
        for user in users[:READ_WHOLE]:
            served = {
                (one.movie_id, int(2 * one.score), int(one.rated_at.timestamp()))
                for one in client.list_user_ratings.all(user_ids[user], limit=100)
            }
            assert len(served) == len(of_user[user]), user
            for rating in of_user[user][:READ_WHOLE]:
                rated = (_film_id(client, rating.film), rating.half_stars, rating.rated_at_s)
                assert rated in served, (user, rating)
    return user_ids


def _histogram(ratings: Sequence[Rating]) -> list[int]:
    counts = [0] * 10
    for rating in ratings:
        counts[rating.half_stars - 1] += 1
    return counts


def _film_id(client: Starfold, film: int) -> UUID:
    return client.find_movie("external", f"movielens:{film}").movie_id


def _served(bench: Bench, seeded: Seeded) -> dict[str, list[Loaded]]:
    """Measure reads and writes of these users and movies, beside a constant response."""
    stack = bench.stack
    drawn = random.Random(DRAW)
    movies = [drawn.choice(seeded.movie_ids) for _ in range(REQUESTS)]
    users = [drawn.choice(seeded.user_ids) for _ in range(REQUESTS)]
    asked = {
        "GET a movie": [f"/v1/movies/{movie_id}" for movie_id in movies],
        "GET a profile": [f"/v1/users/{user_id}" for user_id in users],
        "GET a page of 20 ratings": [f"/v1/users/{user_id}/ratings" for user_id in users],
    }
    noop = stack.start_peer("noop")
    constant = Load(
        port=noop, requests=[request("GET", "/constant")], clients=CLIENTS, seconds=SECONDS
    )
    measured: defaultdict[str, list[Loaded]] = defaultdict(list)
    for number in range(bench.rounds):
        measured["constant"].append(measure(stack, constant))
        for what, paths in asked.items():
            requests = [request("GET", path) for path in paths]
            load = Load(port=stack.query_port, requests=requests, clients=CLIENTS, seconds=SECONDS)
            measured[what].append(measure(stack, load))
        rated = rate_requests(seeded, "PUT", "/v1", count=4 * REQUESTS, draw=DRAW + number)
        load = Load(port=stack.command_port, requests=rated, clients=PUT_CLIENTS, seconds=SECONDS)
        with stack.paused_projector():
            measured["PUT a rating, projector paused"].append(measure(stack, load))
        stack.wait_caught_up()
    return measured


def _beside(what: str, many: dict[str, list[Loaded]], few: dict[str, list[Loaded]]) -> Finding:
    """Compare what was measured after the import with before, each as a share of a constant."""
    shares = zip(_shares(what, many), _shares(what, few), strict=True)
    return Finding(
        row="imports",
        what=f"{what}, after the import",
        unit="times",
        figures=[after / before for after, before in shares],
        goal=None,
        measured=f"{median(rates(many[what])):,.0f}/s",
        reference=f"before it {median(rates(few[what])):,.0f}/s",
        note=f"each as a share of a constant response; {cores(many[what])} after"
        f" {cores(few[what])}",
    )


def _shares(what: str, measured: dict[str, list[Loaded]]) -> list[float]:
    pairs = zip(rates(measured[what]), rates(measured["constant"]), strict=True)
    return [one / constant for one, constant in pairs]


def _findings(
    stack: Stack, made: DataSet, imported: _Imported, caught_up_s: float
) -> list[Finding]:
    with psycopg.connect(stack.home.owner_dsn(), autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_total_relation_size(%s::regclass)",
            [f"{stack.projector_settings.database_schema}.events"],
        ).fetchone()
    assert row is not None
    note = (
        f"{made.ratings:,} ratings, {made.users:,} users, {made.films:,} films; killed"
        f" {len(KILLED_AT)} times before; the read models were complete {caught_up_s:.0f} s later;"
        f" {COMPARED:,} films and users were as in the files"
    )
    began = time.monotonic()
    with stack.other_query_api({}):
        started_ms = 1_000 * (time.monotonic() - began)
    figures: list[tuple[str, Unit, float, str]] = [
        ("ratings a second", "events/s", imported.rows / imported.seconds, note),
        ("log, a rating", "bytes", row[0] / made.ratings, "with indexes and all other events"),
        ("start of a query API", "ms", started_ms, ""),
    ]
    findings = [
        Finding(row="imports", what=what, unit=unit, figures=[figure], goal=None, note=note)
        for what, unit, figure, note in figures
    ]
    return findings + [
        Finding(
            row="imports",
            what=f"{name}, peak memory",
            unit="bytes",
            figures=[peak],
            goal=at_most(large.MEMORY_MAX_BYTES) if name == IMPORTER else None,
        )
        for name, peak in sorted(imported.peaks.items())
    ]
