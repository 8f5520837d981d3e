"""What each command needs loaded, who may send it, and the case that decides it.

The rules of one noun are in the modules beside this one; `cases` connects several nouns.
"""

from __future__ import annotations

from typing import assert_never

from command_api.deciding.cases import accounts, movies, ratings
from command_api.deciding.cases.decision import Decision
from command_api.deciding.movie import (
    ChangeMovieDetails,
    CompleteMerge,
    CreateMovie,
    EndWithdrawal,
    MergeMovie,
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
from command_api.deciding.rating import MoveRating, SubmitRating, WithdrawRating
from command_api.deciding.session import EndSession
from command_api.deciding.streams import Needs, Streams
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    CreateExternalUser,
    EraseUser,
    SignUp,
    VerifyEmail,
)
from shared.ids import CLOSURES, StreamId, merges_stream_id
from shared.log.events import Role

Command = (
    SignUp
    | CreateExternalUser
    | ChangeProfile
    | ChangePassword
    | ChangeRole
    | EraseUser
    | VerifyEmail
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

CURATORS: frozenset[Role] = frozenset({"curator", "operator"})
ALL_ROLES: frozenset[Role] = frozenset({"member", "curator", "operator"})
OPERATORS: frozenset[Role] = frozenset({"operator"})


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
        case VerifyEmail():
            return Needs(whole=(StreamId(command.user_id),))
        case EndSession():
            return Needs(latest=(command.sessions_stream,), sessions=(command.session_id,))
        case CreateMovie() | ChangeMovieDetails():
            taken = command.streams_taken.values()
            return Needs(whole=(StreamId(command.movie_id), *taken, *caller))
        case _:
            assert_never(command)


def further_needs(command: Command, streams: Streams) -> tuple[StreamId, ...]:
    """Return further streams to load, which only the state loaded first can name."""
    if isinstance(command, ChangeMovieDetails | MergeMovie | EndWithdrawal):
        return tuple(command.streams_given_up(streams.movie(command.movie_id)).values())
    if isinstance(command, WithdrawRating):
        return ratings.absorbed_ratings(command, streams)
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
        case SignUp() | VerifyEmail() | EndSession():
            pass
        case _:
            assert_never(command)


def decide(command: Command, principal: Principal, streams: Streams) -> Decision:
    """Record the command's events on the streams, or raise `Rejected` having recorded none."""
    authorize(command, principal, streams)
    match command:
        case SubmitRating() | WithdrawRating():
            return ratings.rate(command, principal, streams)
        case SignUp():
            return accounts.sign_up(command, streams)
        case CreateExternalUser():
            return accounts.create_external_user(command, streams)
        case ChangeRole() | ChangeProfile() | ChangePassword():
            return accounts.change_user(command, streams)
        case VerifyEmail():
            return accounts.verify_email(command, streams)
        case EraseUser():
            return accounts.erase(command, streams)
        case EndSession():
            return accounts.end_session(command, streams)
        case CreateMovie() | ChangeMovieDetails():
            return movies.change_movie(command, streams)
        case MergeMovie():
            return movies.merge_movie(command, streams)
        case StartWithdrawal():
            return movies.start_withdrawal(command, streams)
        case CompleteMerge() | EndWithdrawal():
            return movies.settle_closed_movie(command, streams)
        case MoveRating():
            return ratings.move_rating(command, streams)
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
