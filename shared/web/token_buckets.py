"""Token buckets by key: a rate limit with a burst of a whole window's tokens.

`RateLimit` reports them in the header fields of draft-ietf-httpapi-ratelimit-headers-11.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

import msgspec

from shared.web.answer import Fields

BUCKETS_MAX = 100_000


class Level(msgspec.Struct, frozen=True, gc=False):
    """A bucket after a request for tokens, refused if `retry_after_s` is not 0.

    The bucket gets one more token in `next_in_s`.
    """

    remaining: int
    next_in_s: int
    retry_after_s: int


class Buckets:
    """Buckets of `limit` tokens a key, refilled evenly within `window_s`; 0 means no limit.

    They are in memory: each process counts for itself. The keys unseen for longest are dropped
    first.
    """

    def __init__(
        self, limit: int, *, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._clock = clock
        # By key: the number of tokens, and when they were counted.
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, count: int = 1) -> Level:
        """Take `count` tokens if the bucket has them, else none.

        If the bucket can never hold that many, `retry_after_s` is the time until it is full.
        """
        if self.limit == 0:
            return Level(0, 0, 0)
        now = self._clock()
        tokens = self._tokens(key, now)
        granted = tokens >= count
        if granted:
            tokens -= count
        self._keep(key, tokens, now)
        # Charged work may have taken more than there were.
        remaining = int(tokens) if tokens > 0 else 0
        next_in_s = 1
        if self.limit < self.window_s:
            missing = remaining + 1 - tokens
            next_in_s = max(1, math.ceil(missing * self.window_s / self.limit))
        if granted:
            return Level(remaining, next_in_s, 0)
        missing = min(count, self.limit) - tokens
        return Level(remaining, next_in_s, max(1, math.ceil(missing * self.window_s / self.limit)))

    def charge(self, key: Hashable, count: int) -> None:
        """Charge completed work, even beyond the available tokens."""
        if self.limit and count:
            now = self._clock()
            self._keep(key, self._tokens(key, now) - count, now)

    def wait_s(self, key: Hashable) -> int:
        """Return the seconds until there is a token; 0 if there is one."""
        if self.limit == 0:
            return 0
        missing = 1 - self._tokens(key, self._clock())
        return max(1, math.ceil(missing * self.window_s / self.limit)) if missing > 0 else 0

    def give_back(self, key: Hashable) -> None:
        """Return a token that `take` has granted."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets[key] = (min(self.limit, bucket[0] + 1), bucket[1])

    def _tokens(self, key: Hashable, now: float) -> float:
        tokens, at = self._buckets.get(key, (float(self.limit), now))
        return min(self.limit, tokens + (now - at) * self.limit / self.window_s)

    def _keep(self, key: Hashable, tokens: float, now: float) -> None:
        """Store the bucket as the most recently used one."""
        self._buckets.pop(key, None)
        if len(self._buckets) >= BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, now)


class RateLimit:
    """A named limit, as answers report it."""

    def __init__(self, name: str, buckets: Buckets) -> None:
        self.buckets = buckets
        self._policy = (
            b"ratelimit-policy",
            f'"{name}";q={buckets.limit};w={buckets.window_s}'.encode(),
        )
        self._state = f'"{name}";r=%d;t=%d'.encode()

    def take(self, key: Hashable, count: int, fields: Fields) -> Level:
        """Take `count` tokens if available, and report the rest in the fields."""
        level = self.buckets.take(key, count)
        if self.buckets.limit:
            state = self._state % (level.remaining, level.next_in_s)
            fields += (self._policy, (b"ratelimit", state))
        return level
