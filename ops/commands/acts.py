"""What operators did: `starfold acts`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ops.acts.log import PAGE_MAX, Act
from ops.acts.recorded import act_log
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table

COLUMNS = ("at", "actor", "via", "act", "parameters", "state", "result", "request", "id")

acts = typer.Typer(no_args_is_help=True)


@acts.command("list")
def list_acts(
    home: HomeOption = DEFAULT_HOME,
    actor: Annotated[str | None, typer.Option(help="Only by this user or key.")] = None,
    act: Annotated[str | None, typer.Option(help="Only acts of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="Maximum number of acts.")] = 50,
) -> None:
    """List acts, newest first; an interrupted one was begun by a process that is gone."""
    page = act_log(Home(home)).page(actor=actor, act=act, limit=limit)
    print_table(COLUMNS, map(_row, page))


@acts.command()
def export(home: HomeOption = DEFAULT_HOME) -> None:
    """Print every act as a line of JSON, newest first."""
    for one in act_log(Home(home)).every():
        typer.echo(json_line(one))


def json_line(act: Act) -> bytes:
    return msgspec.json.encode(act._asdict())


def _row(one: Act) -> tuple[object, ...]:
    parameters = " ".join(f"{name}={value}" for name, value in one.parameters.items())
    result = " ".join(f"{name}={value}" for name, value in (one.result or {}).items())
    shown = (one.at, one.actor, one.via, one.act, parameters, one.state, result)
    return (*shown, one.request_id, one.act_id)
