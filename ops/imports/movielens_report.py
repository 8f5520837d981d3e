"""The result of an import: counts, and reasons for rejected rows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.imports.movielens_files import Files, Rating

EXAMPLES_SHOWN = 3
RATING_STATUSES = ("created", "changed", "unchanged", "superseded", "moved", "rejected")


@dataclass
class Report:
    """Counts results; thread-safe."""

    read: int
    users: Counter[str] = field(default_factory=Counter)
    movies: Counter[str] = field(default_factory=Counter)
    ratings: Counter[str] = field(default_factory=Counter)
    rejections: dict[str, list[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, files: Files) -> Report:
        """Return a report that already lists the malformed lines as rejected."""
        report = cls(read=len(files.ratings))
        for line in files.malformed:
            place = f"{line.file}, line {line.line}"
            if line.file.endswith(".inter"):
                report.read += 1
                report.reject_rating(line.reason, place)
            else:
                report.reject(line.reason, place)
        return report

    def reject(self, reason: str, place: str) -> None:
        with self._lock:
            self.rejections.setdefault(reason, []).append(place)

    def reject_rating(self, reason: str, place: str) -> None:
        self.reject(reason, place)
        with self._lock:
            self.ratings["rejected"] += 1

    def count_ratings(
        self, ratings: Sequence[Rating], results: Sequence[Mapping[str, Any]]
    ) -> None:
        for rating, result in zip(ratings, results, strict=True):
            status = result["status"]
            if status == "rejected":
                place = f"user {rating.user_id}, film {rating.item_id}"
                self.reject_rating(result["problem"]["detail"], place)
            else:
                with self._lock:
                    self.ratings[status] += 1

    @property
    def settled(self) -> int:
        """The number of ratings whose result is known."""
        return self.ratings.total()

    def print(self, console: Console, *, seconds: float) -> None:
        table = Table("", "count", title="MovieLens import", title_justify="left")
        table.columns[1].justify = "right"
        table.add_row("ratings read", f"{self.read:,}")
        for status in RATING_STATUSES:
            table.add_row(f"ratings {status}", f"{self.ratings[status]:,}")
        for name, counts in (("users", self.users), ("movies", self.movies)):
            for status, count in sorted(counts.items()):
                table.add_row(f"{name} {status}", f"{count:,}")
        table.add_row("ratings a second", f"{self.settled / max(seconds, 1e-6):,.0f}")
        console.print(table)
        for reason, places in self.rejections.items():
            shown = "; ".join(places[:EXAMPLES_SHOWN])
            more = f" and {len(places) - EXAMPLES_SHOWN:,} more"
            rest = more if len(places) > EXAMPLES_SHOWN else ""
            console.print(f"rejected: {reason} ({shown}{rest})", markup=False)
