"""`starfold`: the operator's commands. Each says what is wrong in one line and exits with 1."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ops import catalogue as catalogues
from ops.bootstrap import access_token
from ops.errors import OperatorError
from ops.home import Home
from ops.stack import Stack
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import Settings

DEFAULT_HOME = Path(".starfold")
INTERRUPTED = 130

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
imports = typer.Typer(no_args_is_help=True)
app.add_typer(imports, name="import", help="Import ratings from elsewhere.")

HomeOption = Annotated[Path, typer.Option("--home", help="The folder of a local Starfold.")]


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    host: Annotated[str, typer.Option(help="Where the APIs listen.")] = "127.0.0.1",
    command_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    query_port: Annotated[int, typer.Option(min=1, max=65535)] = 8081,
    catalogue: Annotated[
        str, typer.Option(help="A catalogue's file, or none.")
    ] = catalogues.DEFAULT,
) -> None:
    """Start Starfold on this machine: servers, both APIs, projector and worker."""
    catalogues.require_readable(catalogue)
    Stack(
        Home(home), host=host, command_port=command_port, query_port=query_port, catalogue=catalogue
    ).run()


@app.command()
def token(home: HomeOption = DEFAULT_HOME) -> None:
    """Print an access token of the operator."""
    typer.echo(access_token(Home(home)))


def main() -> None:
    """The console script."""
    try:
        configure_logging(Settings(), process="starfold")
        app(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (OperatorError, Misconfigured) as error:
        sys.exit(f"starfold: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
