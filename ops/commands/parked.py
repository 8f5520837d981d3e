"""Movies and users whose events could not be applied: `starfold parked`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.read_models import wired
from ops.commands.verify import generation_of
from ops.commands.write_side import uuid_of
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from projector.audit.auditor import Audit
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.errors import StarfoldError
from shared.read_model.documents import Parked

parked = typer.Typer(no_args_is_help=True)

ProjectionArgument = Annotated[str, typer.Argument(help="movies, profiles or changes.")]
EntityArgument = Annotated[str, typer.Argument(help="Id of the movie or user.")]


@parked.command("list")
def list_parked(home: HomeOption = DEFAULT_HOME) -> None:
    """List the parked entities of every generation that is kept up to date."""
    rows = []
    with wired(Home(home)) as wiring:
        for generation in _followed(wiring):
            for one in _parked(wiring, generation):
                state = "discarded" if one.discarded else "damaged" if one.damaged else "parked"
                row = (generation.projection, generation.number, one.entity, one.position)
                rows.append((*row, one.topic, state, one.error))
    columns = ("projection", "generation", "entity", "position", "event", "state", "error")
    print_table(columns, rows)


@parked.command()
def show(
    projection: ProjectionArgument, entity: EntityArgument, home: HomeOption = DEFAULT_HOME
) -> None:
    """Show why an entity is parked."""
    with wired(Home(home)) as wiring:
        one = _parked_entity(wiring, generation_of(wiring, projection, None), entity)
    for name in one.__struct_fields__:
        typer.echo(f"{name}: {getattr(one, name)}")


@parked.command()
def retry(
    projection: ProjectionArgument, entity: EntityArgument, home: HomeOption = DEFAULT_HOME
) -> None:
    """Fold a parked entity's events again once the cause is fixed; exit code 1 if it is not.

    This happens in every generation of the projection, so that a switch back shows the same.
    """
    with wired(Home(home)) as wiring:
        wanted = _parked_entity(wiring, generation_of(wiring, projection, None), entity).entity
        alone = DEFINITIONS[projection].partitions > 1
        left = []
        for generation in _followed(wiring):
            own = {one.entity for one in _parked(wiring, generation)}
            if generation.projection == projection and wanted in own:
                audit = Audit(wiring.reader, wiring.store)
                try:
                    audit.discard(generation, wanted, discarded=False)
                    audit.verify(generation, entities=[wanted] if alone else None, repair=True)
                except StarfoldError as error:
                    raise OperatorError(str(error)) from None
                left += [one for one in _parked(wiring, generation) if one.entity == wanted]
    for one in left:
        typer.echo(f"{wanted} is still parked at position {one.position}: {one.error}")
    if left:
        raise typer.Exit(1)
    typer.echo(f"{wanted} is up to date")


@parked.command()
def discard(
    projection: ProjectionArgument, entity: EntityArgument, home: HomeOption = DEFAULT_HOME
) -> None:
    """Accept an entity as it was before the event, marked as stale; a replay tries again."""
    with wired(Home(home)) as wiring:
        wanted = _parked_entity(wiring, generation_of(wiring, projection, None), entity).entity
        for generation in _followed(wiring):
            own = {one.entity for one in _parked(wiring, generation)}
            if generation.projection == projection and wanted in own:
                Audit(wiring.reader, wiring.store).discard(generation, wanted)
    typer.echo(f"{wanted} stays as it was")


def _followed(wiring: Wiring) -> list[Generation]:
    return [
        one
        for one in wiring.generations.all()
        if one.state != "building"
        and one.projection in DEFINITIONS
        and one.definition_version == DEFINITIONS[one.projection].version
    ]


def _parked(wiring: Wiring, generation: Generation) -> list[Parked]:
    return [one for entities in wiring.store.parked(generation.all_keys) for one in entities]


def _parked_entity(wiring: Wiring, generation: Generation, entity: str) -> Parked:
    wanted = uuid_of(entity, "movie or user")
    for one in _parked(wiring, generation):
        if one.entity == wanted:
            return one
    raise OperatorError(f"{wanted} is not parked in {generation.projection}")
