"""Load a catalogue of movies through the command API; an interrupted load resumes.

A catalogue is a file of JSON objects, one a line, with the fields of `POST /v1/movies`; `.xz` and
`.gz` files are decompressed. Each object needs an `external_id`, which identifies a movie that
exists already.
"""

from __future__ import annotations

import codecs
import gzip
import lzma
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import psycopg
import structlog
from psycopg.rows import TupleRow

from ops.errors import OperatorError
from ops.home.bootstrap import DATABASE_SCHEMA
from ops.home.folder import Home, write_private
from ops.progress import Progress
from shared.log.connections import connect
from starfold_client import NewMovie, Starfold

DEFAULT_CATALOGUE = Path(__file__).with_name("catalogue.jsonl.xz")
DEFAULT = "default"
NONE = "none"
ROWS_A_REQUEST = 500
REJECTED_SHOWN_MAX = 100
REASON_CHARS_MAX = 300
LOADED = "catalogue.loaded"
LOADED_WITHIN_S = 300.0
POLL_S = 0.2

_LAST_EVENT = (
    "SELECT notification_id, originator_id, originator_version FROM events"
    " ORDER BY notification_id DESC LIMIT 1"
)
_EVENT = "SELECT originator_id, originator_version FROM events WHERE notification_id = %s"

log = structlog.get_logger()


class LoadedCatalogue(msgspec.Struct, frozen=True):
    """The record of a loaded catalogue: its name and size, and the log's last event at that time.

    Another log has another event at that position, or none.
    """

    catalogue: str
    position: int
    stream_id: str
    version: int


def load(
    home: Home, owner_dsn: str, client: Starfold, choice: str, schema: str = DATABASE_SCHEMA
) -> None:
    """Load the chosen catalogue, unless this home's log has it already."""
    marker = home.path / LOADED
    if choice == NONE:
        write_private(marker, NONE.encode())
        return
    file = DEFAULT_CATALOGUE if choice == DEFAULT else Path(choice)
    name = f"{file.name} {file.stat().st_size}"
    with connect(owner_dsn, schema=schema, autocommit=True) as log_connection:
        if _is_loaded(marker, name, log_connection):
            return
        marker.unlink(missing_ok=True)
        _send(read(file), client)
        last = log_connection.execute(_LAST_EVENT).fetchone()
    if last is not None:
        position, stream_id, version = last
        loaded = LoadedCatalogue(name, position, str(stream_id), version)
        write_private(marker, msgspec.json.encode(loaded))


def _is_loaded(marker: Path, name: str, log_connection: psycopg.Connection[TupleRow]) -> bool:
    try:
        loaded = msgspec.json.decode(marker.read_bytes(), type=LoadedCatalogue)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    found = log_connection.execute(_EVENT, [loaded.position]).fetchone()
    there = None if found is None else (str(found[0]), found[1])
    return loaded.catalogue == name and there == (loaded.stream_id, loaded.version)


def _send(movies: Sequence[NewMovie], client: Starfold) -> None:
    rejected: list[str] = []
    with Progress("catalogue", len(movies)) as progress:
        for movie, result in client.create_movies(movies, rows_a_request=ROWS_A_REQUEST):
            if result.problem is not None:
                named = f"{movie.title} ({movie.year}): {result.problem.detail}"
                rejected.append(named[:REASON_CHARS_MAX])
            progress.advance(1)
    for reason in rejected[:REJECTED_SHOWN_MAX]:
        log.warning("movie_rejected", movie=reason)
    log.info("catalogue_loaded", movies=len(movies) - len(rejected), rejected=len(rejected))


def wait_loaded(home: Home) -> None:
    """Wait until a local Starfold has its whole catalogue, which films are matched with."""
    give_up_at = time.monotonic() + LOADED_WITHIN_S
    if not (home.path / LOADED).exists():
        log.info("waiting", to="have the catalogue loaded", at_most_s=LOADED_WITHIN_S)
    while not (home.path / LOADED).exists():
        if time.monotonic() > give_up_at:
            raise OperatorError(f"the catalogue was not loaded within {LOADED_WITHIN_S:.0f} s")
        time.sleep(POLL_S)


def read(file: Path) -> list[NewMovie]:
    """Return the movies of a file; raise `OperatorError` naming the first bad line.

    Blank lines and a byte-order mark are skipped.
    """
    movies: list[NewMovie] = []
    try:
        with _open(file) as lines:
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    movies.append(_movie(text, f"{file}, line {number}"))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise OperatorError(f"the catalogue {file} cannot be read: {reason}") from error
    return movies


def _movie(line: bytes, place: str) -> NewMovie:
    """Decode a line, and check its fields; the command API checks their values."""
    try:
        decoded = msgspec.json.decode(line, type=dict[str, Any])
        for field in ("external_id", "title", "year"):
            if not decoded.get(field):
                raise OperatorError(f"{place}: {field} is missing")
        if unknown := decoded.keys() - {*NewMovie.__struct_fields__}:
            raise OperatorError(f"{place}: unknown fields: {', '.join(sorted(unknown))}")
        return msgspec.convert(decoded, type=NewMovie)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OperatorError(f"{place}: {error}") from error


def require_readable(choice: str) -> None:
    """Raise `OperatorError` for a catalogue that is missing or has a bad line."""
    if choice not in (DEFAULT, NONE):
        read(Path(choice))


def _open(file: Path) -> IO[bytes] | gzip.GzipFile:
    if file.suffix == ".xz":
        return lzma.open(file, "rb")
    if file.suffix == ".gz":
        return gzip.open(file, "rb")
    return file.open("rb")
