"""What operators did: `starfold acts`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

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
    parameters, result = _pairs(one.parameters), _pairs(one.result or {})
    shown = (one.at, one.actor, one.via, one.act, parameters, one.state, result)
    return (*shown, one.request_id, one.act_id)


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_shown(value)}" for name, value in values.items())


def _shown(value: object) -> object:
    """Return a value, but only the number of objects in a list: the export has them whole."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return len(value)
    return value
