"""Rate limits of callers, and limits of failed log-ins; each process counts for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from command_api.deciding.principal import Anyone, Member, Principal, Service
from shared.errors import TooManyRequests
from shared.web.answer import Fields
from shared.web.token_buckets import Buckets, Level, RateLimit

WINDOW_S = 60
LOG_IN_WINDOW_S = 300
# A request costs one token for each of its rows, and at least one for this many bytes of its body.
# The largest bulk request costs 32,768, which the default limits allow.
BYTES_A_TOKEN = 512


_POLICIES: Mapping[type[Principal], str] = {
    Member: "member",
    Service: "service",
    Anyone: "anonymous",
}


class Charge(msgspec.Struct, frozen=True):
    """The cost of a request so far, the fields of its answer, and its refusal, if any."""

    tokens: int
    fields: Fields
    refusal: TooManyRequests | None = None

    def require(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class RateLimits:
    """Requests and rows a minute for each member, service key or address."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """Take the tokens a minute of `member`, `service` and `anonymous`; 0 is no limit."""
        self._limits = {
            policy: RateLimit(policy, Buckets(limit, window_s=WINDOW_S))
            for policy, limit in limits.items()
        }

    def charge(self, address: str, principal: Principal, body_bytes: int) -> Charge:
        """Charge a request by its body's bytes, 0 if it does not state them.

        An anonymous caller, whose body cannot be large, pays one token.
        """
        tokens = 1 if principal.actor is None else _tokens(body_bytes) or 1
        return self._take(address, principal, tokens, in_all=tokens)

    def charge_more(
        self, address: str, principal: Principal, before: Charge, *, rows: int, body_bytes: int
    ) -> Charge:
        """Charge the cost of rows, or of a body of unknown size, beyond a first charge."""
        tokens = max(rows, _tokens(body_bytes))
        if tokens <= before.tokens:
            return before
        return self._take(address, principal, tokens - before.tokens, in_all=tokens)

    def require_room(self, address: str) -> None:
        """Raise `TooManyRequests` if the address has used up its anonymous limit."""
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
    """Failed log-ins in five minutes: from one address, and from it for one account.

    Sign-ups with taken e-mail addresses count for the former. Failures from one address never keep
    other addresses out.
    """

    def __init__(self, *, per_account: int, per_address: int) -> None:
        self._accounts = Buckets(per_account, window_s=LOG_IN_WINDOW_S)
        self._addresses = Buckets(per_address, window_s=LOG_IN_WINDOW_S)

    @contextmanager
    def attempt(self, address: str, account: str) -> Iterator[Attempt]:
        """Begin an attempt with a password, which counts if it fails; raise `TooManyRequests`.

        It counts while it lasts, so that simultaneous attempts cannot bypass the limit. An attempt
        that ends without a result, or is cancelled, is given back.
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
        """Begin an attempt with an API key, which counts for the key alone.

        Its secret cannot be guessed, so that a wrong one does not count for the address.
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
        """Raise `TooManyRequests` if too many attempts from an address have failed."""
        _require(self._addresses.wait_s(address))

    def note_taken(self, address: str) -> None:
        """Count a sign-up with a taken e-mail address as a failure: it reveals an account."""
        self._addresses.charge(address, 1)

    def begin(self, address: str, account: str) -> None:
        """Count an attempt until it is given back; raise `TooManyRequests`."""
        _require(self._addresses.take(address).retry_after_s)
        wait_s = self._accounts.take((address, account)).retry_after_s
        if wait_s:
            self._addresses.give_back(address)
        _require(wait_s)

    def give_back(self, address: str, account: str) -> None:
        self._addresses.give_back(address)
        self._accounts.give_back((address, account))


class MailLimits:
    """Requests of mails in five minutes from one address."""

    def __init__(self, *, per_address: int) -> None:
        self._addresses = Buckets(per_address, window_s=LOG_IN_WINDOW_S)

    def require(self, address: str) -> None:
        """Count a request; raise `TooManyRequests`."""
        wait_s = self._addresses.take(address).retry_after_s
        if wait_s:
            raise TooManyRequests("too many mails were requested", retry_after_s=wait_s)


class Attempt:
    """One log-in in progress."""

    has_failed = False

    def failed(self) -> None:
        """Record that the credential was wrong."""
        self.has_failed = True


def _require(wait_s: int) -> None:
    if wait_s:
        raise TooManyRequests("too many log-ins or sign-ups have failed", retry_after_s=wait_s)
