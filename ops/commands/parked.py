"""Movies and users whose events could not be applied: `starfold parked`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.acts import parked as acts
from ops.acts.recorded import recorded
from ops.commands.read_models import wired
from ops.commands.write_side import uuid_of
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table

ENTITY = "movie or user"

parked = typer.Typer(no_args_is_help=True)

ProjectionArgument = Annotated[str, typer.Argument(help="movies, profiles or changes.")]
EntityArgument = Annotated[str, typer.Argument(help="Id of the movie or user.")]
ReasonOption = Annotated[str | None, typer.Option(help="For the audit log.")]


@parked.command("list")
def list_parked(home: HomeOption = DEFAULT_HOME) -> None:
    """List the parked entities of every generation that is kept up to date."""
    rows = []
    with wired(Home(home)) as wiring:
        for found in acts.all_parked(wiring):
            generation, one = found
            row = (generation.projection, generation.number, one.entity, one.position)
            rows.append((*row, one.topic, found.state, one.error))
    columns = ("projection", "generation", "entity", "position", "event", "state", "error")
    print_table(columns, rows)


@parked.command()
def show(
    projection: ProjectionArgument, entity: EntityArgument, home: HomeOption = DEFAULT_HOME
) -> None:
    """Show why an entity is parked."""
    with wired(Home(home)) as wiring:
        one = acts.parked_entity(wiring, projection, uuid_of(entity, ENTITY))
    for name in one.__struct_fields__:
        typer.echo(f"{name}: {getattr(one, name)}")


@parked.command()
def retry(
    projection: Annotated[str | None, typer.Argument(help="movies, profiles or changes.")] = None,
    entity: Annotated[str | None, typer.Argument(help="Id of the movie or user.")] = None,
    home: HomeOption = DEFAULT_HOME,
    every: Annotated[
        bool, typer.Option("--all", help="Every entity that is parked, not discarded.")
    ] = False,
) -> None:
    """Fold a parked entity's events again once the cause is fixed; exit code 1 if it is not.

    This happens in every generation of the projection, so that a switch back shows the same.
    """
    if every != (projection is None) or every != (entity is None):
        raise OperatorError("name a projection and an entity, or give --all")
    place = Home(home)
    if projection is None or entity is None:
        _retry_all(place)
        return
    wanted = uuid_of(entity, ENTITY)
    with (
        recorded(place, "retry", projection=projection, entity=str(wanted)) as record,
        wired(place) as wiring,
    ):
        left = acts.retry(wiring, projection, wanted)
        record.result = {"still_parked": len(left)}
    for one in left:
        typer.echo(f"{wanted} is still parked at position {one.position}: {one.error}")
    if left:
        raise typer.Exit(1)
    typer.echo(f"{wanted} is up to date")


def _retry_all(home: Home) -> None:
    with recorded(home, "retry", all=True) as record, wired(home) as wiring:
        record.result = found = acts.retry_all(wiring)
    typer.echo(f"{found['retried']} entities were retried, {found['still_parked']} stay parked")
    if found["still_parked"]:
        raise typer.Exit(1)


@parked.command()
def discard(
    projection: ProjectionArgument,
    entity: EntityArgument,
    home: HomeOption = DEFAULT_HOME,
    reason: ReasonOption = None,
) -> None:
    """Accept an entity as it was before the event, marked as stale; a replay tries again."""
    place, wanted = Home(home), uuid_of(entity, ENTITY)
    with (
        recorded(place, "discard", projection=projection, entity=str(wanted), reason=reason),
        wired(place) as wiring,
    ):
        acts.discard(wiring, projection, wanted)
    typer.echo(f"{wanted} stays as it was")
