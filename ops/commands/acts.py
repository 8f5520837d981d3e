"""What operators did: `starfold acts`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from ops.acts.log import PAGE_MAX, Act, ActSelection
from ops.acts.recorded import act_log
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table

COLUMNS = ("at", "actor", "via", "act", "parameters", "state", "result", "request", "id")

acts = typer.Typer(no_args_is_help=True)


MOMENT = ["%Y-%m-%dT%H:%M:%S%z"]

ActorOption = Annotated[str | None, typer.Option(help="Only by this user or key.")]
ActOption = Annotated[str | None, typer.Option(help="Only acts of this name.")]
SinceOption = Annotated[datetime | None, typer.Option(formats=MOMENT, help="The earliest time.")]
UntilOption = Annotated[
    datetime | None, typer.Option(formats=MOMENT, help="The time before which.")
]


@acts.command("list")
def list_acts(
    home: HomeOption = DEFAULT_HOME,
    actor: ActorOption = None,
    act: ActOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="Maximum number of acts.")] = 50,
) -> None:
    """List acts, newest first; an interrupted one was begun by a process that is gone."""
    selection = ActSelection(actor, act, since, until)
    print_table(COLUMNS, map(_row, act_log(Home(home)).page(selection, limit=limit)))


@acts.command()
def export(
    home: HomeOption = DEFAULT_HOME,
    actor: ActorOption = None,
    act: ActOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
) -> None:
    """Print every act as a line of JSON, newest first."""
    for page in act_log(Home(home)).pages(ActSelection(actor, act, since, until)):
        for one in page:
            typer.echo(one.json_line, nl=False)


def _row(one: Act) -> tuple[object, ...]:
    parameters = " ".join(f"{name}={value}" for name, value in one.parameters.items())
    result = " ".join(f"{name}={value}" for name, value in (one.result or {}).items())
    shown = (one.at, one.actor, one.via, one.act, parameters, one.state, result)
    return (*shown, one.request_id, one.act_id)
