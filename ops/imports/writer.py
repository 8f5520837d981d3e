"""Write ratings through the bulk route, in lanes of one request each.

A repeat doubles nothing: a user has one rating of a movie, the same one again is unchanged, and one
that is dated before the current rating is superseded. Only a row of now, whose day has no noon yet,
could undo what the user did meanwhile: a request with such a row has an Idempotency-Key from the
contents of the files and of the request, so that a repeat is the same request, even by another
process.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
from msgspec import UNSET

from ops.imports.reading.entry import Entry
from ops.imports.reading.files import Files
from ops.imports.report import Report, Status
from ops.progress import Progress
from starfold_client import NewRating, Starfold
from starfold_client.commands import BULK_REQUESTS_MAX

RATINGS_A_REQUEST = 1_000
# Each lane has one request in flight; a user's ratings share a lane, to keep their order. The users
# of a data set are created beside the lanes, in one more request.
LANES = BULK_REQUESTS_MAX - 1
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

    Rows without a date are as old as their file, so that a repeat of the import is not newer than
    what the user did since.
    """

    def __init__(self, client: Starfold, report: Report, progress: Progress, files: Files) -> None:
        self._client = client
        self._report = report
        self._progress = progress
        self._files = files
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
        is_dated = all(row.rated_at is not UNSET for row in rows)
        key = None if is_dated else self._key(rows)
        moved: Chunk = []
        results = self._client.submit_ratings(rows, idempotency_key=key)
        for rating, (_, result) in zip(chunk, results, strict=True):
            if result.status == "moved":
                # The movie was merged since the catalogue was read.
                moved.append(rating._replace(movie_id=str(result.movie_id)))
                continue
            status = _STATUSES.get(result.status, "refused")
            # A rating's own reason names its values: only a refusal's is worth reading.
            refusal = result.problem if status == "refused" else None
            detail = None if refusal is None else refusal.detail
            self._report.entry(rating.entry, status, movie_id=rating.movie_id, detail=detail)
            for other in rating.also:
                self._report.entry(
                    other,
                    status,
                    movie_id=rating.movie_id,
                    detail="its review goes with the rating",
                )
        self._progress.advance(len(chunk) - len(moved))
        if moved:
            self._send(moved)

    def _key(self, rows: Sequence[NewRating]) -> str:
        """Return the same key for the same rows of the same files."""
        return hashlib.sha256(self._digest + msgspec.json.encode(rows)).hexdigest()

    @cached_property
    def _digest(self) -> bytes:
        """The digest of the files, which are read for it once, and only if a request needs it."""
        return self._files.digest()

    def _row(self, rating: Rating) -> NewRating:
        entry = rating.entry
        assert entry.half_stars is not None
        rated_at, now = entry.rated_at or self._files.written_at, datetime.now(UTC)
        is_ahead = now < rated_at <= now + DAY_AHEAD_MAX
        is_now = is_ahead and (entry.day_only or not entry.rated_at)
        return NewRating(
            movie_id=rating.movie_id,
            score=entry.half_stars / 2,
            user_id=UNSET if rating.user_id is None else rating.user_id,
            review=UNSET if rating.review is None else rating.review,
            rated_at=UNSET if is_now else rated_at,
        )
