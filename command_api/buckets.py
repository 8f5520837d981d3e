"""Token buckets by key: how often something may happen, with a burst of a whole window's worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

BUCKETS_MAX = 100_000


class Level(NamedTuple):
    """A bucket after a request for a token; refused if `retry_after_s` is not 0."""

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

    def take(self, key: Hashable) -> Level:
        """Take a token if there is one."""
        if self.limit == 0:
            return Level(0, 0, 0)
        now = self._clock()
        tokens, at = self._buckets.pop(key, (float(self.limit), now))
        tokens = min(self.limit, tokens + (now - at) * self.limit / self.window_s)
        granted = tokens >= 1
        if granted:
            tokens -= 1
        self._keep(key, tokens, now)
        a_token_s = self.window_s / self.limit
        return Level(
            remaining=int(tokens),
            full_in_s=max(1, math.ceil((self.limit - tokens) * a_token_s)),
            retry_after_s=0 if granted else max(1, math.ceil((1 - tokens) * a_token_s)),
        )

    def give_back(self, key: Hashable) -> None:
        """Undo a `take` that was granted."""
        standing = self._buckets.get(key)
        if standing is not None:
            self._buckets[key] = (min(self.limit, standing[0] + 1), standing[1])

    def _keep(self, key: Hashable, tokens: float, now: float) -> None:
        if len(self._buckets) >= BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, now)
