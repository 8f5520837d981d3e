"""`movies`: details, statistics, daily history, and who rated each movie."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from projector.documents import Documents
from projector.kinds import CATALOGUE, HISTORY, MOVIE, RATERS, STATISTICS, Histogram, Kind, Scores
from projector.projections.definition import Folding, Projection
from shared.errors import ProjectionFault
from shared.events import (
    Event,
    MovieCreated,
    MovieDetailsChanged,
    RatingSubmitted,
    RatingWithdrawn,
)
from shared.ids import Position
from shared.read_model import (
    BINS,
    MOVIES,
    PARTITIONS,
    HistoryYear,
    milliseconds,
    movie_document,
    rating_rank,
)

NO_SCORES: Histogram = (0,) * BINS


def reads(event: Event) -> tuple[tuple[Kind[Any], str], ...]:
    match event:
        case MovieDetailsChanged():
            return ((MOVIE, event.movie_id.hex),)
        case RatingSubmitted():
            movie = event.movie_id.hex
            return ((STATISTICS, movie), (HISTORY, _year(movie, event.rated_at)))
        case RatingWithdrawn():
            movie = event.movie_id.hex
            return ((STATISTICS, movie), (HISTORY, _year(movie, event.withdrawn_at)))
        case _:
            return ()


def apply(documents: Documents, folding: Folding) -> None:
    """Raises `ProjectionFault` where a movie that is rated or changed is not there."""
    event = folding.event
    match event:
        case RatingSubmitted():
            movie = event.movie_id.hex
            change_scores(
                documents,
                movie,
                folding.position,
                removed=event.previous_half_stars,
                added=event.half_stars,
            )
            _add_to_history(
                documents, movie, event.rated_at, event.previous_half_stars, event.half_stars
            )
            rank = rating_rank(event.rated_at, event.half_stars)
            documents.rank(RATERS, movie, event.user_id.bytes, rank)
        case RatingWithdrawn():
            movie = event.movie_id.hex
            change_scores(
                documents, movie, folding.position, removed=event.previous_half_stars, added=None
            )
            _add_to_history(documents, movie, event.withdrawn_at, event.previous_half_stars, None)
            documents.unrank(RATERS, movie, event.user_id.bytes)
        case MovieCreated():
            movie = event.movie_id.hex
            created = movie_document(
                event.movie_id, event.details, event.created_at, folding.version
            )
            documents.put(MOVIE, movie, created)
            documents.put(STATISTICS, movie, Scores(NO_SCORES, folding.position))
            documents.rank(CATALOGUE, "", event.movie_id.bytes, milliseconds(event.created_at))
        case MovieDetailsChanged():
            standing = documents.get(MOVIE, event.movie_id.hex)
            if standing is None:
                raise ProjectionFault(f"movie {event.movie_id} changed and was never created")
            changed = movie_document(
                event.movie_id, event.details, standing.created_at, folding.version
            )
            documents.put(MOVIE, event.movie_id.hex, changed)
        case _:
            pass


def change_scores(
    documents: Documents,
    entity: str,
    position: Position,
    *,
    removed: int | None,
    added: int | None,
) -> None:
    """Move one score of an entity; its statistics stand since it was created."""
    scores = documents.get(STATISTICS, entity)
    if scores is None:
        raise ProjectionFault(f"there are no statistics of {entity}, which was never created")
    bins = list(scores.histogram)
    if removed is not None:
        bins[removed - 1] -= 1
        if bins[removed - 1] < 0:
            raise ProjectionFault(f"{entity} has no score of {removed} half stars to take away")
    if added is not None:
        bins[added - 1] += 1
    documents.put(STATISTICS, entity, Scores(tuple(bins), position))


def _add_to_history(
    documents: Documents, movie: str, at: datetime, removed: int | None, added: int | None
) -> None:
    """Both differences belong to the day of the change: the days before it stay as they were."""
    key = _year(movie, at)
    year = documents.get(HISTORY, key)
    days = dict(year.days) if year is not None else {}
    day = at.astimezone(UTC).timetuple().tm_yday
    bins = list(days.get(day, NO_SCORES))
    if removed is not None:
        bins[removed - 1] -= 1
    if added is not None:
        bins[added - 1] += 1
    days[day] = bins
    documents.put(HISTORY, key, HistoryYear(days))


def _year(movie: str, at: datetime) -> str:
    return f"{movie}:{at.astimezone(UTC).year}"


PROJECTION = Projection(
    name=MOVIES,
    version=1,
    partitions=PARTITIONS,
    entities={
        MovieCreated: "movie_id",
        MovieDetailsChanged: "movie_id",
        RatingSubmitted: "movie_id",
        RatingWithdrawn: "movie_id",
    },
    reads=reads,
    apply=apply,
)
