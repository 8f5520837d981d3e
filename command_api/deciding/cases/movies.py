"""Movies: what their commands record, on the movie's stream and on others."""

from __future__ import annotations

from functools import partial

from command_api.deciding import movie, reservation
from command_api.deciding.cases.decision import Decision, Status
from command_api.deciding.movie import (
    ChangeMovieDetails,
    CompleteMerge,
    CreateMovie,
    EndWithdrawal,
    MergeMovie,
    Movie,
    StartWithdrawal,
)
from command_api.deciding.streams import Streams
from shared.errors import Conflict
from shared.ids import StreamId, merges_stream_id
from shared.log.events import MovieAbsorbed


def change_movie(command: CreateMovie | ChangeMovieDetails, streams: Streams) -> Decision:
    stream_id = StreamId(command.movie_id)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    if events:
        for field, taken in command.streams_taken.items():
            reserved = streams.reservation(taken)
            for reserving in reservation.reserve_movie_id(field, reserved, command.movie_id):
                streams.record(taken, reserving)
    if events and isinstance(command, ChangeMovieDetails):
        _release_ids(command, current, streams)
    for event in events:
        streams.record(stream_id, event)
    status: Status = "created" if current.details is None else "changed"
    version = partial(str, streams.version(stream_id))
    return Decision(status if events else "unchanged", command.movie_id, stream_id, version)


def merge_movie(command: MergeMovie, streams: Streams) -> Decision:
    stream_id, merges = StreamId(command.movie_id), merges_stream_id(command.into)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    if not events:
        return Decision("unchanged", command.into, stream_id)
    streams.require_open(command.into, "/into")
    absorbed = (
        *streams.absorbed(command.into),
        command.movie_id,
        *streams.absorbed(command.movie_id),
    )
    streams.record(merges, MovieAbsorbed(movie_id=command.into, absorbed=absorbed))
    _release_ids(command, current, streams)
    streams.close(command.movie_id)
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed", command.into, stream_id)


def start_withdrawal(command: StartWithdrawal, streams: Streams) -> Decision:
    stream_id = StreamId(command.movie_id)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    if events:
        for absorbed in streams.absorbed(command.movie_id):
            if not streams.movie(absorbed).merge_completed:
                raise Conflict(f"ratings of movie {absorbed} are still moving to this one")
        streams.close(command.movie_id)
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed" if events else "unchanged", command.movie_id, stream_id)


def settle_closed_movie(command: CompleteMerge | EndWithdrawal, streams: Streams) -> Decision:
    stream_id = StreamId(command.movie_id)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    if isinstance(command, EndWithdrawal) and not command.rated and events:
        _release_ids(command, current, streams)
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed" if events else "unchanged", command.movie_id, stream_id)


def _release_ids(
    command: ChangeMovieDetails | MergeMovie | EndWithdrawal, current: Movie, streams: Streams
) -> None:
    """Release the ids in other catalogues that the movie gives up."""
    for field, given_up in command.streams_given_up(current).items():
        reserved = streams.reservation(given_up)
        for releasing in reservation.release_movie_id(field, reserved, command.movie_id):
            streams.record(given_up, releasing)
