"""The rules of a user: sign-up, profile, password, role, erasure."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from shared.errors import Conflict, Forbidden, NotFound
from shared.ids import StreamId, UserId
from shared.log.events import (
    EmailVerified,
    Role,
    UserCreated,
    UserErased,
    UserPasswordChanged,
    UserProfileChanged,
    UserRoleChanged,
    Visibility,
)
from shared.versions import Condition, profile_version

UserChanged = UserProfileChanged | UserPasswordChanged | UserRoleChanged
UserEvent = UserCreated | UserChanged | EmailVerified | UserErased


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The current user; all defaults if the user does not exist or has been erased."""

    exists: bool = False
    erased: bool = False
    role: Role = "member"
    visibility: Visibility = "public"
    display_name: str | None = None
    email: str | None = None
    email_verified: bool = False
    password_hash: str | None = None
    external_id: str | None = None
    # Created by a service, without a password; known even if no personal data is opened.
    external: bool = False

    def version(self) -> str:
        """Return the version of the user's public profile."""
        return profile_version(self.display_name, self.visibility)

    @property
    def present(self) -> bool:
        return self.exists and not self.erased


class SignUp(msgspec.Struct, frozen=True, kw_only=True):
    """Become a user with an e-mail address; `email_stream` is the address's reservation."""

    user_id: UserId
    email: str
    email_stream: StreamId
    password_hash: str
    display_name: str
    now: datetime


class CreateExternalUser(msgspec.Struct, frozen=True, kw_only=True):
    """Create a user with another system's id; `external_stream` is that id's reservation.

    `derived_id` is the user that earlier releases, without reservations, created for the same id.
    """

    user_id: UserId
    external_id: str
    external_stream: StreamId
    derived_id: UserId
    display_name: str
    now: datetime


class ChangeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Change the public profile; None leaves a field as it is."""

    user_id: UserId
    display_name: str | None = None
    visibility: Visibility | None = None
    condition: Condition | None = None
    now: datetime


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the password's hash; `replaces` is the hash that verified the old password.

    The same password hashed again ends no sessions, a new one all but `kept_session`.
    """

    user_id: UserId
    password_hash: str
    replaces: str
    ends_sessions: bool = True
    kept_session: UUID | None = None
    now: datetime


class ChangeRole(msgspec.Struct, frozen=True, kw_only=True):
    """Give a user another role."""

    user_id: UserId
    role: Role
    now: datetime


class VerifyEmail(msgspec.Struct, frozen=True, kw_only=True):
    """Prove that the user reads the mail of their address, by a token that was sent there."""

    user_id: UserId
    now: datetime


class EraseUser(msgspec.Struct, frozen=True, kw_only=True):
    """Erase a user.

    The streams are the reservations of their address and of their external id, None without one.
    """

    user_id: UserId
    email_stream: StreamId | None
    external_stream: StreamId | None = None
    condition: Condition | None = None
    now: datetime


ChangeUser = ChangeProfile | ChangePassword | ChangeRole
UserCommand = SignUp | CreateExternalUser | ChangeUser | VerifyEmail | EraseUser


def decide(command: UserCommand, user: User) -> list[UserEvent]:
    """Return the events of a command.

    Raises `Conflict` for an erased id or a password that has changed, `StaleVersion` and
    `NotFound`.
    """
    match command:
        case SignUp() | CreateExternalUser():
            return _create(command, user)
        case ChangeProfile():
            return _change_profile(command, require_present(user, command.user_id))
        case ChangePassword():
            return _change_password(command, require_present(user, command.user_id))
        case ChangeRole():
            if require_present(user, command.user_id).role == command.role:
                return []
            return [UserRoleChanged(user_id=command.user_id, role=command.role)]
        case EraseUser():
            _require_version(require_present(user, command.user_id), command.condition)
            return [UserErased(user_id=command.user_id, erased_at=command.now)]
        case VerifyEmail():
            if require_present(user, command.user_id).email_verified:
                return []
            return [EmailVerified(user_id=command.user_id)]
        case _:
            assert_never(command)


def evolve(user: User, event: UserEvent) -> User:
    match event:
        case UserCreated():
            return User(
                exists=True,
                role=event.role,
                visibility=event.visibility,
                display_name=event.display_name,
                email=event.email,
                password_hash=event.password_hash,
                external_id=event.external_id,
                external=event.external_id is not None,
            )
        case UserProfileChanged():
            return msgspec.structs.replace(
                user, display_name=event.display_name, visibility=event.visibility
            )
        case UserPasswordChanged():
            return msgspec.structs.replace(user, password_hash=event.password_hash)
        case UserRoleChanged():
            return msgspec.structs.replace(user, role=event.role)
        case UserErased():
            return User(exists=True, erased=True)
        case EmailVerified():
            return msgspec.structs.replace(user, email_verified=True)
        case _:
            assert_never(event)


def without_personal(user: User) -> User:
    """Return the user without the data that is sealed in events."""
    return msgspec.structs.replace(
        user, display_name=None, email=None, password_hash=None, external_id=None
    )


def require_present(user: User, user_id: UserId) -> User:
    """Return the user; raise `NotFound` if they do not exist or have been erased."""
    if not user.present:
        raise NotFound(f"there is no user {user_id}")
    return user


def require_external(user: User) -> None:
    """Raise `Forbidden` for a user with a password, who rates for themselves."""
    if not user.external:
        raise Forbidden(
            "a service rates only for users with an external id; this one has a password",
            pointer="/user_id",
        )


def _create(command: SignUp | CreateExternalUser, user: User) -> list[UserEvent]:
    if user.erased:
        raise Conflict(f"user {command.user_id} has been erased")
    if user.exists:
        return []
    match command:
        case SignUp():
            return [
                UserCreated(
                    user_id=command.user_id,
                    display_name=command.display_name,
                    email=command.email,
                    password_hash=command.password_hash,
                    created_at=command.now,
                )
            ]
        case CreateExternalUser():
            return [
                UserCreated(
                    user_id=command.user_id,
                    display_name=command.display_name,
                    external_id=command.external_id,
                    created_at=command.now,
                )
            ]
        case _:
            assert_never(command)


def _require_version(user: User, condition: Condition | None) -> None:
    if condition is not None:
        condition.require(user.version(), "profile")


def _change_profile(command: ChangeProfile, user: User) -> list[UserEvent]:
    _require_version(user, command.condition)
    display_name = command.display_name or user.display_name
    visibility = command.visibility or user.visibility
    if (display_name, visibility) == (user.display_name, user.visibility):
        return []
    return [
        UserProfileChanged(
            user_id=command.user_id, display_name=display_name, visibility=visibility
        )
    ]


def _change_password(command: ChangePassword, user: User) -> list[UserEvent]:
    if user.password_hash != command.replaces:
        raise Conflict("the password was changed at the same time")
    return [
        UserPasswordChanged(
            user_id=command.user_id,
            password_hash=command.password_hash,
            ends_sessions=command.ends_sessions,
            kept_session=command.kept_session if command.ends_sessions else None,
        )
    ]
