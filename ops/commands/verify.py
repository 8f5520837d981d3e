"""Compare the read models with the log, and repair them: `starfold verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from ops.acts.comparison import key_text, verified
from ops.acts.projections import definition_of, generation_of
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
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.read_model.keys import MOVIES, PROFILES

SHOWN_MAX = 100


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
    projections, entity = _subject(projection, movie, user)
    if generation is not None and len(projections) > 1:
        raise OperatorError("a generation belongs to a projection: name the projection too")
    place = Home(home)
    asked = {"projections": projections, "generation": generation, "repair": repair}
    named = None if entity is None else str(entity)
    with (
        recorded(place, "verify", **asked, entity=named, detach=detach) as record,
        wired(place) as wiring,
    ):
        chosen = [generation_of(wiring, name, generation) for name in projections]
        if detach:
            _leave_to_worker(place, chosen, whole=entity is None and not repair)
            return
        reports = [_verified(wiring, one, entity, repair=repair) for one in chosen]
        record.result = {"differences": sum(len(one.differences) for one in reports)}
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


def _subject(
    projection: str | None, movie: str | None, user: str | None
) -> tuple[list[str], UUID | None]:
    if movie is not None and user is not None:
        raise OperatorError("give a movie or a user, not both")
    if projection is not None:
        definition_of(projection)
    for named, value, own in ((movie, "movie", MOVIES), (user, "user", PROFILES)):
        if named is not None:
            if projection not in (None, own):
                raise OperatorError(f"{projection} cannot be compared for one {value}, {own} can")
            return [own], uuid_of(named, value)
    return [projection] if projection else list(DEFINITIONS), None


def _verified(
    wiring: Wiring, generation: Generation, entity: UUID | None, *, repair: bool
) -> Report:
    head = wiring.reader.head()
    with Progress(f"verify {generation.projection}", head) as progress:
        return verified(wiring, generation, entity, repair=repair, on_progress=progress.reach)


def _leave_to_worker(home: Home, generations: Sequence[Generation], *, whole: bool) -> None:
    if not whole:
        raise OperatorError("a worker can only compare whole generations, without repair")
    jobs = JobQueue(jobs_settings(home))
    jobs.require_worker()
    for one in generations:
        jobs.audit(one.projection, one.number)
        typer.echo(f"audit of {one.projection} generation {one.number} is queued")
