"""Loading a catalogue of movies through the command API; goes on where it was interrupted.

A catalogue is a file of JSON objects, one a line, with the fields of `POST /v1/movies`; `.xz` and
`.gz` are unpacked. Each needs an `external_id`, by which a movie that is there already is known
again.
"""

from __future__ import annotations

import gzip
import lzma
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import structlog

from ops.api_client import ApiClient
from ops.errors import OperatorError
from ops.home import Home, write_private
from ops.progress import Progress

DEFAULT_CATALOGUE = Path(__file__).with_name("catalogue.jsonl.xz")
DEFAULT = "default"
NONE = "none"
ROWS_A_BATCH = 500
LOADED = "catalogue.loaded"
LOADED_WITHIN_S = 300.0
POLL_S = 0.2

log = structlog.get_logger()

Movie = dict[str, Any]


def load(home: Home, client: ApiClient, choice: str) -> None:
    """Load the chosen catalogue, unless this home has it already."""
    marker = home.path / LOADED
    if choice == NONE:
        write_private(marker, NONE.encode())
        return
    file = DEFAULT_CATALOGUE if choice == DEFAULT else Path(choice)
    fingerprint = f"{file.name} {file.stat().st_size}".encode()
    if marker.exists() and marker.read_bytes() == fingerprint:
        return
    movies = read(file)
    doubles: list[str] = []
    with Progress("catalogue", len(movies)) as progress:
        for batch in _batches(movies):
            for movie, result in zip(
                batch, client.rows("/v1/movies/batch", "movies", batch), strict=True
            ):
                if result["status"] == "rejected":
                    doubles.append(
                        f"{movie['title']} ({movie['year']}): {result['problem']['detail']}"
                    )
            progress.advance(len(batch))
    for double in doubles:
        log.warning("movie_rejected", movie=double)
    write_private(marker, fingerprint)
    log.info("catalogue_loaded", movies=len(movies) - len(doubles), rejected=len(doubles))


def wait_loaded(home: Home) -> None:
    """Wait until the catalogue of a local Starfold is there: films are matched to all of it."""
    give_up_at = time.monotonic() + LOADED_WITHIN_S
    while not (home.path / LOADED).exists():
        if time.monotonic() > give_up_at:
            raise OperatorError(f"the catalogue was not loaded within {LOADED_WITHIN_S:.0f} s")
        time.sleep(POLL_S)


def read(file: Path) -> list[Movie]:
    """The movies of a file; raises `OperatorError` that names the first bad line."""
    movies: list[Movie] = []
    with _open(file) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                movie = msgspec.json.decode(line, type=Movie)
            except msgspec.DecodeError as error:
                raise OperatorError(f"{file}, line {number}: {error}") from error
            if not movie.get("external_id"):
                raise OperatorError(f"{file}, line {number}: external_id is missing")
            movies.append(movie)
    return movies


def require_readable(choice: str) -> None:
    """Raises `OperatorError` for a catalogue that is not there."""
    if choice not in (DEFAULT, NONE) and not os.access(choice, os.R_OK):
        raise OperatorError(f"the catalogue {choice} cannot be read")


def _open(file: Path) -> IO[bytes] | gzip.GzipFile:
    if file.suffix == ".xz":
        return lzma.open(file, "rb")
    if file.suffix == ".gz":
        return gzip.open(file, "rb")
    return file.open("rb")


def _batches(movies: Sequence[Movie]) -> Iterator[Sequence[Movie]]:
    for start in range(0, len(movies), ROWS_A_BATCH):
        yield movies[start : start + ROWS_A_BATCH]
