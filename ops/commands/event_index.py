"""The index in which operators find events: `starfold event-index`."""

from __future__ import annotations

import typer

from ops.acts.recorded import recorded
from ops.commands.read_models import wired
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption

event_index = typer.Typer(no_args_is_help=True)


@event_index.callback()
def _group() -> None:
    """Make `drop` a command of the group: typer would leave out a lone one."""


@event_index.command()
def drop(home: HomeOption = DEFAULT_HOME) -> None:
    """Empty the event index; a projector with STARFOLD_EVENT_INDEX=true builds it again."""
    place = Home(home)
    with wired(place) as wiring, recorded(place, "event-index drop"):
        wiring.event_index.drop()
    typer.echo("the event index is empty")
