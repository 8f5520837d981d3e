"""`profiles`: each user's public profile, e-mail address, statistics, ratings, reviews and access.

For mirrors it holds the position of each rating's last change, also of one that was withdrawn.

It is the only projection with personal data.
"""

from __future__ import annotations

import msgspec

from projector.documents.working_set import Documents, Key
from projector.projections import access
from projector.projections.definition import LogEvent, Projection
from projector.projections.movies import existing_scores, move_score
from shared.errors import DocumentUnusable
from shared.ids import UserId
from shared.log.events import (
    EmailVerified,
    Event,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
    UserCreated,
    UserErased,
    UserProfileChanged,
)
from shared.read_model.checksum import stored_position, with_checksum
from shared.read_model.documents import PrivateDocument, ProfileDocument
from shared.read_model.keys import PARTITIONS, PROFILES
from shared.read_model.kinds import (
    POSITIONS,
    PRIVATE,
    PROFILE,
    RATINGS,
    REVIEWS,
    STATISTICS,
    Scores,
    position_field,
    positions_suffix,
    positions_suffixes,
)
from shared.read_model.ranks import rating_rank
from shared.read_model.statistics import BINS


def reads(event: Event) -> tuple[Key, ...]:
    match event:
        case RatingSubmitted() | RatingWithdrawn() | RatingMoved():
            return ((STATISTICS.name, event.user_id.hex),)
        case UserProfileChanged() | UserErased():
            return ((PROFILE.name, event.user_id.hex),)
        case EmailVerified():
            return ((PRIVATE.name, event.user_id.hex),)
        case _:
            return access.reads(event)


def apply(documents: Documents, logged: LogEvent) -> None:
    """Apply an event; raise `ProjectionFault` if the user who acts is missing."""
    event = logged.event
    match event:
        case RatingSubmitted():
            _rate(documents, event, logged)
        case RatingWithdrawn() | RatingMoved():
            user, movie = event.user_id.hex, event.movie_id.bytes
            _move(documents, logged, user, removed=event.previous_half_stars, added=None)
            documents.unrank(RATINGS, user, movie)
            documents.delete_field(REVIEWS, user, movie)
            # A rating that shares its field of a position with this one may still need it.
            _note_position(documents, logged, user, movie, movie)
        case UserCreated():
            created = ProfileDocument(
                user_id=event.user_id,
                display_name=event.display_name,
                visibility=event.visibility,
                erased=False,
                created_at=event.created_at,
            )
            documents.put(PROFILE, event.user_id.hex, created)
            documents.put(STATISTICS, event.user_id.hex, Scores([0] * BINS, logged.position))
            if event.email is not None:
                documents.put(PRIVATE, event.user_id.hex, PrivateDocument(email=event.email))
        case UserProfileChanged():
            changed = msgspec.structs.replace(
                _profile(documents, event.user_id),
                display_name=event.display_name,
                visibility=event.visibility,
            )
            documents.put(PROFILE, event.user_id.hex, changed)
        case UserErased():
            erased = msgspec.structs.replace(
                _profile(documents, event.user_id), display_name=None, erased=True
            )
            documents.put(PROFILE, event.user_id.hex, erased)
            _delete_private(documents, event.user_id)
            access.erase(documents, event.user_id)
        case EmailVerified():
            private = documents.get(PRIVATE, event.user_id.hex)
            # The address of an erased user cannot be read.
            if private is not None:
                verified = msgspec.structs.replace(private, email_verified=True)
                documents.put(PRIVATE, event.user_id.hex, verified)
        case _:
            access.apply(documents, logged)


def erase(documents: Documents, event: Event) -> None:
    assert isinstance(event, UserErased)
    documents.delete(PROFILE.name, event.user_id.hex)
    _delete_private(documents, event.user_id)
    access.erase(documents, event.user_id)


def _rate(documents: Documents, event: RatingSubmitted, logged: LogEvent) -> None:
    user, movie = event.user_id.hex, event.movie_id.bytes
    _move(documents, logged, user, removed=event.previous_half_stars, added=event.half_stars)
    documents.rank(RATINGS, user, movie, rating_rank(event.rated_at, event.half_stars))
    if event.review is not None:
        documents.set_field(REVIEWS, user, movie, with_checksum(event.review.encode()))
    elif event.previous_half_stars is not None:
        documents.delete_field(REVIEWS, user, movie)
    # The movie's own field, if this rating was withdrawn before, is void while there is a rating.
    _note_position(documents, logged, user, movie, position_field(movie))


def _note_position(
    documents: Documents, logged: LogEvent, user: str, movie: bytes, field: bytes
) -> None:
    documents.set_field(
        POSITIONS, positions_suffix(user, movie), field, stored_position(field, logged.position)
    )


def _move(
    documents: Documents, logged: LogEvent, user: str, *, removed: int | None, added: int | None
) -> None:
    scores = existing_scores(documents, user, removed=removed)
    move_score(scores.histogram, removed=removed, added=added)
    scores.position = logged.position
    documents.put(STATISTICS, user, scores)


def _delete_private(documents: Documents, user_id: UserId) -> None:
    documents.delete(PRIVATE.name, user_id.hex)
    documents.delete(REVIEWS, user_id.hex)
    for suffix in positions_suffixes(user_id.hex):
        documents.delete(POSITIONS, suffix)


def _profile(documents: Documents, user_id: UserId) -> ProfileDocument:
    profile = documents.get(PROFILE, user_id.hex)
    if profile is None:
        raise DocumentUnusable(f"user {user_id} changed and was never created")
    return profile


PROJECTION = Projection(
    name=PROFILES,
    version=6,
    partitions=PARTITIONS,
    entities={
        UserCreated: "user_id",
        UserProfileChanged: "user_id",
        UserErased: "user_id",
        EmailVerified: "user_id",
        RatingSubmitted: "user_id",
        RatingWithdrawn: "user_id",
        RatingMoved: "user_id",
        **access.ENTITIES,
    },
    reads=reads,
    apply=apply,
    personal=True,
    erase=erase,
    always=frozenset(access.ENTITIES),
)
