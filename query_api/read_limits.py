"""Rate limits of reads, and how much one caller may have open at a time.

A read costs one token, and more where it was much work. Each process counts for itself: the caller
is the address, or the subject of an access token that was verified.
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
from shared.web.token_buckets import Buckets
from shared.web.tokens import Claims

WINDOW_S = 60
# For each slice of a long search, and for so many ratings that are sorted for a page.
SLICE_TOKENS = 10
SORTED_A_TOKEN = 100
_CHARGED = "starfold.read_charged"


class _Caller(NamedTuple):
    buckets: Buckets
    key: Hashable


_caller: ContextVar[_Caller | None] = ContextVar("caller", default=None)


class ReadLimits:
    """`address` and `caller` are tokens a minute; 0 is no limit."""

    def __init__(self, *, address: int, caller: int) -> None:
        self._addresses = Buckets(address, window_s=WINDOW_S)
        self._callers = Buckets(caller, window_s=WINDOW_S)

    def admits(self, scope: Scope) -> bool:
        """Charge a read without a credential to its address, once; False where that has no token
        left.
        """
        address = address_of(scope)
        _caller.set(_Caller(self._addresses, address))
        if self._addresses.limit and _CHARGED not in scope:
            if not self._addresses.admits(address):
                return False
            scope[_CHARGED] = True
        return True

    def require(self, scope: Scope) -> None:
        """The same; raises `TooManyRequests`."""
        if not self.admits(scope):
            raise self._refusal(self._addresses, address_of(scope))

    def require_room(self, scope: Scope) -> None:
        """Raise `TooManyRequests` where the address has no token, before a credential is looked
        at.
        """
        address = address_of(scope)
        if self._addresses.wait_s(address):
            raise self._refusal(self._addresses, address)

    def charge_rejected(self, scope: Scope) -> None:
        """Charge a credential that was not believed to its address."""
        self._addresses.charge(address_of(scope), 1)

    def require_caller(self, claims: Claims) -> None:
        """Charge a read to the subject of its token; raises `TooManyRequests`."""
        _caller.set(_Caller(self._callers, claims.user_id))
        if not self._callers.admits(claims.user_id):
            raise self._refusal(self._callers, claims.user_id)

    @staticmethod
    def _refusal(buckets: Buckets, key: Hashable) -> TooManyRequests:
        detail = f"more than {buckets.limit} reads in {WINDOW_S} seconds"
        return TooManyRequests(detail, retry_after_s=buckets.wait_s(key) or 1)


def charge_work(tokens: int) -> None:
    """Charge the caller of this read for work that is done."""
    caller = _caller.get()
    if caller is not None:
        caller.buckets.charge(caller.key, tokens)


class OpenPlaces:
    """Places that one caller may hold at a time; 0 is no limit."""

    def __init__(self, what: str, places_max: int) -> None:
        self._what = what
        self._places_max = places_max
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises `TooManyRequests` where the caller of this read holds all of theirs."""
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
