"""`starfold`: the operator's commands; each reports an error on one line and exits with 1."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import structlog
import typer

from ops.acts.recorded import recorded
from ops.acts.replays import WORKERS_MAX
from ops.backups.backup import backup
from ops.backups.restore import restore
from ops.commands.acts import acts
from ops.commands.erase import erase
from ops.commands.event_index import event_index
from ops.commands.keys import keys
from ops.commands.parked import parked
from ops.commands.ratings_import import imports
from ops.commands.replay import SWITCH_WAIT_S, watched_replays
from ops.commands.status import status
from ops.commands.users import users
from ops.commands.verify import verify
from ops.errors import OperatorError
from ops.exports.ratings import exports
from ops.failures import failure_text
from ops.home.bootstrap import access_token
from ops.home.folder import Home
from ops.imports import catalogue as catalogues
from ops.options import DEFAULT_HOME, HomeOption
from shared.log.connections import forget_libpq_variables
from shared.process.logs import configure_logging
from shared.process.settings import Settings, settings_from_environment

INTERRUPTED = 130

log = structlog.get_logger()

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(imports, name="import", help="Import ratings from elsewhere.")
app.add_typer(exports, name="export", help="Export ratings.")
app.add_typer(users, name="users", help="List users, change their roles, erase them.")
app.add_typer(keys, name="keys", help="Service keys; `rotate` is about Starfold's own two keys.")
app.add_typer(event_index, name="event-index", help="Empty the index of the log's events.")
app.add_typer(acts, name="acts", help="List and export what operators did.")
app.add_typer(parked, name="parked", help="List, retry or discard entities that are parked.")
app.command()(erase)
app.command()(verify)
app.command()(status)
app.command()(backup)
app.command()(restore)

ProjectionArgument = Annotated[str, typer.Argument(help="movies, profiles or changes.")]
GenerationArgument = Annotated[int, typer.Argument(min=1, help="The generation's number.")]


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    host: Annotated[
        str, typer.Option(help="Address on which APIs and pages listen.")
    ] = "127.0.0.1",
    command_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    query_port: Annotated[int, typer.Option(min=1, max=65535)] = 8081,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="0 for no pages.")] = 8082,
    console_port: Annotated[int, typer.Option(min=0, max=65535, help="0 for no console.")] = 8083,
    catalogue: Annotated[
        str, typer.Option(help="A catalogue file, default or none.")
    ] = catalogues.DEFAULT,
) -> None:
    """Start Starfold on this machine: servers, both APIs, projector, worker, pages."""
    try:
        # Imported late: only the extra `local` brings its dependencies.
        from ops.local.stack import Ports, Stack
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"`starfold up` needs {error.name}: pip install 'starfold[local]'. In a container,"
            " `docker compose up` starts the services instead"
        ) from error

    catalogues.require_readable(catalogue)
    ports = Ports(command_port, query_port, web_port, console_port)
    Stack(Home(home), host=host, ports=ports, catalogue=catalogue).run()


@app.command()
def token(home: HomeOption = DEFAULT_HOME) -> None:
    """Print an access token of the operator."""
    typer.echo(access_token(Home(home)))


@app.command()
def replay(
    projection: ProjectionArgument,
    home: HomeOption = DEFAULT_HOME,
    workers: Annotated[
        int, typer.Option(min=1, max=WORKERS_MAX, help="Number of parallel jobs.")
    ] = 1,
    switch: Annotated[bool, typer.Option(help="Make it live once it has caught up.")] = True,
    audit: Annotated[bool, typer.Option(help="Switch only if it passes an audit.")] = True,
    throttle: Annotated[
        float | None, typer.Option(min=1, help="Maximum events to read a second.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the replay.")] = False,
) -> None:
    """Rebuild a projection's read model from the log, then switch to it, without downtime.

    Ctrl-C cancels the replay and drops what was built. A detached replay is cancelled with purge.
    """
    place = Home(home)
    asked = {"workers": workers, "switch": switch, "audit": audit, "throttle": throttle}
    with watched_replays(place) as replays:
        with recorded(place, "replay", projection=projection, **asked) as record:
            generation = replays.acts.start(
                projection, shares=workers, switch=switch, audit=audit, events_per_s=throttle
            )
            record.result = {"generation": generation.number}
        if not detach:
            try:
                generation = replays.watch(generation)
            except KeyboardInterrupt:
                with recorded(place, "cancel", projection=projection, generation=generation.number):
                    generation = replays.acts.cancel(generation)
                typer.echo(f"generation {generation.number} of {projection} is {generation.state}")
                raise
    typer.echo(f"generation {generation.number} of {projection} is {generation.state}")


@app.command("replays")
def list_replays(home: HomeOption = DEFAULT_HOME) -> None:
    """List every projection's generations."""
    with watched_replays(Home(home)) as replays:
        replays.print()


@app.command()
def switch(
    projection: ProjectionArgument,
    generation: GenerationArgument,
    home: HomeOption = DEFAULT_HOME,
    audit: Annotated[bool, typer.Option(help="A new one has to pass an audit first.")] = True,
    wait: Annotated[float, typer.Option(min=0, help="Timeout in seconds.")] = SWITCH_WAIT_S,
) -> None:
    """Make a generation the live one, forward or back.

    After a timeout or Ctrl-C nothing is switched, not even later.
    """
    place = Home(home)
    asked = {"projection": projection, "generation": generation, "audit": audit}
    with watched_replays(place) as replays, recorded(place, "switch", **asked):
        replays.switch(projection, generation, audit=audit, wait_s=wait)
    typer.echo(f"generation {generation} of {projection} is active")


@app.command()
def purge(
    projection: ProjectionArgument, generation: GenerationArgument, home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a generation that is not live; a build of it gives up."""
    place = Home(home)
    asked = {"projection": projection, "generation": generation}
    with watched_replays(place) as replays, recorded(place, "purge", **asked) as record:
        dropped = replays.acts.purge(projection, generation)
        record.result = {"keys": dropped}
    typer.echo(f"generation {generation} of {projection} is purged: {dropped} keys")


def main() -> None:
    """Run the console script: report any error on one line of standard error, and exit with 1."""
    try:
        forget_libpq_variables()
        configure_logging(settings_from_environment(Settings), process="starfold")
        app()
        sys.stdout.flush()
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # An operator needs the cause, not a stack trace.
        log.debug("command_failed", exc_info=True)
        if isinstance(error, BrokenPipeError):
            # Otherwise the interpreter would flush to the closed pipe at exit, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"starfold: {failure_text(error)}")


if __name__ == "__main__":
    main()
