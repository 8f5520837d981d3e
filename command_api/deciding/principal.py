"""The sender of a command, and their permissions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args
from uuid import UUID

import msgspec

from command_api.deciding.user import User
from shared.errors import Forbidden, NotAuthenticated
from shared.ids import UserId
from shared.log.events import Role

Scope = Literal["users", "ratings", "movies", "roles", "erasure", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Member(msgspec.Struct, frozen=True):
    """A user with an access token.

    Their role is not taken from the token but loaded with each batch.
    """

    user_id: UserId
    # The session of the token; None for a token without one.
    session_id: UUID | None = None

    @property
    def actor(self) -> UUID:
        return self.user_id


class Service(msgspec.Struct, frozen=True):
    """A program with an API key and the permissions of its scopes."""

    key_id: UUID
    scopes: frozenset[str]
    # The session of an access token issued for the API key.
    session_id: UUID | None = None

    @property
    def actor(self) -> UUID:
        return self.key_id


class Anyone(msgspec.Struct, frozen=True):
    """A caller without credentials, who may sign up and log in."""

    @property
    def actor(self) -> None:
        return None


class Console(msgspec.Struct, frozen=True):
    """An operator with the settings' secrets; no request has this principal."""

    @property
    def actor(self) -> None:
        return None


Principal = Member | Service | Anyone | Console


def session_of(principal: Principal) -> UUID | None:
    return principal.session_id if isinstance(principal, Member | Service) else None


def require_member(principal: Principal) -> Member:
    """Raise `NotAuthenticated` without a credential, `Forbidden` for a service."""
    match principal:
        case Member():
            return principal
        case Service():
            raise Forbidden("this needs a user's access token")
        case _:
            raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")


def require_session(principal: Principal, open_sessions: Collection[UUID]) -> None:
    """Raise `NotAuthenticated` for a token whose session is not among the open ones."""
    session_id = session_of(principal)
    if session_id is not None and session_id not in open_sessions:
        raise NotAuthenticated("the session of this access token has ended")


def require_scope(principal: Principal, scope: Scope) -> None:
    """Require a service key with the scope.

    Raises `Forbidden` for a service key without the scope and for a member, `NotAuthenticated`
    without a credential.
    """
    if isinstance(principal, Anyone):
        raise NotAuthenticated(f"this needs a service key with the scope {scope!r}")
    if not isinstance(principal, Service) or scope not in principal.scopes:
        raise Forbidden(f"this needs a service key with the scope {scope!r}")


def require_role(user: User, allowed: frozenset[Role]) -> None:
    """Raise `NotAuthenticated` for a missing user, `Forbidden` for one without the role."""
    if not user.present:
        raise NotAuthenticated("the user of this access token no longer exists")
    if user.role not in allowed:
        raise Forbidden(f"this needs the role {' or '.join(sorted(allowed))}")


def acting_user(principal: Principal, named: UserId | None) -> UserId:
    """Return the user whose rating it is: the member, or the user that a service names.

    Raises `Forbidden` for a member who names another user and for a service without the scope
    `ratings`. The command decides that a service rates for external users only.
    """
    match principal:
        case Member(user_id):
            if named is not None and named != user_id:
                raise Forbidden("members can only rate for themselves", pointer="/user_id")
            return user_id
        case Service():
            require_scope(principal, "ratings")
            if named is None:
                raise Forbidden(
                    "with a service key, name the user whose rating it is", pointer="/user_id"
                )
            return named
        case _:
            raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")
