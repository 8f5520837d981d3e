"""`starfold import`: ratings from elsewhere, from a file, a folder or a ZIP archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ops.home.folder import Home
from ops.imports.importer import READERS, Order, run
from ops.imports.reading.entry import Source
from ops.options import DEFAULT_HOME, HomeOption

_HELP: dict[Source, str] = {
    "letterboxd": "Import a Letterboxd export, or a CSV file for Letterboxd's import.",
    "imdb": "Import a CSV of ratings, or of a list, from IMDb.",
    "trakt": "Import a Trakt export or backup.",
    "movielens": "Import a MovieLens data set of any size, or a person's own export.",
    "tmdb": "Import a CSV of ratings from TMDB.",
    "netflix": "Import the Netflix Prize data set.",
    "csv": "Import a spreadsheet with an id, or title and year, and a rating.",
    "starfold": "Import the current ratings of a member's JSON export from a Starfold.",
}

imports = typer.Typer(no_args_is_help=True)

SourceArgument = Annotated[Path, typer.Argument(help="A file, folder or ZIP archive.")]
UserOption = Annotated[
    str | None,
    typer.Option(help="Whose: the id or external id of an external user; by default yours."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Read and match; write nothing.")]
ReportOption = Annotated[
    Path | None, typer.Option(help="File for a line on every row: CSV if named so, else JSON.")
]


def _command(source: Source) -> Callable[..., None]:
    def import_ratings(
        file_or_dir: SourceArgument,
        user: UserOption = None,
        dry_run: DryRunOption = False,
        report: ReportOption = None,
        home: HomeOption = DEFAULT_HOME,
    ) -> None:
        run(Home(home), Order(source, file_or_dir, user, dry_run), report)

    return import_ratings


for source in READERS:
    imports.command(source, help=f"{_HELP[source]} May be interrupted and run again.")(
        _command(source)
    )
