"""How each command is decided across the streams that it touches: what it needs, and what it
records.

The rules of one noun are in the modules beside this one; here stands what ties several nouns
together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, assert_never
from uuid import UUID

from command_api.deciding import movie, rating, reservation, session, user
from command_api.deciding.movie import ChangeMovieDetails, CreateMovie
from command_api.deciding.principal import (
    Console,
    Member,
    Principal,
    Scope,
    Service,
    require_role,
    require_scope,
)
from command_api.deciding.rating import SubmitRating, WithdrawRating
from command_api.deciding.session import EndSession
from command_api.deciding.streams import Needs, Streams
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    CreateExternalUser,
    EraseUser,
    SignUp,
)
from shared.errors import NotFound
from shared.ids import StreamId, UserId
from shared.log.events import ExternalIdReserved, Role

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
    | SubmitRating
    | WithdrawRating
)
Status = Literal["created", "changed", "unchanged"]

CURATORS: frozenset[Role] = frozenset({"curator", "operator"})
EVERYBODY: frozenset[Role] = frozenset({"member", "curator", "operator"})
OPERATORS: frozenset[Role] = frozenset({"operator"})


class Decision(NamedTuple):
    """What a command came to; `stream_id` holds the event that made it so, now or before.

    `version` makes that of the subject as it is then, for whoever states it.
    """

    status: Status
    subject: UUID
    stream_id: StreamId
    version: Callable[[], str | None] | None = None


def needs(command: Command, principal: Principal) -> Needs:
    """The streams and keys to load before the command is decided."""
    caller = (StreamId(principal.user_id),) if isinstance(principal, Member) else ()
    match command:
        case SubmitRating() | WithdrawRating():
            return Needs(
                latest=(command.rating_stream,),
                whole=(StreamId(command.user_id),),
                movies=(command.movie_id,),
                subjects=(command.user_id,),
            )
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
    """The streams to load besides, which only the state of those loaded first can name."""
    if not isinstance(command, ChangeMovieDetails):
        return ()
    given_up = command.stream_given_up(streams.movie(command.movie_id))
    return () if given_up is None else (given_up,)


def authorize(command: Command, principal: Principal, streams: Streams) -> None:
    """Raise `NotAuthenticated` or `Forbidden` unless the caller may send the command."""
    match command:
        case SubmitRating() | WithdrawRating():
            if isinstance(principal, Member):
                require_role(streams.user(command.user_id), EVERYBODY)
            elif isinstance(principal, Service):
                require_scope(principal, "ratings")
        case ChangeProfile() | ChangePassword():
            require_role(streams.user(command.user_id), EVERYBODY)
        case CreateExternalUser():
            require_scope(principal, "users")
        case ChangeRole():
            _require(principal, OPERATORS, "roles", streams)
        case EraseUser():
            if isinstance(principal, Member) and principal.user_id == command.user_id:
                require_role(streams.user(command.user_id), EVERYBODY)
            else:
                _require(principal, OPERATORS, "erasure", streams)
        case CreateMovie() | ChangeMovieDetails():
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
        case _:
            assert_never(command)


def _require(
    principal: Principal,
    roles: frozenset[Role],
    scope: Scope,
    streams: Streams,
) -> None:
    """A member needs one of the roles, guarded until the append; a service needs the scope; who is
    at the console may do it.
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
    if not streams.has_movie(command.movie_id):
        raise NotFound(f"there is no movie {command.movie_id}", pointer="/movie_id")
    standing = streams.rating(stream_id)
    events = rating.decide(command, standing)
    if not events:
        return Decision("unchanged", command.movie_id, stream_id, standing.version)
    # The user may be erased until the append; the movie stays.
    streams.guard(StreamId(command.user_id))
    for event in events:
        streams.record(stream_id, event)
    first = standing.half_stars is None
    status: Status = "created" if first else "changed"
    return Decision(status, command.movie_id, stream_id, streams.rating(stream_id).version)


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


def _change_user(
    command: ChangeRole | ChangeProfile | ChangePassword, streams: Streams
) -> Decision:
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
    """A repeat is answered with whom the id belongs to.

    The reservation comes last: who has applied its position knows the user.
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
    # A condition is on what the user shows, which is sealed.
    current = streams.user if command.condition is None else streams.account
    events = user.decide(command, current(command.user_id))
    if command.email_stream is not None:
        streams.effects.erased_addresses.append(command.email_stream)
        standing = streams.reservation(command.email_stream)
        for released in reservation.release_email(standing, command.user_id):
            streams.record(command.email_stream, released)
    if command.external_stream is not None:
        standing = streams.reservation(command.external_stream)
        for released in reservation.release_external_id(standing, command.user_id):
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
    standing = streams.movie(command.movie_id)
    events = movie.decide(command, standing, streams.version(stream_id))
    taken = command.imdb_stream if events else None
    if taken is not None:
        reserved = streams.reservation(taken)
        for reserving in reservation.reserve_imdb_id(reserved, command.movie_id):
            streams.record(taken, reserving)
    given_up = None
    if events and isinstance(command, ChangeMovieDetails):
        given_up = command.stream_given_up(standing)
    if given_up is not None:
        reserved = streams.reservation(given_up)
        for releasing in reservation.release_imdb_id(reserved, command.movie_id):
            streams.record(given_up, releasing)
    for event in events:
        streams.record(stream_id, event)
    status: Status = "created" if standing.details is None else "changed"
    version = partial(str, streams.version(stream_id))
    return Decision(status if events else "unchanged", command.movie_id, stream_id, version)
