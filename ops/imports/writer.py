"""Write ratings through the bulk route, in lanes of one request each.

A repeat doubles nothing: a user has one rating of a movie, the same one again is unchanged, and one
that is dated before the current rating is superseded.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from ops.home.api_client import ApiClient
from ops.imports.reading.entry import Entry
from ops.imports.report import Report, Status
from ops.progress import Progress

RATINGS_A_REQUEST = 1_000
# Each lane has one request in flight; a user's ratings share a lane, to keep their order.
LANES = 4
# Chunks that wait for a lane, so that memory is bounded whatever the file's size.
WAITING_MAX = 2
# Noon UTC of today may lie ahead, and so may tomorrow's where the day begins first.
DAY_AHEAD_MAX = timedelta(hours=38)
_STATUSES: dict[str, Status] = {
    "created": "imported",
    "changed": "imported",
    "unchanged": "unchanged",
    "superseded": "superseded",
}


class Rating(NamedTuple):
    """A row to write; `also` are rows whose review goes with it.

    Without a user it is a rating of the member whose credential is used.
    """

    entry: Entry
    user_id: str | None
    movie_id: str
    review: str | None = None
    also: tuple[Entry, ...] = ()


Chunk = list[Rating]


class Writer:
    """Sends ratings on threads; an error of one is raised by the next call.

    `undated_at` is the time of rows without a date: that of their file, so that a repeat of the
    import is not newer than what the user did since.
    """

    def __init__(
        self, client: ApiClient, report: Report, progress: Progress, undated_at: datetime
    ) -> None:
        self._client = client
        self._report = report
        self._progress = progress
        self._undated_at = undated_at
        self._open: list[Chunk] = [[] for _ in range(LANES)]
        self._queues: list[queue.Queue[Chunk | None]] = [
            queue.Queue(WAITING_MAX) for _ in range(LANES)
        ]
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(lane,), name="import")
            for lane in self._queues
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the rest; after an error only the running requests end, to be in the report."""
        if error is not None:
            self._stop.set()
        for chunk, lane in zip(self._open, self._queues, strict=True):
            lane.put(chunk)
            lane.put(None)
        for thread in self._threads:
            thread.join()
        if error is None and self._error is not None:
            raise self._error

    def write(self, rating: Rating) -> None:
        if self._error is not None:
            raise self._error
        lane = hash(rating.user_id) % LANES
        self._open[lane].append(rating)
        if len(self._open[lane]) == RATINGS_A_REQUEST:
            self._queues[lane].put(self._open[lane])
            self._open[lane] = []

    def _send_all(self, lane: queue.Queue[Chunk | None]) -> None:
        while (chunk := lane.get()) is not None:
            # After an error the queue is emptied, so that nobody waits for room in it.
            if chunk and not self._stop.is_set():
                try:
                    self._send(chunk)
                except Exception as error:  # noqa: BLE001  # It ends all lanes, and the caller's next `write` raises it.
                    self._error = error
                    self._stop.set()

    def _send(self, chunk: Sequence[Rating]) -> None:
        rows = [self._row(rating) for rating in chunk]
        results = self._client.rows("/v1/ratings/batch", "ratings", rows)
        moved: Chunk = []
        for rating, result in zip(chunk, results, strict=True):
            status = result["status"]
            if status == "moved":
                # The movie was merged since the catalogue was read.
                moved.append(rating._replace(movie_id=result["movie_id"]))
                continue
            known = _STATUSES.get(status, "refused")
            # A rating's own reason names its values: only a refusal's is worth reading.
            detail = result["problem"]["detail"] if known == "refused" else None
            self._report.entry(rating.entry, known, movie_id=rating.movie_id, detail=detail)
            for other in rating.also:
                self._report.entry(
                    other, known, movie_id=rating.movie_id, detail="its review goes with the rating"
                )
        self._progress.advance(len(chunk) - len(moved))
        if moved:
            self._send(moved)

    def _row(self, rating: Rating) -> dict[str, Any]:
        entry = rating.entry
        assert entry.half_stars is not None
        row: dict[str, Any] = {"movie_id": rating.movie_id, "score": entry.half_stars / 2}
        if rating.user_id is not None:
            row["user_id"] = rating.user_id
        if rating.review is not None:
            row["review"] = rating.review
        rated_at, now = entry.rated_at or self._undated_at, datetime.now(UTC)
        if not (now < rated_at <= now + DAY_AHEAD_MAX and (entry.day_only or not entry.rated_at)):
            row["rated_at"] = rated_at.isoformat()
        return row
