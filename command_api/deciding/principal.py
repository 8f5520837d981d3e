"""Who sends a command, and what that allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal
from uuid import UUID

import msgspec

from command_api.deciding.user import User
from shared.errors import Forbidden, NotAuthenticated
from shared.ids import UserId
from shared.log.events import Role

Scope = Literal["users", "ratings", "movies", "roles", "erasure"]


class Member(msgspec.Struct, frozen=True):
    """A user with an access token. Their role is not believed from the token but loaded with each
    batch.
    """

    user_id: UserId
    # The log-in that the token comes from; None for a token that is of no session.
    session_id: UUID | None = None

    @property
    def actor(self) -> UUID:
        return self.user_id


class Service(msgspec.Struct, frozen=True):
    """A program with an API key, which may do what its scopes say."""

    key_id: UUID
    scopes: frozenset[str]
    # As above, for an access token that was issued for the API key.
    session_id: UUID | None = None

    @property
    def actor(self) -> UUID:
        return self.key_id


class Anyone(msgspec.Struct, frozen=True):
    """No credentials; may sign up and log in."""

    @property
    def actor(self) -> None:
        return None


class Console(msgspec.Struct, frozen=True):
    """An operator with the secrets of the settings at hand; no request ever comes from one."""

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


def require_session(principal: Principal, standing: Collection[UUID]) -> None:
    """Raises `NotAuthenticated` for a token whose session is not among those that stand."""
    session_id = session_of(principal)
    if session_id is not None and session_id not in standing:
        raise NotAuthenticated("the session of this access token has ended")


def require_scope(principal: Principal, scope: Scope) -> None:
    """Raise `Forbidden` for a service key without the scope and for a member, `NotAuthenticated`
    without a credential.
    """
    if isinstance(principal, Anyone):
        raise NotAuthenticated(f"this needs a service key with the scope {scope!r}")
    if not isinstance(principal, Service) or scope not in principal.scopes:
        raise Forbidden(f"this needs a service key with the scope {scope!r}")


def require_role(user: User, allowed: frozenset[Role]) -> None:
    """Raises `NotAuthenticated` for a user who is gone, `Forbidden` for one without such a role."""
    if not user.present:
        raise NotAuthenticated("the user of this access token no longer exists")
    if user.role not in allowed:
        raise Forbidden(f"this needs the role {' or '.join(sorted(allowed))}")


def acting_user(principal: Principal, named: UserId | None) -> UserId:
    """On whose behalf a rating is: one's own, or for a service the user that it names.

    Raises `Forbidden` for a member who names somebody else and for a service without the scope
    `ratings`. That a service rates for external users only is decided with the command.
    """
    match principal:
        case Member(user_id):
            if named is not None and named != user_id:
                raise Forbidden("one rates for oneself", pointer="/user_id")
            return user_id
        case Service():
            require_scope(principal, "ratings")
            if named is None:
                raise Forbidden(
                    "a service key names the user whose rating it is", pointer="/user_id"
                )
            return named
        case _:
            raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")
