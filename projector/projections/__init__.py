"""The projection definitions of this release."""

from projector.projections import changes, movies, profiles
from projector.projections.definition import LogEvent, Projection, UndecodedRating, Unreadable

DEFINITIONS: dict[str, Projection] = {
    projection.name: projection
    for projection in (movies.PROJECTION, profiles.PROJECTION, changes.PROJECTION)
}

__all__ = ["DEFINITIONS", "LogEvent", "Projection", "UndecodedRating", "Unreadable"]
