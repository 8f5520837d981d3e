"""Decide each command across the streams that it touches.

The rules of one noun are in the modules beside this one; this module connects several nouns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, assert_never
from uuid import UUID

import msgspec

from command_api.deciding import movie, rating, reservation, session, user
from command_api.deciding.movie import (
    ChangeMovieDetails,
    CompleteMerge,
    CreateMovie,
    EndWithdrawal,
    MergeMovie,
    Movie,
    StartWithdrawal,
)
from command_api.deciding.principal import (
    Console,
    Member,
    Principal,
    Scope,
    Service,
    require_role,
    require_scope,
)
from command_api.deciding.rating import MoveRating, RatingEvent, SubmitRating, WithdrawRating
from command_api.deciding.session import EndSession
from command_api.deciding.streams import Needs, Streams
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    ChangeUser,
    CreateExternalUser,
    EraseUser,
    SignUp,
)
from shared.errors import Conflict
from shared.ids import CLOSURES, StreamId, UserId, merges_stream_id, rating_stream_id
from shared.log.events import ExternalIdReserved, MovieAbsorbed, Role

Command = (
    SignUp
    | CreateExternalUser
    | ChangeProfile
    | ChangePassword
    | ChangeRole
    | EraseUser
    | EndSession
    | CreateMovie
    | ChangeMovieDetails
    | MergeMovie
    | CompleteMerge
    | StartWithdrawal
    | EndWithdrawal
    | SubmitRating
    | WithdrawRating
    | MoveRating
)
Status = Literal["created", "changed", "unchanged"]

CURATORS: frozenset[Role] = frozenset({"curator", "operator"})
ALL_ROLES: frozenset[Role] = frozenset({"member", "curator", "operator"})
OPERATORS: frozenset[Role] = frozenset({"operator"})


class Decision(NamedTuple):
    """The decision on a command.

    `stream_id` is the stream of the event that made the current state, now or before. `version`
    computes the version of the changed subject, for the answer's tag.
    """

    status: Status
    subject: UUID
    stream_id: StreamId
    version: Callable[[], str | None] | None = None


def needs(command: Command, principal: Principal) -> Needs:
    """Return the streams and keys to load before the command is decided."""
    caller = (StreamId(principal.user_id),) if isinstance(principal, Member) else ()
    match command:
        case SubmitRating():
            return Needs(
                latest=(command.rating_stream, CLOSURES),
                whole=(StreamId(command.user_id),),
                movies=(command.movie_id,),
                subjects=(command.user_id,),
            )
        case WithdrawRating():
            return Needs(
                latest=(command.rating_stream, CLOSURES, merges_stream_id(command.movie_id)),
                whole=(StreamId(command.user_id),),
                movies=(command.movie_id,),
                subjects=(command.user_id,),
            )
        case MoveRating():
            return Needs(
                latest=(command.rating_stream, command.into_stream, CLOSURES),
                whole=(StreamId(command.user_id),),
                movies=(command.into,),
                subjects=(command.user_id,),
            )
        case MergeMovie():
            merges = (merges_stream_id(command.movie_id), merges_stream_id(command.into))
            whole = (StreamId(command.movie_id), StreamId(command.into), *caller)
            return Needs(latest=(CLOSURES, *merges), whole=whole)
        case StartWithdrawal():
            latest = (CLOSURES, merges_stream_id(command.movie_id))
            return Needs(latest=latest, whole=(StreamId(command.movie_id), *caller))
        case CompleteMerge() | EndWithdrawal():
            return Needs(whole=(StreamId(command.movie_id),))
        case SignUp():
            whole = (StreamId(command.user_id), command.email_stream)
            return Needs(whole=whole, subjects=(command.user_id,))
        case EraseUser():
            reserved = (command.email_stream, command.external_stream)
            whole = (StreamId(command.user_id), *filter(None, reserved), *caller)
            return Needs(whole=whole, subjects=(command.user_id,))
        case CreateExternalUser():
            users = (StreamId(command.user_id), StreamId(command.derived_id))
            return Needs(whole=(*users, command.external_stream), subjects=(command.user_id,))
        case ChangeProfile() | ChangePassword() | ChangeRole():
            return Needs(whole=(StreamId(command.user_id), *caller), subjects=(command.user_id,))
        case EndSession():
            return Needs(latest=(command.sessions_stream,), sessions=(command.session_id,))
        case CreateMovie() | ChangeMovieDetails():
            imdb = (command.imdb_stream,) if command.imdb_stream else ()
            return Needs(whole=(StreamId(command.movie_id), *imdb, *caller))
        case _:
            assert_never(command)


def further_needs(command: Command, streams: Streams) -> tuple[StreamId, ...]:
    """Return further streams to load, which only the state loaded first can name."""
    if isinstance(command, ChangeMovieDetails | MergeMovie | EndWithdrawal):
        given_up = command.stream_given_up(streams.movie(command.movie_id))
        return () if given_up is None else (given_up,)
    if isinstance(command, WithdrawRating):
        return _absorbed_ratings(command, streams)
    if isinstance(command, StartWithdrawal):
        return tuple(map(StreamId, streams.absorbed_before(command.movie_id)))
    return ()


def authorize(command: Command, principal: Principal, streams: Streams) -> None:
    """Raise `NotAuthenticated` or `Forbidden` unless the caller may send the command."""
    match command:
        case SubmitRating() | WithdrawRating():
            if isinstance(principal, Member):
                require_role(streams.user(command.user_id), ALL_ROLES)
            elif isinstance(principal, Service):
                require_scope(principal, "ratings")
        case ChangeProfile() | ChangePassword():
            require_role(streams.user(command.user_id), ALL_ROLES)
        case CreateExternalUser():
            require_scope(principal, "users")
        case ChangeRole():
            _require(principal, OPERATORS, "roles", streams)
        case EraseUser():
            if isinstance(principal, Member) and principal.user_id == command.user_id:
                require_role(streams.user(command.user_id), ALL_ROLES)
            else:
                _require(principal, OPERATORS, "erasure", streams)
        case MoveRating() | CompleteMerge() | EndWithdrawal():
            assert isinstance(principal, Console)
        case CreateMovie() | ChangeMovieDetails() | MergeMovie() | StartWithdrawal():
            _require(principal, CURATORS, "movies", streams)
        case SignUp() | EndSession():
            pass
        case _:
            assert_never(command)


def decide(command: Command, principal: Principal, streams: Streams) -> Decision:
    """Record the command's events on the streams, or raise `Rejected` having recorded none."""
    authorize(command, principal, streams)
    match command:
        case SubmitRating() | WithdrawRating():
            return _rate(command, principal, streams)
        case SignUp():
            return _sign_up(command, streams)
        case CreateExternalUser():
            return _create_external_user(command, streams)
        case ChangeRole() | ChangeProfile() | ChangePassword():
            return _change_user(command, streams)
        case EraseUser():
            return _erase(command, streams)
        case EndSession():
            return _end_session(command, streams)
        case CreateMovie() | ChangeMovieDetails():
            return _change_movie(command, streams)
        case MergeMovie():
            return _merge_movie(command, streams)
        case StartWithdrawal():
            return _start_withdrawal(command, streams)
        case CompleteMerge() | EndWithdrawal():
            return _settle_closed_movie(command, streams)
        case MoveRating():
            return _move_rating(command, streams)
        case _:
            assert_never(command)


def _require(
    principal: Principal,
    roles: frozenset[Role],
    scope: Scope,
    streams: Streams,
) -> None:
    """Require a permission.

    A member needs one of the roles, guarded until the append; a service needs the scope; the
    console has every permission.
    """
    if isinstance(principal, Member):
        require_role(streams.user(principal.user_id), roles)
        streams.guard(StreamId(principal.user_id))
    elif not isinstance(principal, Console):
        require_scope(principal, scope)


def _rate(
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


def _absorbed_ratings(command: WithdrawRating, streams: Streams) -> tuple[StreamId, ...]:
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


def _move_rating(command: MoveRating, streams: Streams) -> Decision:
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


def _sign_up(command: SignUp, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    reserved = reservation.reserve_email(streams.reservation(command.email_stream), command.user_id)
    created = user.decide(command, streams.user(command.user_id))
    for reserving in reserved:
        streams.record(command.email_stream, reserving)
    for creating in created:
        streams.record(stream_id, creating)
        streams.effects.new_subjects.append(command.user_id)
    return Decision("created" if created else "unchanged", command.user_id, stream_id)


def _change_user(command: ChangeUser, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    events = user.decide(command, streams.account(command.user_id))
    for event in events:
        streams.record(stream_id, event)
    if events and isinstance(command, ChangePassword) and command.ends_sessions:
        streams.effects.new_passwords[command.user_id] = command.kept_session
    status: Status = "changed" if events else "unchanged"
    version = None
    if isinstance(command, ChangeProfile):
        version = streams.account(command.user_id).version
    return Decision(status, UserId(command.user_id), stream_id, version)


def _create_external_user(command: CreateExternalUser, streams: Streams) -> Decision:
    """Create an external user, or answer with the id's owner.

    The reservation comes last: a read model at its position has the user.
    """
    owner = streams.reservation(command.external_stream).owner
    if owner is not None:
        return Decision("unchanged", owner, command.external_stream)
    if streams.user(command.derived_id).present:
        return Decision("unchanged", command.derived_id, StreamId(command.derived_id))
    for event in user.decide(command, streams.user(command.user_id)):
        streams.record(StreamId(command.user_id), event)
        streams.effects.new_subjects.append(command.user_id)
    streams.record(command.external_stream, ExternalIdReserved(user_id=command.user_id))
    return Decision("created", command.user_id, command.external_stream)


def _erase(command: EraseUser, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    # A condition concerns the profile, which is sealed.
    read = streams.user if command.condition is None else streams.account
    events = user.decide(command, read(command.user_id))
    if command.email_stream is not None:
        streams.effects.erased_addresses.append(command.email_stream)
        reserved = streams.reservation(command.email_stream)
        for released in reservation.release_email(reserved, command.user_id):
            streams.record(command.email_stream, released)
    if command.external_stream is not None:
        reserved = streams.reservation(command.external_stream)
        for released in reservation.release_external_id(reserved, command.user_id):
            streams.record(command.external_stream, released)
    for event in events:
        streams.record(stream_id, event)
    streams.effects.erased_users.append(command.user_id)
    return Decision("changed", command.user_id, stream_id)


def _end_session(command: EndSession, streams: Streams) -> Decision:
    stream_id = command.sessions_stream
    ended = streams.ended_sessions(stream_id)
    is_open = streams.session_is_open(command.session_id)
    events = session.decide(command, ended, is_open=is_open)
    for event in events:
        streams.record(stream_id, event)
        streams.effects.ended_sessions.append(command.session_id)
    return Decision("changed" if events else "unchanged", command.session_id, stream_id)


def _change_movie(command: CreateMovie | ChangeMovieDetails, streams: Streams) -> Decision:
    stream_id = StreamId(command.movie_id)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    taken = command.imdb_stream if events else None
    if taken is not None:
        reserved = streams.reservation(taken)
        for reserving in reservation.reserve_imdb_id(reserved, command.movie_id):
            streams.record(taken, reserving)
    if events and isinstance(command, ChangeMovieDetails):
        _release_imdb_id(command, current, streams)
    for event in events:
        streams.record(stream_id, event)
    status: Status = "created" if current.details is None else "changed"
    version = partial(str, streams.version(stream_id))
    return Decision(status if events else "unchanged", command.movie_id, stream_id, version)


def _release_imdb_id(
    command: ChangeMovieDetails | MergeMovie | EndWithdrawal, current: Movie, streams: Streams
) -> None:
    """Release the IMDb id that the movie gives up."""
    given_up = command.stream_given_up(current)
    if given_up is not None:
        reserved = streams.reservation(given_up)
        for releasing in reservation.release_imdb_id(reserved, command.movie_id):
            streams.record(given_up, releasing)


def _merge_movie(command: MergeMovie, streams: Streams) -> Decision:
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
    _release_imdb_id(command, current, streams)
    streams.close(command.movie_id)
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed", command.into, stream_id)


def _start_withdrawal(command: StartWithdrawal, streams: Streams) -> Decision:
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


def _settle_closed_movie(command: CompleteMerge | EndWithdrawal, streams: Streams) -> Decision:
    stream_id = StreamId(command.movie_id)
    current = streams.movie(command.movie_id)
    events = movie.decide(command, current, streams.version(stream_id))
    if isinstance(command, EndWithdrawal) and not command.rated and events:
        _release_imdb_id(command, current, streams)
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed" if events else "unchanged", command.movie_id, stream_id)
