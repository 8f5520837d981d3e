"""Trakt: the export (a ZIP of JSON files), backups of other tools, and the form of our own export.

The line of an entry is its place in the file's list, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ops.imports.reading.entry import Entry, Film, Passed, Rows, Unreadable
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import each, refused, skipped
from ops.imports.reading.values import half_stars_of_ten, imdb_id, moment, shown, tmdb_id

FILE_BYTES_MAX = 64 * 1024**2
ITEMS_MAX = 1_000_000
_NAME = re.compile(
    r"(ratings|watched)[-_](movies|shows|seasons|episodes|history)([-_][0-9]{1,6})?\.json"
)
_OTHER_TYPES = ("show", "season", "episode")

Object = dict[str, Any]


class _Exported(msgspec.Struct):
    """The form of `starfold`'s own export, which Trakt imports."""

    movies: list[msgspec.Raw]


def read(files: Files) -> Rows:
    return each(files, files.named(_NAME.fullmatch), _read)


def _read(file: SourceFile) -> Rows:
    for line, raw in enumerate(_items(file), start=1):
        try:
            yield _entry(file, line, _decoded(raw))
        except (ValueError, OverflowError) as error:
            yield refused(file, line, str(error))


def _items(file: SourceFile) -> Iterator[msgspec.Raw]:
    content = file.content(FILE_BYTES_MAX)
    try:
        decoded = msgspec.json.decode(
            content.removeprefix(b"\xef\xbb\xbf"), type=list[msgspec.Raw] | _Exported
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable(file.name, 1, f"no list of ratings in JSON: {error}") from error
    items = decoded.movies if isinstance(decoded, _Exported) else decoded
    if len(items) > ITEMS_MAX:
        raise Unreadable(file.name, 1, f"more than {ITEMS_MAX:,} items")
    return iter(items)


def _decoded(raw: msgspec.Raw) -> Object:
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the item is not valid: {error}") from error
    return _object(decoded, "the item")


def _entry(file: SourceFile, line: int, item: Object) -> Entry | Passed:
    kind = item.get("type")
    if kind in _OTHER_TYPES or ("movie" not in item and item.keys() & {*_OTHER_TYPES}):
        return skipped(file, line, f"the type is {kind or 'show'}")
    movie = _object(item["movie"], "movie") if "movie" in item else item
    ids = _object(movie.get("ids") or {}, "ids")
    trakt = _text(ids.get("trakt"))
    when = next(
        (item[key] for key in ("rated_at", "last_watched_at", "watched_at") if item.get(key)), None
    )
    released = movie.get("year")
    return Entry(
        source="trakt",
        file=file.name,
        line=line,
        film=Film(
            imdb_id=imdb_id(_text(ids.get("imdb"))),
            tmdb_id=tmdb_id(_text(ids.get("tmdb"))),
            external_id=f"trakt:{trakt}" if trakt else None,
            title=_text(movie.get("title")) or None,
            year=released if isinstance(released, int) and 0 < released < 10_000 else None,
        ),
        half_stars=half_stars_of_ten(_text(item.get("rating"))),
        rated_at=moment(_text(when)),
    )


def _object(value: object, name: str) -> Object:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{name} is not a JSON object")


def _text(value: object) -> str:
    """Return a text or number as text, empty for null."""
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    raise ValueError(f"{shown(repr(value))} is neither a text nor a number")
