"""Token buckets by key: how often something may happen, with a burst of a whole window's worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

BUCKETS_MAX = 100_000


class Level(NamedTuple):
    """A bucket after a request for tokens; refused if `retry_after_s` is not 0."""

    remaining: int
    full_in_s: int
    retry_after_s: int


class Buckets:
    """`limit` tokens a key, refilled evenly within `window_s`; a limit of 0 is none.

    In memory: each process counts for itself. The keys not seen for longest are forgotten first.
    """

    def __init__(
        self, limit: int, *, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._clock = clock
        # By key: the tokens that there were, and when.
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, count: int = 1) -> Level:
        """Take `count` tokens if there are as many, else none.

        Where there are never as many, `retry_after_s` says when the bucket is full.
        """
        if self.limit == 0:
            return Level(0, 0, 0)
        now = self._clock()
        tokens = self._tokens(key, now)
        granted = tokens >= count
        if granted:
            tokens -= count
        self._keep(key, tokens, now)
        missing = 0.0 if granted else min(count, self.limit) - tokens
        a_token_s = self.window_s / self.limit
        return Level(
            remaining=int(tokens),
            full_in_s=max(1, math.ceil((self.limit - tokens) * a_token_s)),
            retry_after_s=0 if granted else max(1, math.ceil(missing * a_token_s)),
        )

    def admits(self, key: Hashable, count: int = 1) -> bool:
        """Take `count` tokens if there are as many; nothing but that, for each of many reads."""
        if self.limit == 0:
            return True
        now = self._clock()
        tokens = self._tokens(key, now)
        granted = tokens >= count
        self._keep(key, tokens - count if granted else tokens, now)
        return granted

    def charge(self, key: Hashable, count: int) -> None:
        """Take tokens for work that is done, also more than there are."""
        if self.limit and count:
            now = self._clock()
            self._keep(key, self._tokens(key, now) - count, now)

    def wait_s(self, key: Hashable) -> int:
        """Seconds until there is a token; 0 where there is one."""
        if self.limit == 0:
            return 0
        missing = 1 - self._tokens(key, self._clock())
        return max(1, math.ceil(missing * self.window_s / self.limit)) if missing > 0 else 0

    def give_back(self, key: Hashable) -> None:
        """Undo a `take` of one token that was granted."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets[key] = (min(self.limit, bucket[0] + 1), bucket[1])

    def _tokens(self, key: Hashable, now: float) -> float:
        tokens, at = self._buckets.get(key, (float(self.limit), now))
        return min(self.limit, tokens + (now - at) * self.limit / self.window_s)

    def _keep(self, key: Hashable, tokens: float, now: float) -> None:
        """As the key that was seen last."""
        self._buckets.pop(key, None)
        if len(self._buckets) >= BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, now)
