"""Ratings: what their commands record, also on the streams of absorbed movies."""

from __future__ import annotations

import msgspec

from command_api.deciding import rating, user
from command_api.deciding.cases.decision import Decision, Status
from command_api.deciding.principal import Principal, Service
from command_api.deciding.rating import MoveRating, RatingEvent, SubmitRating, WithdrawRating
from command_api.deciding.streams import Streams
from shared.ids import StreamId, rating_stream_id


def rate(
    command: SubmitRating | WithdrawRating, principal: Principal, streams: Streams
) -> Decision:
    stream_id = command.rating_stream
    rater = user.require_present(streams.user(command.user_id), command.user_id)
    if isinstance(principal, Service):
        user.require_external(rater)
    streams.require_open(command.movie_id, "/movie_id")
    current = streams.rating(stream_id)
    recorded = [(stream_id, event) for event in rating.decide(command, current)]
    if isinstance(command, WithdrawRating):
        recorded += _absorbed_withdrawals(command, streams)
    if not recorded:
        return Decision("unchanged", command.movie_id, stream_id, current.version)
    # The user may be erased until the append.
    streams.guard(StreamId(command.user_id))
    for of, event in recorded:
        streams.record(of, event)
    first = current.half_stars is None and isinstance(command, SubmitRating)
    status: Status = "created" if first else "changed"
    return Decision(status, command.movie_id, recorded[-1][0], streams.rating(stream_id).version)


def move_rating(command: MoveRating, streams: Streams) -> Decision:
    """Move a rating; raise `Moved` if the target was merged meanwhile."""
    stream_id = command.rating_stream
    streams.require_open(command.into)
    rater = streams.user(command.user_id)
    current = streams.rating(stream_id)
    if not rater.present:
        current = msgspec.structs.replace(current, review=None)
    events = rating.move(command, current, streams.rating(command.into_stream))
    if not events:
        return Decision("unchanged", command.movie_id, stream_id)
    streams.guard(StreamId(command.user_id))
    streams.guard(command.into_stream)
    for event in events:
        streams.record(stream_id if event is events[0] else command.into_stream, event)
    return Decision("changed", command.movie_id, stream_id)


def absorbed_ratings(command: WithdrawRating, streams: Streams) -> tuple[StreamId, ...]:
    """Return the streams of the user's ratings of movies absorbed before this batch."""
    absorbed = streams.absorbed_before(command.movie_id)
    if not absorbed:
        return ()
    # Loaded together with its own stream: a rating may move between two loads.
    movies = (command.movie_id, *absorbed)
    return tuple(rating_stream_id(command.user_id, movie_id) for movie_id in movies)


def _absorbed_withdrawals(
    command: WithdrawRating, streams: Streams
) -> list[tuple[StreamId, RatingEvent]]:
    """Return the events that withdraw ratings still to be moved to the movie."""
    found: list[tuple[StreamId, RatingEvent]] = []
    for movie_id in streams.absorbed_before(command.movie_id):
        stream_id = rating_stream_id(command.user_id, movie_id)
        withdrawal = msgspec.structs.replace(
            command, movie_id=movie_id, rating_stream=stream_id, condition=None
        )
        events = rating.decide(withdrawal, streams.rating(stream_id))
        found += [(stream_id, event) for event in events]
    return found
