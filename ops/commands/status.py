"""The progress of each projection: `starfold status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, Never

import psycopg
import typer
from eventsourcing.persistence import PersistenceError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ops.commands.read_models import wired
from ops.home.folder import Home
from ops.home.set_aside import all_set_aside
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from projector.status import EVERY_S, Sampler
from projector.wiring import Wiring
from shared.read_model.status import BuildStatus, GenerationStatus, Status

COLUMNS = (
    "projection",
    "generation",
    "state",
    "definition",
    "audit",
    "checkpoint",
    "lag events",
    "lag s",
    "events/s",
    "parked",
    "stopped",
    "built",
)


def status(
    home: HomeOption = DEFAULT_HOME,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
) -> None:
    """Show checkpoints, lag and rates over a second, and parked or stopped projections."""
    place = Home(home)
    with wired(place) as wiring:
        sampler = Sampler(wiring)
        sampler.sample()
        if watch and sys.stdout.isatty():
            _watch(sampler)
        while True:
            time.sleep(EVERY_S)
            now = sampler.sample()
            typer.echo(_heading(now))
            typer.echo(_projectors(wiring))
            typer.echo(_event_index(wiring, now))
            if wiring.replica is not None:
                typer.echo(_replica(wiring, now))
            for line in (*_set_aside(place), *_incidents(wiring)):
                typer.echo(line)
            print_table(COLUMNS, map(_row, now.generations))
            sys.stdout.flush()
            if not watch:
                return


def _watch(sampler: Sampler) -> Never:
    with Live(console=Console()) as live:
        while True:
            time.sleep(EVERY_S)
            now = sampler.sample()
            table = Table(*COLUMNS, title=_heading(now))
            for one in now.generations:
                table.add_row(*("" if cell is None else str(cell) for cell in _row(one)))
            live.update(table)


def _heading(now: Status) -> str:
    return f"log at position {now.head}, {now.at:%Y-%m-%d %H:%M:%S} UTC"


def _projectors(wiring: Wiring) -> str:
    """Return a line about the projectors that share the partitions."""
    live = wiring.projectors.live()
    if not live:
        return "no projector is live"
    since = ", ".join(f"{one.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" for one in live)
    return f"{len(live)} projector{'s' if len(live) > 1 else ''}: since {since}"


def _event_index(wiring: Wiring, now: Status) -> str:
    """Return a line about the event index."""
    status = wiring.event_index.status(now.head)
    if status is None:
        return "there is no event index"
    return (
        f"event index at position {status.checkpoint}, {status.lag_events} events and"
        f" {status.lag_s:g} s behind"
    )


def _replica(wiring: Wiring, now: Status) -> str:
    """Return a line about the replica that replays and audits read."""
    try:
        head = wiring.reader.replica_head()
    except (PersistenceError, psycopg.Error) as error:
        return f"the replica does not answer: {type(error).__name__}"
    assert head is not None
    return f"replica at position {head}, {max(now.head - head, 0)} events behind"


def _set_aside(home: Home) -> Iterator[str]:
    """Yield a line for each damaged file of Valkey that the home keeps."""
    for one in all_set_aside(home):
        yield (
            f"Valkey's snapshot was damaged ({one.reason}) and was set aside at"
            f" {one.at:%Y-%m-%d %H:%M:%S} UTC in {one.path}; the read models were rebuilt from the"
            " log. Delete the folder when you no longer need it"
        )


def _incidents(wiring: Wiring) -> Iterator[str]:
    """Yield a line for each recent repair by the projector."""
    for one in wiring.incidents.recent():
        yield f"{one.at:%Y-%m-%d %H:%M:%S} UTC: {one.what}"


def _row(one: GenerationStatus) -> tuple[object, ...]:
    return (
        one.projection,
        one.generation,
        one.state,
        f"v{one.definition}",
        one.audit,
        one.checkpoint,
        one.lag_events,
        one.lag_s,
        one.events_per_s,
        one.parked,
        one.stopped,
        None if one.build is None else _built(one.build),
    )


def _built(build: BuildStatus) -> str:
    """Return how much of a build is done, how fast, and for how long it will take."""
    done = f"{build.events / max(build.events_wanted, 1):.0%}"
    if build.events_per_s is None:
        return done
    left = "" if build.left_s is None else f", {build.left_s:,.0f} s left"
    return f"{done} at {build.events_per_s:,.0f} events/s{left}"
