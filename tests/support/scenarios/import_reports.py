"""The outcome of an import for each row of a file, over a small catalogue."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.imports.importer import READERS, latest, matched, own_rows
from ops.imports.matcher import Matcher, Movie
from ops.imports.reading.entry import DataSet, Entry, Source
from ops.imports.reading.files import open_files
from ops.imports.report import Report

CATALOGUE: list[dict[str, Any]] = [
    {"movie_id": "heat", "title": "Heat", "year": 1995, "imdb_id": "tt0113277", "tmdb_id": 949},
    {"movie_id": "amelie", "title": "Amélie", "year": 2001, "imdb_id": "tt0211915",
     "original_title": "Le Fabuleux Destin d'Amélie Poulain"},
    {"movie_id": "solaris72", "title": "Solaris", "year": 1972, "imdb_id": "tt0069293"},
    {"movie_id": "solaris02", "title": "Solaris", "year": 2002, "tmdb_id": 2103},
    {"movie_id": "mirror", "title": "Mirror", "year": 1975, "external_id": "trakt:77",
     "alternative_titles": ["Zerkalo"]},
]  # fmt: skip


def movies(catalogue: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Movie, list[str]]]:
    """Yield movies of a catalogue with their other titles, as a matcher takes them."""
    for row in catalogue:
        titles = [row.get("original_title"), *row.get("alternative_titles", ())]
        fields = {name: row[name] for name in Movie._fields if name in row}
        yield Movie(**fields), [title for title in titles if title]


# A row's file, line, status, movie, half stars, and the beginning of the detail.
Line = tuple[str, int, str, str | None, int | None, str]


def report_of(source: Source, path: Path) -> list[Line]:
    """Return what an import would do with every row of a person's own file."""
    lines: list[Line] = []

    class Listed(Report):
        def add(self, line: Any) -> None:
            lines.append(
                (line.file, line.line, line.status, line.movie_id, line.half_stars,
                 (line.detail or "")[:30])
            )  # fmt: skip

    report = Listed()
    with open_files(path) as files:
        reading = READERS[source](files)
        assert not isinstance(reading, DataSet)
        entries = own_rows(reading, report)
    for rating in latest(matched(entries, Matcher(movies(CATALOGUE)), report), report, "user"):
        report.entry(rating.entry, "would import", movie_id=rating.movie_id, detail=rating.review)
        for other in rating.also:
            report.entry(other, "would import", movie_id=rating.movie_id, detail="its review")
    return sorted(lines)


def entries_of(source: Source, path: Path) -> list[Entry]:
    with open_files(path) as files:
        reading = READERS[source](files)
        rows = reading.rows if isinstance(reading, DataSet) else reading
        return [row for row in rows if isinstance(row, Entry)]


def zipped(path: Path, files: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
