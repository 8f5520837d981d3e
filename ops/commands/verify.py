"""Compare the read models with the log, and repair them: `starfold verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ops.acts.comparison import (
    SHOWN_MAX,
    Comparison,
    comparison_of,
    key_text,
    result_of,
    verified,
)
from ops.acts.recorded import recorded
from ops.commands.read_models import wired
from ops.commands.write_side import uuid_of
from ops.errors import OperatorError
from ops.home.access import jobs_settings
from ops.home.folder import Home
from ops.jobs import JobQueue
from ops.options import DEFAULT_HOME, HomeOption
from ops.progress import Progress
from ops.tables import print_table
from projector.audit.auditor import Report
from projector.generations.table import Generation
from projector.wiring import Wiring


def verify(
    projection: Annotated[str | None, typer.Argument(help="Only this projection.")] = None,
    home: HomeOption = DEFAULT_HOME,
    movie: Annotated[str | None, typer.Option(help="Only this movie.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user.")] = None,
    generation: Annotated[
        int | None, typer.Option(min=1, help="Generation; default: the live one.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair each difference.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it to a worker.")] = False,
) -> None:
    """Compare read models with a fresh fold of the log; exit code 1 if anything differs."""
    asked = comparison_of(
        projection,
        movie=None if movie is None else uuid_of(movie, "movie"),
        user=None if user is None else uuid_of(user, "user"),
        number=generation,
        repair=repair,
    )
    place = Home(home)
    with (
        recorded(place, "verify", **asked.parameters, detach=detach) as record,
        wired(place) as wiring,
    ):
        chosen = asked.generations(wiring)
        if detach:
            _leave_to_worker(place, chosen, whole=asked.entity is None and not repair)
            return
        reports = [_verified(wiring, one, asked) for one in chosen]
        record.result = result_of(reports)
    print_reports(reports, repaired=repair)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


def print_reports(reports: Sequence[Report], *, repaired: bool) -> None:
    found = [(report, one) for report in reports for one in report.differences]
    if found:
        columns = ("projection", "key", "part", "stored", "from the log")
        shown = [
            (report.generation.projection, key_text(one), one.part, one.stored, one.wanted)
            for report, one in found[:SHOWN_MAX]
        ]
        print_table(columns, shown)
    if len(found) > SHOWN_MAX:
        typer.echo(f"and {len(found) - SHOWN_MAX} more")
    for report in reports:
        one = report.generation
        outcome = f"differences: {len(report.differences)}"
        if repaired and report.differences:
            outcome += ", repaired"
        if report.parked:
            outcome += f"; {len(report.parked)} parked, see `starfold parked list`"
        typer.echo(
            f"{one.projection} generation {one.number}, {report.keys} keys at position"
            f" {report.position}: {outcome}"
        )


def _verified(wiring: Wiring, generation: Generation, asked: Comparison) -> Report:
    head = wiring.reader.head()
    with Progress(f"verify {generation.projection}", head) as progress:
        return verified(
            wiring, generation, asked.entity, repair=asked.repair, on_progress=progress.reach
        )


def _leave_to_worker(home: Home, generations: Sequence[Generation], *, whole: bool) -> None:
    if not whole:
        raise OperatorError("a worker can only compare whole generations, without repair")
    jobs = JobQueue(jobs_settings(home))
    jobs.require_worker()
    for one in generations:
        jobs.audit(one.projection, one.number)
        typer.echo(f"audit of {one.projection} generation {one.number} is queued")
