"""Sessions of browsers: the tokens in cookies that no script can read."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from starfold_client import AsyncStarfold
from starfold_client.answers import Session
from starfold_client.errors import ClientError, NotAuthenticated

# The browser forgets an access token this long before it ends, so that the next request renews it.
RENEW_BEFORE_S = 60.0
REFRESH_TOKEN_MAX_AGE_S = 30 * 86_400
# A browser that sends several requests at once gets the tokens of one renewal for all of them.
RENEWED_FOR_S = 10.0
# Read models have caught up by then; until then, reads wait for the visitor's own writes.
POSITION_MAX_AGE_S = 60
USER_AGENT_CHARS_MAX = 400


class _Claims(msgspec.Struct):
    sub: UUID


@dataclass
class Visitor:
    """The sender of a request: the client that calls the APIs for them, and their cookies."""

    client: AsyncStarfold
    sent: Session | None
    sent_position: int
    user_agent: str

    async def log_in(self, email: str, password: str) -> None:
        """Log in, so that the list of the member's sessions names their browser."""
        await self.client.log_in(email=email, password=password, user_agent=self.user_agent)

    @property
    def is_logged_in(self) -> bool:
        return self.client.session is not None

    @property
    def user_id(self) -> UUID | None:
        """The account of the session; None if nobody is logged in.

        The signature of the token is not checked: the APIs refuse a token that somebody changed.
        """
        session = self.client.session
        if session is None:
            return None
        payload = session.access_token.split(".")[1:2]
        try:
            text = base64.urlsafe_b64decode("".join(payload) + "==")
            return msgspec.json.decode(text, type=_Claims).sub
        except (ValueError, msgspec.DecodeError):
            return None


class Sessions:
    """Makes the visitor of a request, and stores their tokens in the answer.

    Cookies belong to a host, not to its port: the site's name keeps those of two sites apart.
    """

    def __init__(self, client: AsyncStarfold, site: str, *, secure: bool) -> None:
        self._client = client
        self._secure = secure
        prefix = f"{'__Host-' if secure else ''}starfold_{site}"
        self._access = f"{prefix}_access"
        self._refresh = f"{prefix}_refresh"
        self._position = f"{prefix}_position"
        self._renewals: dict[str, tuple[float, asyncio.Task[Session]]] = {}

    async def visitor(self, request: Request) -> Visitor:
        """Return who sent the request; their tokens are renewed if the access token has ended."""
        sent = self._sent(request)
        session = sent
        address = request.client.host if request.client else None
        if sent is not None and not sent.access_token:
            try:
                session = await self._renewed(sent.refresh_token, address)
            except NotAuthenticated:
                session = None
        position = _whole(request.cookies.get(self._position, ""))
        client = self._client.for_caller(session=session, position=position, forwarded_for=address)
        user_agent = _ascii(request.headers.get("user-agent", ""))[:USER_AGENT_CHARS_MAX]
        return Visitor(client, sent, position, user_agent or "browser")

    def store(self, visitor: Visitor, response: Response) -> None:
        """Set the cookies that differ from those that the request came with."""
        session = visitor.client.session
        if session is None:
            if visitor.sent is not None:
                self._delete(response)
        elif session != visitor.sent:
            lasts_s = int(min(session.expires_in_s - RENEW_BEFORE_S, REFRESH_TOKEN_MAX_AGE_S))
            if lasts_s > 0:
                self._set(response, self._access, session.access_token, lasts_s)
            self._set(response, self._refresh, session.refresh_token, REFRESH_TOKEN_MAX_AGE_S)
        if visitor.client.position > visitor.sent_position:
            position = str(visitor.client.position)
            self._set(response, self._position, position, POSITION_MAX_AGE_S)

    def _sent(self, request: Request) -> Session | None:
        refresh_token = request.cookies.get(self._refresh)
        if not refresh_token:
            return None
        return Session(request.cookies.get(self._access, ""), refresh_token)

    async def _renewed(self, refresh_token: str, address: str | None) -> Session:
        """Renew the tokens once for all requests that come with the same ones."""
        now = time.monotonic()
        # The oldest come first.
        while self._renewals and next(iter(self._renewals.values()))[0] < now:
            del self._renewals[next(iter(self._renewals))]
        _, renewal = self._renewals.get(refresh_token, (0.0, None))
        if renewal is None:
            renewal = asyncio.create_task(self._renew(refresh_token, address))
            self._renewals[refresh_token] = now + RENEWED_FOR_S, renewal
        return await asyncio.shield(renewal)

    async def _renew(self, refresh_token: str, address: str | None) -> Session:
        client = self._client.for_caller(session=Session("", refresh_token), forwarded_for=address)
        try:
            await client.renew()
        except ClientError:
            # A later request tries again.
            self._renewals.pop(refresh_token, None)
            raise
        assert client.session is not None
        return client.session

    def _set(self, response: Response, name: str, value: str, max_age_s: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=max_age_s,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def _delete(self, response: Response) -> None:
        for name in (self._access, self._refresh, self._position):
            response.delete_cookie(
                name, path="/", secure=self._secure, httponly=True, samesite="strict"
            )


def _ascii(text: str) -> str:
    """Return what of a text may stand in a header field."""
    return "".join(one for one in text if " " <= one <= "~").strip()


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0
