"""Rate limits by caller, and of failed log-ins; each process counts for itself.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_api.buckets import Buckets
from command_api.principal import Principal
from shared.errors import TooManyRequests

WINDOW_S = 60
LOG_IN_WINDOW_S = 300
# Who has one IPv6 address usually has all of its /64.
_IPV6_SITE_BITS = 64
# In a request's state.
_LEFT = "rate_limit"


class RateLimits:
    """How many requests a minute a caller may send: a member, a service key, an address."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """`limits` maps `member`, `service` and `anonymous` to requests a minute; 0 is no limit."""
        self._buckets = {
            policy: Buckets(limit, window_s=WINDOW_S) for policy, limit in limits.items()
        }

    def charge(self, scope: Scope, principal: Principal) -> None:
        """Count a request; raises `TooManyRequests`. Leaves the header fields of the answer."""
        policy = type(principal).__name__.lower() if principal.actor else "anonymous"
        buckets = self._buckets[policy]
        if buckets.limit == 0:
            return
        level = buckets.take(principal.actor or address_of(scope))
        scope["state"][_LEFT] = (
            f'"{policy}";q={buckets.limit};w={WINDOW_S}',
            f'"{policy}";r={level.remaining};t={level.full_in_s}',
        )
        if level.retry_after_s:
            raise TooManyRequests(
                f"more than {buckets.limit} requests in {WINDOW_S} seconds",
                retry_after_s=level.retry_after_s,
            )


class LogInLimits:
    """How many log-ins may fail in five minutes: from one address, and from it for one account.

    Nobody is kept out by what fails at another address.
    """

    def __init__(self, *, per_account: int, per_address: int) -> None:
        self._accounts = Buckets(per_account, window_s=LOG_IN_WINDOW_S)
        self._addresses = Buckets(per_address, window_s=LOG_IN_WINDOW_S)

    def begin(self, request: Request, account: str) -> None:
        """Count an attempt as failed until it succeeds; raises `TooManyRequests`."""
        address = address_of(request.scope)
        wait_s = self._addresses.take(address).retry_after_s
        if not wait_s:
            wait_s = self._accounts.take((address, account)).retry_after_s
            if wait_s:
                self._addresses.give_back(address)
        if wait_s:
            raise TooManyRequests("too many log-ins have failed", retry_after_s=wait_s)

    def succeeded(self, request: Request, account: str) -> None:
        address = address_of(request.scope)
        self._addresses.give_back(address)
        self._accounts.give_back((address, account))


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


def address_of(scope: Scope) -> str:
    """Where a request comes from, as far as a limit is concerned."""
    client = scope.get("client")
    host = client[0] if client else ""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    site = ipaddress.IPv6Network((int(address), _IPV6_SITE_BITS), strict=False)
    return str(address.ipv4_mapped or site)
