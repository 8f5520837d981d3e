"""Users: sign-up, profile, password, role, erasure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from command_api.bodies.answers import AnyExportAnswer, RowsAnswer, UserAnswer
from command_api.bodies.bounded_json import Either
from command_api.bodies.idempotency_key import Idempotent
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import (
    ACCOUNT_BYTES_MAX,
    BULK_USERS_BYTES_MAX,
    EXTERNAL_USER_BYTES_MAX,
    ExternalUserBody,
    ExternalUsersBody,
    PasswordBody,
    ProfileBody,
    RoleBody,
    SignUpBody,
)
from command_api.bulk.requests import BulkJson, BulkRequests, RowKind
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import require_scope
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    CreateExternalUser,
    SignUp,
    User,
)
from command_api.http.commands import (
    CHANGED,
    DONE,
    STALE,
    Commands,
    Conditional,
    answer,
    answered,
    creation,
)
from command_api.identity.access import (
    ERASERS,
    MEMBERS,
    ROLE_GIVERS,
    SIGN_UP,
    USER_IMPORTERS,
)
from command_api.identity.accounts import Account, Accounts
from command_api.identity.limits import LogInLimits
from command_api.identity.passwords import Passwords
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.privacy.export import Export
from command_api.privacy.rating_files import ZIP, ExportFormat, File
from shared.errors import Conflict, Forbidden, InvalidInput, NotAuthenticated, StarfoldError
from shared.ids import UserId, new_uuid7
from shared.web.answer import JSON, Answer, AnswerKind, bytes_answer
from shared.web.operation import KEY_POINTER, Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid

log = structlog.get_logger()

Plain = Request[Parameters, None]


class WantedExport(Parameters):
    format: ExportFormat = "json"


class NamedUser(Idempotent):
    user_id: CanonicalUuid


class ProfileChange(Idempotent, Conditional):
    """Parameters of a change of the caller's own profile."""


class Erasure(NamedUser, Conditional):
    """Parameters of the erasure of a user, optionally only of a given version."""


class Users:
    def __init__(
        self,
        commands: Commands,
        bulk: BulkRequests,
        accounts: Accounts,
        passwords: Passwords,
        log_in_limits: LogInLimits,
        export: Export,
        erasure_ledger: ErasureLedger | None,
    ) -> None:
        self._commands = commands
        self._bulk = bulk
        self._accounts = accounts
        self._passwords = passwords
        self._log_in_limits = log_in_limits
        self._export = export
        self._erasure_ledger = erasure_ledger

    @operation(
        "POST",
        "/v1/users",
        tag="users",
        access=SIGN_UP,
        parameters=Idempotent,
        body=JsonBody(SignUpBody, ACCOUNT_BYTES_MAX, Either("external_id", ExternalUserBody)),
        answers={
            201: answered("The user is new", UserAnswer, ("Location",)),
            200: answered("A user with this external id exists", UserAnswer),
            403: AnswerKind("This caller may not create users with an `external_id`."),
            409: AnswerKind("The e-mail address is taken, or the external user was erased."),
        },
    )
    async def sign_up(self, request: Request[Idempotent, SignUpBody | ExternalUserBody]) -> Answer:
        """Sign up with an e-mail address and a password, or create an external user.

        The latter needs a service key. If the external user exists already, the answer is 200 with
        their id. The repeat of a sign-up with its Idempotency-Key gets the first one's id, whatever
        the password.
        """
        body = request.body
        if isinstance(body, ExternalUserBody):
            require_scope(request.caller.principal, "users")
            external = self._accounts.external_user(
                body.external_id, body.display_name, self._commands.now()
            )
            outcome = await self._commands.send_once(external, request)
        else:
            address = request.caller.address
            self._log_in_limits.require_room(address)
            email_stream = self._accounts.email_stream(body.email)
            command = SignUp(
                user_id=UserId(new_uuid7()),
                email=body.email,
                email_stream=email_stream,
                password_hash=await self._passwords.hash(body.password, address=address),
                display_name=body.display_name,
                now=self._commands.now(),
            )
            try:
                # Nothing of the password is stored with the key, not even a keyed hash.
                outcome = await self._commands.send_once(
                    command, request, owner=email_stream, content=body.display_name.encode()
                )
            except Conflict:
                self._log_in_limits.note_taken(address)
                raise
        return creation(outcome, {"user_id": outcome.subject}, f"/v1/users/{outcome.subject}")

    @operation(
        "POST",
        "/v1/users/batch",
        tag="users",
        access=USER_IMPORTERS.lately,
        parameters=Idempotent,
        body=BulkJson(ExternalUsersBody, BULK_USERS_BYTES_MAX),
        answers={200: answered("A result for each row", RowsAnswer)},
    )
    async def create_external_users(self, request: Request[Idempotent, None]) -> Answer:
        """Create up to 1,000 external users at once (service keys with the scope `users`)."""

        def command_of(row: ExternalUserBody) -> CreateExternalUser:
            now = self._commands.now()
            return self._accounts.external_user(row.external_id, row.display_name, now)

        kind = RowKind(ExternalUserBody, EXTERNAL_USER_BYTES_MAX, subject="user_id")
        return await self._bulk.commit(request, kind, command_of)

    @operation(
        "PATCH",
        "/v1/users/me",
        tag="users",
        access=MEMBERS,
        parameters=ProfileChange,
        body=JsonBody(ProfileBody, ACCOUNT_BYTES_MAX),
        answers=CHANGED | STALE,
    )
    async def change_profile(self, request: Request[ProfileChange, ProfileBody]) -> Answer:
        """Change the caller's display name or visibility."""
        command = ChangeProfile(
            user_id=request.caller.member.user_id,
            display_name=request.body.display_name,
            visibility=request.body.visibility,
            condition=request.parameters.condition,
            now=self._commands.now(),
        )
        return answer(await self._commands.send_once(command, request))

    @operation(
        "PUT",
        "/v1/users/me/password",
        tag="users",
        access=MEMBERS.first,
        body=JsonBody(PasswordBody, ACCOUNT_BYTES_MAX),
        answers=DONE
        | {
            403: AnswerKind("The old password is wrong."),
            409: AnswerKind("The password was changed at the same time."),
        },
    )
    async def change_password(self, request: Request[Parameters, PasswordBody]) -> Answer:
        """Change the caller's password, given the old one; the caller's other sessions end."""
        member, address = request.caller.member, request.caller.address
        with self._log_in_limits.attempt(address, str(member.user_id)) as attempt:
            account = await self._accounts.by_id(member.user_id)
            old_hash = account.user.password_hash if account else None
            if not await self._passwords.matches(old_hash, request.body.old, address=address):
                attempt.failed()
        if attempt.has_failed or old_hash is None:
            raise Forbidden("the old password is wrong", pointer="/old")
        command = ChangePassword(
            user_id=member.user_id,
            password_hash=await self._passwords.hash(request.body.new, address=address),
            replaces=old_hash,
            kept_session=member.session_id,
            now=self._commands.now(),
        )
        return answer(await self._commands.send(command, request))

    @operation(
        "DELETE",
        "/v1/users/me",
        tag="users",
        access=MEMBERS,
        parameters=Conditional,
        answers=DONE | STALE,
    )
    async def erase_me(self, request: Request[Conditional, None]) -> Answer:
        """Erase the caller: personal data becomes unreadable, scores stay in the averages."""
        account = await self._accounts.by_id(request.caller.member.user_id)
        if account is None:
            raise NotAuthenticated("the user of this access token no longer exists")
        return await self._erase(account, request, self._commands.send)

    @operation(
        "DELETE",
        "/v1/users/{user_id}",
        tag="users",
        access=ERASERS,
        parameters=Erasure,
        answers=DONE | STALE,
    )
    async def erase_user(self, request: Request[Erasure, None]) -> Answer:
        """Erase a user on their request, with a password or without.

        Operators, and service keys with the scope `erasure`.
        """
        user_id, key = UserId(request.parameters.user_id), request.parameters.idempotency_key
        if key is not None and user_id == request.caller.principal.actor:
            raise InvalidInput(
                "no answer can be kept for a user who erases themselves", pointer=KEY_POINTER
            )
        account = await self._accounts.by_id(user_id)
        if account is None:
            # An unauthorized caller gets the same refusal, so it does not reveal whether the user
            # exists.
            account = Account(user_id, User())
        return await self._erase(account, request, self._commands.send_once)

    @operation(
        "GET",
        "/v1/users/me/export",
        tag="users",
        access=MEMBERS.first,
        parameters=WantedExport,
        answers={
            200: AnswerKind(
                "The document, as a file",
                AnyExportAnswer,
                ("Cache-Control", "Content-Disposition"),
                other_media_types=("text/csv", ZIP),
            )
        },
    )
    async def export_me(self, request: Request[WantedExport, None]) -> Answer:
        """Return all stored data of the caller as JSON: account, sessions, ratings with history.

        Other formats hold the current ratings only: `csv` for a spreadsheet, `letterboxd` as CSV of
        at most 1 MB a file (a ZIP if it takes several), `trakt` as JSON.
        """
        user_id, kind = request.caller.member.user_id, request.parameters.format
        if kind == "json":
            file = File("starfold-export.json", JSON, await self._export.of(user_id))
        else:
            file = await self._export.ratings_of(user_id, kind)
        made = bytes_answer(file.content, file.media_type).with_field(b"cache-control", "no-store")
        return made.with_field(b"content-disposition", f'attachment; filename="{file.name}"')

    @operation(
        "PUT",
        "/v1/users/{user_id}/role",
        tag="users",
        access=ROLE_GIVERS,
        parameters=NamedUser,
        body=JsonBody(RoleBody, ACCOUNT_BYTES_MAX),
        answers=DONE,
    )
    async def change_role(self, request: Request[NamedUser, RoleBody]) -> Answer:
        """Give a user another role (operators, and service keys with the scope `roles`)."""
        command = ChangeRole(
            user_id=UserId(request.parameters.user_id),
            role=request.body.role,
            now=self._commands.now(),
        )
        return answer(await self._commands.send_once(command, request))

    async def _erase(
        self, account: Account, request: Request[Any, None], send: Callable[..., Awaitable[Outcome]]
    ) -> Answer:
        command = self._accounts.erasure(
            account, self._commands.now(), request.parameters.condition
        )
        outcome = await send(command, request)
        await self._note_erasure()
        return answer(outcome)

    async def _note_erasure(self) -> None:
        """Write the ledger; if it fails, upkeep does it later, and the user is erased anyway."""
        if self._erasure_ledger is None:
            return
        try:
            await self._erasure_ledger.note()
        except (StarfoldError, OSError):
            log.exception("erasure_not_noted")
