"""Sessions: log-in with a password or an API key, refresh, list, log-out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
import structlog
from pydantic import Field

from command_api.bodies.answers import SessionAnswer, SessionsAnswer
from command_api.bodies.bounded_json import Either
from command_api.bodies.idempotency_key import Idempotent
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import (
    ACCOUNT_BYTES_MAX,
    KeyLogInBody,
    LogInBody,
    RefreshBody,
)
from command_api.commit.pending_command import Outcome
from command_api.deciding.credentials import canonical_email
from command_api.deciding.principal import Member, Service, session_of
from command_api.deciding.session import EndSession
from command_api.deciding.user import ChangePassword
from command_api.http.commands import DONE, Commands, answer
from command_api.identity.access import MEMBERS, PUBLIC, SESSION_ENDERS, SESSIONS
from command_api.identity.accounts import Account, Accounts
from command_api.identity.authentication import API_KEY_PREFIX, Authentication, key_id_of
from command_api.identity.limits import LogInLimits
from command_api.identity.passwords import Passwords
from command_api.identity.sessions import Holder, Session
from command_api.identity.sessions import Sessions as SessionStore
from shared.errors import (
    Forbidden,
    NotAuthenticated,
    NotFound,
    Overloaded,
    StarfoldError,
    TooManyRequests,
)
from shared.ids import NO_VERSION, START, UserId, Version, sessions_stream_id
from shared.log.events import Role
from shared.web.addresses import network_of
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Header, Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid
from shared.web.tokens import TOKEN_LIFETIME_S, TokenIssuer

# Each round ends the sessions of one list. A user who logs in meanwhile is not waited for.
ENDING_ROUNDS_MAX = 20

log = structlog.get_logger()


class Device(Parameters):
    """Parameters of a log-in."""

    user_agent: Annotated[
        str | None,
        Header("User-Agent"),
        Field(description="Shown, shortened, in the user's list of sessions."),
    ] = None


class NamedSession(Parameters):
    session_id: CanonicalUuid


class SessionsOfUser(Parameters):
    user_id: CanonicalUuid


LogIn = Request[Device, LogInBody | KeyLogInBody]


class _Bearer(NamedTuple):
    """A token's claims about its bearer; the query API treats a service as anonymous."""

    role: Role
    version: Version = NO_VERSION


class Sessions:
    def __init__(
        self,
        commands: Commands,
        sessions: SessionStore,
        accounts: Accounts,
        passwords: Passwords,
        authentication: Authentication,
        log_in_limits: LogInLimits,
        token_issuer: TokenIssuer,
    ) -> None:
        self._commands = commands
        self._sessions = sessions
        self._accounts = accounts
        self._passwords = passwords
        self._authentication = authentication
        self._log_in_limits = log_in_limits
        self._token_issuer = token_issuer

    @operation(
        "POST",
        "/v1/sessions",
        tag="sessions",
        access=PUBLIC,
        parameters=Device,
        body=JsonBody(LogInBody, ACCOUNT_BYTES_MAX, Either("api_key", KeyLogInBody)),
        answers={
            201: AnswerKind("A session", SessionAnswer, ("Cache-Control",)),
            401: AnswerKind("The password or the key is wrong."),
        },
    )
    async def log_in(self, request: LogIn) -> Answer:
        """Log in with e-mail and password, or with a service's API key.

        An unknown address takes as long as a wrong password. Too many failures are throttled.
        """
        body = request.body
        try:
            if isinstance(body, KeyLogInBody):
                return await self._log_in_service(body.api_key, request)
            return await self._log_in_user(body, request)
        except (NotAuthenticated, TooManyRequests) as error:
            throttled = isinstance(error, TooManyRequests)
            log.warning(
                "log_in_failed",
                account=self._accounts.log_name(_name_in(body)),
                network=network_of(request.caller.address),
                request_id=str(request.request_id),
                reason="throttled" if throttled else "wrong-credential",
            )
            raise

    @operation(
        "POST",
        "/v1/sessions/refresh",
        tag="sessions",
        access=PUBLIC,
        body=JsonBody(RefreshBody, ACCOUNT_BYTES_MAX),
        answers={
            200: AnswerKind("The next tokens", SessionAnswer, ("Cache-Control",)),
            401: AnswerKind("The session has ended."),
        },
    )
    async def refresh(self, request: Request[Parameters, RefreshBody]) -> Answer:
        """Return a new access token and the next refresh token.

        A repeat within ten seconds gets the same refresh token; one that was used earlier ends the
        session.
        """
        token = request.body.refresh_token
        holder = await self._sessions.holder(token)
        if not holder.reused:
            # Read before the session is found open, so that whatever ends it later is newer than
            # the token.
            bearer = await self._bearer_of(holder)
            session = await self._sessions.refresh(token)
            if session is not None:
                return self._answer(session, bearer)
            # Another request used the token meanwhile, or the session has ended.
            holder = await self._sessions.holder(token)
        if holder.reused:
            log.warning("refresh_token_reused", session_id=str(holder.session_id))
            await self._commands.send(self._ending(holder.session_id, holder.subject_id), request)
        raise NotAuthenticated("the session has ended")

    @operation(
        "DELETE",
        "/v1/sessions/current",
        tag="sessions",
        access=SESSIONS,
        parameters=Idempotent,
        answers=DONE,
    )
    async def log_out(self, request: Request[Idempotent, None]) -> Answer:
        """End the session that the access token comes from.

        The command API refuses the token from then on, the query API as soon as its read model has
        applied the answer's position.
        """
        principal = request.caller.principal
        session_id = session_of(principal)
        if session_id is None and isinstance(principal, Service):
            raise Forbidden("this needs an access token of a session")
        if session_id is None or principal.actor is None:
            raise NotAuthenticated("this needs an access token of a session")
        ending = self._ending(session_id, principal.actor)
        return answer(await self._commands.send_once(ending, request))

    @operation(
        "GET",
        "/v1/users/me/sessions",
        tag="sessions",
        access=MEMBERS.first,
        answers={200: AnswerKind("The sessions", SessionsAnswer, ("Cache-Control",))},
    )
    async def list_sessions(self, request: Request[Parameters, None]) -> Answer:
        """Return the caller's open sessions, last used first, at most 100.

        A session is used when it is refreshed. `user_agent` is what the client that logged in said
        it is; `is_current` marks the session of the access token.
        """
        member = request.caller.member
        sessions = [
            {**one._asdict(), "is_current": one.session_id == member.session_id}
            for one in await self._sessions.of_user(member.user_id)
        ]
        return json_answer({"sessions": sessions}).with_field(b"cache-control", "no-store")

    @operation(
        "DELETE",
        "/v1/users/me/sessions/{session_id}",
        tag="sessions",
        access=MEMBERS.first,
        parameters=NamedSession,
        answers=DONE | {404: AnswerKind("The caller has no such open session.")},
    )
    async def end_session(self, request: Request[NamedSession, None]) -> Answer:
        """End one of the caller's sessions, with its tokens, as a log-out does."""
        member, session_id = request.caller.member, request.parameters.session_id
        if not await self._sessions.belongs_to(session_id, member.user_id):
            raise NotFound(f"you have no open session {session_id}")
        ending = self._ending(session_id, member.user_id)
        return answer(await self._commands.send(ending, request))

    @operation(
        "DELETE",
        "/v1/users/{user_id}/sessions",
        tag="sessions",
        access=SESSION_ENDERS,
        parameters=SessionsOfUser,
        answers=DONE,
    )
    async def end_sessions(self, request: Request[SessionsOfUser, None]) -> Answer:
        """End all sessions of a user, with their tokens.

        Operators, and service keys with the scope `operate`.
        """
        user_id = UserId(request.parameters.user_id)
        account = await self._accounts.by_id(user_id)
        if account is None:
            raise NotFound(f"there is no user {user_id}")
        # An operator may end the session of this request too.
        principal = msgspec.structs.replace(request.caller.principal, session_id=None)
        position, ended = START, set[UUID]()
        for _ in range(ENDING_ROUNDS_MAX):
            listed = {one.session_id for one in await self._sessions.of_user(user_id)}
            still = listed - ended
            if not still:
                return answer(Outcome("changed", user_id, position))
            endings = (self._ending(session_id, user_id) for session_id in still)
            outcomes = await asyncio.gather(
                *(self._commands.send(ending, request, principal) for ending in endings)
            )
            position = max(position, *(outcome.position for outcome in outcomes))
            ended |= still
        raise Overloaded("the user has more open sessions: send the request again")

    async def _log_in_user(self, body: LogInBody, request: LogIn) -> Answer:
        email, address = canonical_email(body.email), request.caller.address
        with self._log_in_limits.attempt(address, email) as attempt:
            account = await self._accounts.by_email(email)
            password_hash = account.user.password_hash if account else None
            if not await self._passwords.matches(password_hash, body.password, address=address):
                attempt.failed()
        if attempt.has_failed or account is None:
            raise NotAuthenticated("the e-mail address or the password is wrong")
        session, current = await self._sessions.open_for_user(
            account, request.parameters.user_agent
        )
        await self._rehash(current, body.password, request)
        bearer = _Bearer(current.user.role, current.version)
        return self._answer(session, bearer, HTTPStatus.CREATED)

    async def _log_in_service(self, api_key: str, request: LogIn) -> Answer:
        key_id, address = key_id_of(api_key).hex, request.caller.address
        with self._log_in_limits.attempt_with_key(address, key_id) as attempt:
            try:
                service = await self._authentication.service(api_key, address)
            except NotAuthenticated:
                attempt.failed()
                raise
        user_agent = request.parameters.user_agent
        session = await self._sessions.open_for_service(service.key_id, user_agent)
        return self._answer(session, _Bearer("member"), HTTPStatus.CREATED)

    def _ending(self, session_id: UUID, subject_id: UUID) -> EndSession:
        return EndSession(
            session_id=session_id,
            subject_id=subject_id,
            sessions_stream=sessions_stream_id(subject_id),
            now=self._commands.now(),
        )

    async def _rehash(self, account: Account, password: str, request: LogIn) -> None:
        """Hash the password again if the settings now require more; a log-in never fails by it."""
        old_hash = account.user.password_hash
        if old_hash is None or not self._passwords.needs_rehash(old_hash):
            return
        try:
            command = ChangePassword(
                user_id=account.user_id,
                password_hash=await self._passwords.hash(password, address=request.caller.address),
                replaces=old_hash,
                ends_sessions=False,
                now=self._commands.now(),
            )
            await self._commands.send(command, request, Member(account.user_id))
        except StarfoldError as error:
            log.info("rehash_postponed", user_id=str(account.user_id), reason=error.code)

    async def _bearer_of(self, holder: Holder) -> _Bearer:
        """Raise `NotAuthenticated` for a missing user and for a revoked key."""
        if holder.service:
            await self._authentication.known_service(holder.subject_id)
            return _Bearer("member")
        account = await self._accounts.by_id(UserId(holder.subject_id))
        if account is None:
            raise NotAuthenticated("the session has ended")
        return _Bearer(account.user.role, account.version)

    def _answer(
        self, session: Session, bearer: _Bearer, status: HTTPStatus = HTTPStatus.OK
    ) -> Answer:
        token = self._token_issuer.issue(
            UserId(session.subject_id),
            bearer.role,
            now_s=self._commands.now().timestamp(),
            session_id=session.session_id,
            service=session.service,
            version=bearer.version,
        )
        value = {
            "access_token": token,
            "refresh_token": session.refresh_token,
            "token_type": "Bearer",
            "expires_in_s": TOKEN_LIFETIME_S,
        }
        return json_answer(value, status).with_field(b"cache-control", "no-store")


def _name_in(body: LogInBody | KeyLogInBody) -> str:
    """Return the e-mail address, or the key's id."""
    if isinstance(body, LogInBody):
        return canonical_email(body.email)
    return body.api_key.removeprefix(API_KEY_PREFIX).partition("_")[0]
