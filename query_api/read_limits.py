"""Rate limits of reads, and limits on what one caller may have open at a time.

A read costs one token, and more if it is expensive. Each process counts for itself; the caller is
the address, or the subject of a verified access token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from starlette.types import Scope

from shared.errors import TooManyRequests
from shared.web.addresses import address_of
from shared.web.answer import Fields
from shared.web.token_buckets import Buckets, RateLimit
from shared.web.tokens import Claims

WINDOW_S = 60
# Cost of each slice of a long search, and number of sorted ratings for one token.
SLICE_TOKENS = 10
SORTED_A_TOKEN = 100


class _Caller(NamedTuple):
    buckets: Buckets
    key: Hashable


_caller: ContextVar[_Caller | None] = ContextVar("caller", default=None)


class ReadLimits:
    """The limits `address` and `caller`, in tokens a minute; 0 means no limit."""

    def __init__(self, *, address: int, caller: int) -> None:
        self._addresses = RateLimit("address", Buckets(address, window_s=WINDOW_S))
        self._callers = RateLimit("caller", Buckets(caller, window_s=WINDOW_S))

    def require_address(self, scope: Scope, fields: Fields) -> None:
        """Charge a read without a credential to its address, and report the remaining tokens.

        Raises `TooManyRequests`.
        """
        self._require(self._addresses, address_of(scope), fields)

    def require_caller(self, claims: Claims, fields: Fields) -> None:
        """Charge a read with a token to the token's subject, in the same way."""
        self._require(self._callers, claims.user_id, fields)

    @staticmethod
    def _require(limit: RateLimit, key: Hashable, fields: Fields) -> None:
        _caller.set(_Caller(limit.buckets, key))
        retry_after_s = limit.take(key, 1, fields).retry_after_s
        if retry_after_s:
            raise _refusal(limit, retry_after_s)

    def require_room(self, scope: Scope, fields: Fields) -> None:
        """Raise `TooManyRequests` if the address has no token left.

        Called before a credential is checked.
        """
        address = address_of(scope)
        wait_s = self._addresses.buckets.wait_s(address)
        if wait_s:
            self._addresses.take(address, 1, fields)
            raise _refusal(self._addresses, wait_s)

    def charge_rejected(self, scope: Scope, fields: Fields) -> None:
        """Charge a rejected credential to its address."""
        self._addresses.take(address_of(scope), 1, fields)


def _refusal(limit: RateLimit, retry_after_s: int) -> TooManyRequests:
    detail = f"more than {limit.buckets.limit} reads in {WINDOW_S} seconds"
    return TooManyRequests(detail, retry_after_s=retry_after_s)


def charge_work(tokens: int) -> None:
    """Charge the caller of this read for the work it has caused."""
    caller = _caller.get()
    if caller is not None:
        caller.buckets.charge(caller.key, tokens)


class OpenPlaces:
    """A limit on the places that one caller may hold at a time; 0 means no limit."""

    def __init__(self, what: str, places_max: int) -> None:
        self._what = what
        self._places_max = places_max
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place; raise `TooManyRequests` if the caller of this read holds the maximum."""
        caller = _caller.get()
        key = None if caller is None else caller.key
        if self._places_max and self._held[key] >= self._places_max:
            detail = f"this caller has {self._places_max} {self._what} already"
            raise TooManyRequests(detail, retry_after_s=1)
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
