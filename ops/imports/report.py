"""The report of an import: what became of every row, in a file, and a summary."""

from __future__ import annotations

import csv
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from ops.imports.reading.entry import Entry, Passed

EXAMPLES_SHOWN = 3
REASONS_MAX = 100
Status = Literal[
    "imported",
    "unchanged",
    "superseded",
    "unmatched",
    "not rated",
    "skipped",
    "refused",
    "would import",
]
# In the order of the summary; `would import` is for a dry run alone.
STATUSES: tuple[Status, ...] = (
    "imported", "unchanged", "superseded", "unmatched", "not rated", "skipped", "refused",
)  # fmt: skip


class Line(NamedTuple):
    """What became of a row; `detail` is the reason, or the candidates of an unmatched film."""

    file: str
    line: int
    status: Status
    title: str | None = None
    year: int | None = None
    user: str | None = None
    movie_id: str | None = None
    half_stars: int | None = None
    detail: str | None = None


class Report:
    """Counts what became of the rows and writes a line for each; thread-safe.

    `movies` and `users` count what was created for a data set.
    """

    def __init__(self, stream: IO[str] | None = None, *, as_csv: bool = False) -> None:
        self.rows: Counter[Status] = Counter()
        self.movies: Counter[str] = Counter()
        self.users: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._stream = stream
        self._writer = csv.writer(stream) if stream is not None and as_csv else None
        self._lock = threading.Lock()
        if self._writer is not None:
            self._writer.writerow(Line._fields)

    def passed(self, row: Passed) -> None:
        self.add(Line(row.file, row.line, row.status, detail=row.reason))

    def entry(
        self,
        entry: Entry,
        status: Status,
        *,
        movie_id: str | None = None,
        detail: str | None = None,
    ) -> None:
        film, half_stars = entry.film, entry.half_stars
        self.add(
            Line(
                entry.file,
                entry.line,
                status,
                film.title,
                film.year,
                entry.user,
                movie_id,
                half_stars,
                detail,
            )
        )

    def add(self, line: Line) -> None:
        with self._lock:
            self.rows[line.status] += 1
            if line.status in ("refused", "skipped") and line.detail:
                self._note(line.detail, f"{line.file}, line {line.line}")
            if self._writer is not None:
                self._writer.writerow(line)
            elif self._stream is not None:
                self._stream.write(msgspec.json.encode(line._asdict()).decode() + "\n")

    def reject(self, reason: str, place: str) -> None:
        """Note a user or film that could not be created."""
        with self._lock:
            self._note(reason, place)

    def _note(self, reason: str, place: str) -> None:
        if reason in self._reasons or len(self._reasons) < REASONS_MAX:
            self._reasons[reason] += 1
            examples = self._examples.setdefault(reason, [])
            if len(examples) < EXAMPLES_SHOWN:
                examples.append(place)

    def print(self, console: Console, *, title: str, seconds: float) -> None:
        total = self.rows.total()
        table = Table("", "count", title=title, title_justify="left")
        table.columns[1].justify = "right"
        table.add_row("ratings read", f"{total:,}")
        dry: tuple[Status, ...] = ("would import",) if self.rows["would import"] else ()
        for status in (*dry, *STATUSES):
            table.add_row(f"ratings {status}", f"{self.rows[status]:,}")
        for name, counts in (("users", self.users), ("movies", self.movies)):
            for outcome, count in sorted(counts.items()):
                table.add_row(f"{name} {outcome}", f"{count:,}")
        table.add_row("ratings a second", f"{total / max(seconds, 1e-6):,.0f}")
        console.print(table)
        for reason, count in self._reasons.items():
            shown = "; ".join(self._examples[reason])
            more = count - EXAMPLES_SHOWN
            rest = f" and {more:,} more" if more > 0 else ""
            console.print(f"{reason} ({shown}{rest})", markup=False)


@contextmanager
def report_to(file: Path | None) -> Iterator[Report]:
    """Open a report: CSV for a file that ends with `.csv`, else JSON lines; None for no file."""
    if file is None:
        yield Report()
        return
    with file.open("w", encoding="utf-8", newline="") as stream:
        yield Report(stream, as_csv=file.suffix.casefold() == ".csv")


def described(movies: Any) -> str:
    """Return the candidates of a film on one line."""
    return "; ".join(f"{movie.title} ({movie.year}) {movie.movie_id}" for movie in movies)
