"""Replays, switches and rollbacks while 32 clients read movies and profiles at full speed.

They run without writes, and then beside a steady flow of ratings. Every answer is checked
(`bench.witness`). A mark in one generation's copy of a movie or a user, which no other client
reads, shows which generation a reader sees.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from bench import catalogue
from bench.bench import Bench
from bench.connection import Connection
from bench.findings import Finding, at_most
from bench.seed import (
    batch_body,
    client_of,
    created_movies,
    created_users,
    fresh_ratings,
    send_batch,
)
from bench.stack import Stack
from bench.witness import Seen, Watch, Watching
from ops.commands.replay import watched_replays
from shared.read_model.checksum import checked, with_checksum
from shared.read_model.keys import MOVIES, PROFILES, PartitionKeys, partition_of
from starfold_client import NewMovie, NewUser

CLIENTS = 32
ENTITIES = 400
RATINGS = 60_000
RATINGS_A_BATCH = 20
PAUSE_S = 0.02
COMMAND_WITHIN_S = 120.0
SEEN_WITHIN_S = 10.0
ROLLBACK_MAX_MS = 1_000


class _Marked(NamedTuple):
    """An entity whose copy shows the generation that it was read from."""

    projection: str
    kind: str
    entity: UUID
    path: str
    field: bytes


class _Figures(NamedTuple):
    seen: list[list[Seen]]
    rollback_ms: dict[str, list[float]]
    command_s: list[float]
    written: list[int]


def run(bench: Bench) -> list[Finding]:
    bench.stack.wait_caught_up()
    figures = _Figures([], {MOVIES: [], PROFILES: []}, [], [])
    marked = _marked_entities(bench.stack)
    for number in range(bench.rounds):
        quiet, busy = Watching(), Watching()
        with quiet.run(_watch(bench)):
            _there_and_back(bench.stack, marked, figures)
        with busy.run(_watch(bench)), _written(bench, number, figures.written):
            _there_and_back(bench.stack, marked, figures)
        figures.seen.append([quiet.seen, busy.seen])
    bench.stack.wait_caught_up()
    _starfold(bench.stack, "verify")
    return _findings(figures)


def _there_and_back(stack: Stack, marked: Sequence[_Marked], figures: _Figures) -> None:
    """Replay each projection, roll it back, switch forward again, and purge the old one."""
    for one in marked:
        old = _active(stack, one.projection)
        _starfold(stack, "replay", one.projection)
        new = _active(stack, one.projection)
        assert new != old
        with watched_replays(stack.home) as replays:
            back = partial(replays.switch, one.projection, old)
            seconds = _seconds_until_seen(stack, one, old, back)
        figures.rollback_ms[one.projection].append(seconds * 1_000)
        command = partial(_starfold, stack, "switch", one.projection, str(new))
        figures.command_s.append(_seconds_until_seen(stack, one, new, command))
        _starfold(stack, "purge", one.projection, str(old))


def _seconds_until_seen(
    stack: Stack, one: _Marked, generation: int, switch: Callable[[], None]
) -> float:
    """Measure the time from the request until a reader sees the new generation."""
    key = PartitionKeys(one.projection, generation, partition_of(one.entity))
    name = key.document(one.kind, one.entity.hex)
    document = stack.wiring.store.read(name)
    assert document is not None
    mark = uuid4().hex.encode()
    marked = checked(document).replace(one.field, one.field + mark)
    stack.wiring.store.write(name, with_checksum(marked))
    with Connection(stack.query_port) as connection:
        assert mark not in connection.send("GET", one.path).body
        started = time.perf_counter()
        switch()
        while mark not in connection.send("GET", one.path).body:
            assert time.perf_counter() < started + SEEN_WITHIN_S, "no reader sees the switch"
        seconds = time.perf_counter() - started
    stack.wiring.store.write(name, document)
    return seconds


def _active(stack: Stack, projection: str) -> int:
    for one in stack.wiring.generations.all():
        if one.projection == projection and one.state == "active":
            return one.number
    raise AssertionError(f"{projection} has no active generation")


def _starfold(stack: Stack, *arguments: str) -> None:
    """Run an operator's command; show its output if it fails."""
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("starfold")),
            *arguments,
            "--home",
            str(stack.home.path),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_WITHIN_S,
    )
    assert finished.returncode == 0, (arguments, finished.stdout, finished.stderr)


@contextmanager
def _written(bench: Bench, number: int, written: list[int]) -> Iterator[None]:
    """Send ratings in small bulk requests, one after the other, during the block."""
    before = bench.stack.wiring.reader.head()
    over = threading.Event()

    def write() -> None:
        ratings = fresh_ratings(bench.seeded, random.Random(3_000 + number), RATINGS)
        with Connection(bench.stack.command_port, bench.stack.service_key) as connection:
            for start in range(0, RATINGS, RATINGS_A_BATCH):
                if over.wait(PAUSE_S):
                    return
                batch = ratings[start : start + RATINGS_A_BATCH]
                send_batch(connection, batch_body(bench.seeded, batch))

    writer = threading.Thread(target=write, name="writer")
    writer.start()
    try:
        yield
        assert writer.is_alive(), "the last switches had no writes beside them"
    finally:
        over.set()
        writer.join()
    written.append(bench.stack.wiring.reader.head() - before)


def _marked_entities(stack: Stack) -> list[_Marked]:
    """A movie and a user that only this row rates and reads."""
    with client_of(stack) as client:
        (user_id,) = created_users(client, [NewUser("switch", "Marked")])
        (movie_id,) = created_movies(client, [NewMovie(external_id="switch", title="M", year=1999)])
    stack.wait_caught_up()
    return [
        _Marked(MOVIES, "movie", movie_id, f"/v1/movies/{movie_id}", b'"title":"'),
        _Marked(PROFILES, "profile", user_id, f"/v1/users/{user_id}", b'"display_name":"'),
    ]


def _watch(bench: Bench) -> Watch:
    drawn = random.Random(5)
    return Watch(
        port=bench.stack.query_port,
        movies=[bench.seeded.movie_ids[n] for n in catalogue.popular(drawn, ENTITIES)],
        users=drawn.sample(list(bench.seeded.user_ids), ENTITIES),
        clients=CLIENTS,
    )


def _findings(figures: _Figures) -> list[Finding]:
    every = [seen for both in figures.seen for seen in both]
    note = (
        f"{sum(seen.answers for seen in every):,} answers,"
        f" {', '.join(f'{seen.per_second:,.0f}' for seen in every)} a second, without writes and"
        f" with them in turn; {', '.join(f'{n:,}' for n in figures.written)} events written"
    )
    shown = [line for seen in every for line in seen.shown]
    note = "; ".join([note, *shown])
    counts = [
        Finding(
            row="switch",
            what=f"switches during reads, {what}",
            unit="answers",
            figures=[sum(getattr(seen, field) for seen in both) for both in figures.seen],
            goal=at_most(0),
            note=note if field == "errors" else "",
        )
        for what, field in (
            ("errors", "errors"),
            ("mixed answers", "mixed"),
            ("steps back", "steps_back"),
        )
    ]
    commands = ", ".join(f"{seconds:.1f}" for seconds in figures.command_s)
    rollbacks = [
        Finding(
            row="switch",
            what=f"rollback of {projection} during reads",
            unit="ms",
            figures=found,
            goal=at_most(ROLLBACK_MAX_MS),
            measured="request to a reader's answer",
            note=f"whole commands, with Python's start: {commands} s"
            if projection == MOVIES
            else "",
        )
        for projection, found in figures.rollback_ms.items()
    ]
    return [*counts, *rollbacks]
