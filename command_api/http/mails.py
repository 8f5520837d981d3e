"""Mails: the reset of a forgotten password, and the verification of an e-mail address."""

from __future__ import annotations

from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import (
    ACCOUNT_BYTES_MAX,
    AddressBody,
    NewPasswordBody,
    TokenBody,
)
from command_api.deciding.principal import Member
from command_api.deciding.user import ChangePassword, User, VerifyEmail
from command_api.http.commands import DONE, Commands, answer
from command_api.identity.access import MEMBERS, PUBLIC
from command_api.identity.accounts import Account, Accounts
from command_api.identity.limits import MailLimits
from command_api.identity.mails import MAILS_WITHIN_S, Purpose
from command_api.identity.mails import Mails as RequestedMails
from command_api.identity.passwords import Passwords
from shared.errors import Conflict, NotAuthenticated, NotFound, TooManyRequests
from shared.ids import UserId
from shared.web.answer import Answer, AnswerKind, empty_answer
from shared.web.operation import Parameters, Request, operation

NO_TOKEN = {404: AnswerKind("The token was used, or is too old.")}
CHANGED_MEANWHILE = {409: AnswerKind("The password was changed at the same time.")}


class Mails:
    def __init__(
        self,
        commands: Commands,
        accounts: Accounts,
        passwords: Passwords,
        mails: RequestedMails,
        limits: MailLimits,
    ) -> None:
        self._commands = commands
        self._accounts = accounts
        self._passwords = passwords
        self._mails = mails
        self._limits = limits

    @operation(
        "POST",
        "/v1/password-resets",
        tag="users",
        access=PUBLIC,
        body=JsonBody(AddressBody, ACCOUNT_BYTES_MAX),
        answers={204: AnswerKind("If a user has the address, a mail is on its way.")},
    )
    async def request_password_reset(self, request: Request[Parameters, AddressBody]) -> Answer:
        """Have a link mailed with which a user sets a new password, within 30 minutes.

        The answer and its time are the same whether a user has the address or not.
        """
        self._limits.require(request.caller.address)
        email = request.body.email
        account = await self._accounts.by_email(email)
        if account is None:
            # A user's look-up takes two round trips. The reservation stands in for the user, so
            # that an unknown address is limited like a known one.
            nobody = UserId(self._accounts.email_stream(email))
            await self._accounts.by_id(nobody)
            account = Account(nobody, User())
        await self._mails.request("reset", account)
        return empty_answer()

    @operation(
        "POST",
        "/v1/password-resets/use",
        tag="users",
        access=PUBLIC,
        body=JsonBody(NewPasswordBody, ACCOUNT_BYTES_MAX),
        answers=DONE | NO_TOKEN | CHANGED_MEANWHILE,
    )
    async def reset_password(self, request: Request[Parameters, NewPasswordBody]) -> Answer:
        """Set a new password with the token of a mail, which works once; all sessions end."""
        account = await self._account_of("reset", request.body.token)
        old_hash = account.user.password_hash
        if old_hash is None:
            raise Conflict("this user has no password")
        address = request.caller.address
        command = ChangePassword(
            user_id=account.user_id,
            password_hash=await self._passwords.hash(request.body.password, address=address),
            replaces=old_hash,
            now=self._commands.now(),
        )
        return answer(await self._commands.send(command, request, Member(account.user_id)))

    @operation(
        "POST",
        "/v1/users/me/verification",
        tag="users",
        access=MEMBERS.first,
        answers={204: AnswerKind("A mail is on its way, unless the address is verified.")},
    )
    async def request_verification(self, request: Request[Parameters, None]) -> Answer:
        """Have a link mailed with which the caller verifies their address, within 24 hours."""
        account = await self._accounts.by_id(request.caller.member.user_id)
        if account is None:
            raise NotAuthenticated("the user of this access token no longer exists")
        self._limits.require(request.caller.address)
        if not account.user.email_verified and not await self._mails.request(
            "verification", account
        ):
            raise TooManyRequests(
                "this address was sent enough mails lately", retry_after_s=MAILS_WITHIN_S
            )
        return empty_answer()

    @operation(
        "POST",
        "/v1/verifications",
        tag="users",
        access=PUBLIC,
        body=JsonBody(TokenBody, ACCOUNT_BYTES_MAX),
        answers=DONE | NO_TOKEN,
    )
    async def verify_email(self, request: Request[Parameters, TokenBody]) -> Answer:
        """Verify a user's address with the token of a mail; a repeat changes nothing."""
        account = await self._account_of("verification", request.body.token)
        command = VerifyEmail(user_id=account.user_id, now=self._commands.now())
        return answer(await self._commands.send(command, request, Member(account.user_id)))

    async def _account_of(self, purpose: Purpose, token: str) -> Account:
        account = await self._accounts.by_id(await self._mails.user_of(purpose, token))
        if account is None:
            raise NotFound("the user has been erased")
        return account
