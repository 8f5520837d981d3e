"""Rate limits by caller, and of failed log-ins; each process counts for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from command_api.deciding.principal import Anyone, Member, Principal, Service
from shared.errors import TooManyRequests
from shared.web.answer import Fields
from shared.web.token_buckets import Buckets, Level, RateLimit

WINDOW_S = 60
LOG_IN_WINDOW_S = 300
# A request costs one token for each of its rows, and at least one for so many bytes of its body.
# The largest bulk request costs 32,768, so that the default limits grant it.
BYTES_A_TOKEN = 512


_POLICIES: Mapping[type[Principal], str] = {
    Member: "member",
    Service: "service",
    Anyone: "anonymous",
}


class Charge(NamedTuple):
    """What a request costs so far, the header fields of its answer, and why it is refused, if it
    is.
    """

    tokens: int
    fields: Fields
    refusal: TooManyRequests | None = None

    def require(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class RateLimits:
    """How many requests and rows a minute a caller may send: a member, a service key, an
    address.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        """`limits` maps `member`, `service` and `anonymous` to tokens a minute; 0 is no limit."""
        self._limits = {
            policy: RateLimit(policy, Buckets(limit, window_s=WINDOW_S))
            for policy, limit in limits.items()
        }

    def charge(self, address: str, principal: Principal, body_bytes: int) -> Charge:
        """Charge a request by its body's bytes, 0 where it does not say them; one token where
        nobody's body may be large.
        """
        tokens = 1 if principal.actor is None else _tokens(body_bytes) or 1
        return self._take(address, principal, tokens, in_all=tokens)

    def charge_more(
        self, address: str, principal: Principal, before: Charge, *, rows: int, body_bytes: int
    ) -> Charge:
        """Charge what rows, or a body that did not say its bytes before, cost beyond a charge."""
        tokens = max(rows, _tokens(body_bytes))
        if tokens <= before.tokens:
            return before
        return self._take(address, principal, tokens - before.tokens, in_all=tokens)

    def require_room(self, address: str) -> None:
        """Raises `TooManyRequests` where the address may send no request without a credential."""
        wait_s = self._limits["anonymous"].buckets.wait_s(address)
        if wait_s:
            raise TooManyRequests("too many requests from this address", retry_after_s=wait_s)

    def _take(self, address: str, principal: Principal, tokens: int, *, in_all: int) -> Charge:
        limit = self._limits[_POLICIES[type(principal)]]
        fields: Fields = []
        level = limit.take(principal.actor or address, tokens, fields)
        refusal = _refusal(level, in_all, limit.buckets.limit) if level.retry_after_s else None
        return Charge(in_all, fields, refusal)


def _tokens(body_bytes: int) -> int:
    return -(-body_bytes // BYTES_A_TOKEN)


def _refusal(level: Level, tokens: int, limit: int) -> TooManyRequests:
    detail = f"more than {limit} requests or rows in {WINDOW_S} seconds"
    if tokens > limit:
        detail = f"this costs {tokens} of {limit} requests or rows in {WINDOW_S} seconds: send less"
    return TooManyRequests(detail, retry_after_s=level.retry_after_s)


class LogInLimits:
    """How many log-ins may fail in five minutes: from one address, and from it for one account.
    Sign-ups with taken e-mail addresses count for the first.

    Nobody is kept out by what fails at another address.
    """

    def __init__(self, *, per_account: int, per_address: int) -> None:
        self._accounts = Buckets(per_account, window_s=LOG_IN_WINDOW_S)
        self._addresses = Buckets(per_address, window_s=LOG_IN_WINDOW_S)

    @contextmanager
    def attempt(self, address: str, account: str) -> Iterator[Attempt]:
        """An attempt with a password, which counts if it is said to have failed; raises
        `TooManyRequests`.

        It counts while it lasts, so that many at once are no way around. An attempt that ends
        otherwise than by its password, or that is cancelled, is given back.
        """
        self.begin(address, account)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            if not attempt.has_failed:
                self.give_back(address, account)

    @contextmanager
    def attempt_with_key(self, address: str, key_id: str) -> Iterator[Attempt]:
        """The same for an API key: its secret is not to be guessed, so that a wrong one counts for
        the key alone, and not for the address.
        """
        account = (address, key_id)
        _require(self._accounts.take(account).retry_after_s)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            if not attempt.has_failed:
                self._accounts.give_back(account)

    def require_room(self, address: str) -> None:
        """Raise `TooManyRequests` where too much has failed from an address."""
        _require(self._addresses.wait_s(address))

    def note_taken(self, address: str) -> None:
        """Count a sign-up with a taken e-mail address as a failure: it says who has an account."""
        self._addresses.charge(address, 1)

    def begin(self, address: str, account: str) -> None:
        """Count an attempt until it is given back; raises `TooManyRequests`."""
        _require(self._addresses.take(address).retry_after_s)
        wait_s = self._accounts.take((address, account)).retry_after_s
        if wait_s:
            self._addresses.give_back(address)
        _require(wait_s)

    def give_back(self, address: str, account: str) -> None:
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
        raise TooManyRequests("too many log-ins or sign-ups have failed", retry_after_s=wait_s)
