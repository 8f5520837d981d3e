"""Rate limits by caller, and of failed log-ins; each process counts for itself.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_api.deciding.principal import Principal
from shared.errors import TooManyRequests
from shared.web.addresses import address_of
from shared.web.token_buckets import Buckets, Level

WINDOW_S = 60
LOG_IN_WINDOW_S = 300
# A request costs one token for each of its rows, and at least one for so many bytes of its body.
# The largest bulk request costs 32,768, so that the default limits grant it.
BYTES_A_TOKEN = 512
# In a request's state.
_LEFT = "rate_limit"
_CHARGED = "rate_charged"
_BODY_BYTES = "body_bytes"


class RateLimits:
    """How many requests and rows a minute a caller may send: a member, a service key, an
    address.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        """`limits` maps `member`, `service` and `anonymous` to tokens a minute; 0 is no limit."""
        self._buckets = {
            policy: Buckets(limit, window_s=WINDOW_S) for policy, limit in limits.items()
        }

    def charge(self, scope: Scope, principal: Principal) -> None:
        """Charge a request by its body's bytes, but one token where nobody's body may be large;
        raises `TooManyRequests`. Leaves the header fields of the answer.
        """
        tokens = 1
        if principal.actor is not None:
            tokens = -(-_body_bytes_of(scope) // BYTES_A_TOKEN) or 1
        scope["state"][_CHARGED] = tokens
        self._take(scope, principal, tokens, in_all=tokens)

    def charge_rows(self, scope: Scope, principal: Principal, rows: int) -> None:
        """Charge what a bulk request's rows, or a body that did not say its bytes before, cost more
        than has been charged.
        """
        tokens = max(rows, -(-_body_bytes_of(scope) // BYTES_A_TOKEN))
        more = tokens - scope["state"].get(_CHARGED, 0)
        if more > 0:
            self._take(scope, principal, more, in_all=tokens)

    def require_room(self, scope: Scope) -> None:
        """Raises `TooManyRequests` where the address may send no request without a credential."""
        wait_s = self._buckets["anonymous"].wait_s(address_of(scope))
        if wait_s:
            raise TooManyRequests("too many requests from this address", retry_after_s=wait_s)

    def _take(self, scope: Scope, principal: Principal, tokens: int, *, in_all: int) -> None:
        policy = type(principal).__name__.lower() if principal.actor else "anonymous"
        buckets = self._buckets[policy]
        if buckets.limit == 0:
            return
        level = buckets.take(principal.actor or address_of(scope), tokens)
        scope["state"][_LEFT] = (
            f'"{policy}";q={buckets.limit};w={WINDOW_S}',
            f'"{policy}";r={level.remaining};t={level.full_in_s}',
        )
        if level.retry_after_s:
            raise _refusal(level, in_all, buckets.limit)


def _refusal(level: Level, tokens: int, limit: int) -> TooManyRequests:
    detail = f"more than {limit} requests or rows in {WINDOW_S} seconds"
    if tokens > limit:
        detail = f"this costs {tokens} of {limit} requests or rows in {WINDOW_S} seconds: send less"
    return TooManyRequests(detail, retry_after_s=level.retry_after_s)


def note_body_bytes(scope: Scope, body_bytes: int) -> None:
    """Note the bytes of a body that has been read, for a charge to come."""
    scope["state"][_BODY_BYTES] = body_bytes


def _body_bytes_of(scope: Scope) -> int:
    """What has been noted, or what the client announces; 0 where it does not."""
    noted: int | None = scope["state"].get(_BODY_BYTES)
    if noted is not None:
        return noted
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isascii() and value.isdigit() else 0
    return 0


class LogInLimits:
    """How many log-ins may fail in five minutes: from one address, and from it for one account.

    Nobody is kept out by what fails at another address.
    """

    def __init__(self, *, per_account: int, per_address: int) -> None:
        self._accounts = Buckets(per_account, window_s=LOG_IN_WINDOW_S)
        self._addresses = Buckets(per_address, window_s=LOG_IN_WINDOW_S)

    @contextmanager
    def attempt(self, request: Request, account: str) -> Iterator[Attempt]:
        """An attempt with a password, which counts if it is said to have failed; raises
        `TooManyRequests`.

        It counts while it lasts, so that many at once are no way around. An attempt that ends
        otherwise than by its password, or that is cancelled, is given back.
        """
        self.begin(request, account)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            if not attempt.has_failed:
                self.give_back(request, account)

    @contextmanager
    def attempt_with_key(self, request: Request, key_id: str) -> Iterator[Attempt]:
        """The same for an API key: its secret is not to be guessed, so that a wrong one counts for
        the key alone, and not for the address.
        """
        account = (address_of(request.scope), key_id)
        _require(self._accounts.take(account).retry_after_s)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            if not attempt.has_failed:
                self._accounts.give_back(account)

    def begin(self, request: Request, account: str) -> None:
        """Count an attempt until it is given back; raises `TooManyRequests`."""
        address = address_of(request.scope)
        _require(self._addresses.take(address).retry_after_s)
        wait_s = self._accounts.take((address, account)).retry_after_s
        if wait_s:
            self._addresses.give_back(address)
        _require(wait_s)

    def give_back(self, request: Request, account: str) -> None:
        address = address_of(request.scope)
        self._addresses.give_back(address)
        self._accounts.give_back((address, account))


class Attempt:
    """One log-in on its way."""

    has_failed = False

    def failed(self) -> None:
        """The credential was wrong."""
        self.has_failed = True


def _require(wait_s: int) -> None:
    if wait_s:
        raise TooManyRequests("too many log-ins have failed", retry_after_s=wait_s)


class RateLimitHeaders:
    """Sets the header fields that `RateLimits` has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *rate_limit_fields(scope)]
            await send(message)

        if scope["type"] == "http":
            await self._app(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send)


def rate_limit_fields(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What `RateLimits.charge` has left for the answer."""
    fields = scope["state"].get(_LEFT)
    if fields is None:
        return []
    policy, level = fields
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", level.encode())]
