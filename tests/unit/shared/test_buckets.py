"""Token buckets: a burst, then an even flow."""

from __future__ import annotations

import pytest

from shared.web import token_buckets as buckets_module
from shared.web.token_buckets import Buckets, Level


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_granted_and_then_one_token_at_a_time(clock: Clock) -> None:
    buckets = Buckets(3, window_s=60, clock=clock)
    assert [buckets.take("ann") for _ in range(4)] == [
        Level(remaining=2, next_in_s=20, retry_after_s=0),
        Level(remaining=1, next_in_s=20, retry_after_s=0),
        Level(remaining=0, next_in_s=20, retry_after_s=0),
        Level(remaining=0, next_in_s=20, retry_after_s=20),
    ]
    clock.now += 19.5
    assert buckets.take("ann").retry_after_s == 1
    clock.now += 0.5
    assert buckets.take("ann").retry_after_s == 0
    clock.now += 1_000
    assert buckets.take("ann").remaining == 2


def test_each_key_has_its_own_and_what_is_given_back_is_there_again(clock: Clock) -> None:
    buckets = Buckets(1, window_s=60, clock=clock)
    assert buckets.take("ann").retry_after_s == 0
    assert buckets.take("ben").retry_after_s == 0
    assert buckets.take("ann").retry_after_s == 60
    buckets.give_back("ann")
    buckets.give_back("nobody")
    assert buckets.take("ann").retry_after_s == 0


def test_several_tokens_are_taken_together_or_not_at_all(clock: Clock) -> None:
    buckets = Buckets(10, window_s=60, clock=clock)
    assert buckets.take("ann", 8) == Level(remaining=2, next_in_s=6, retry_after_s=0)
    assert buckets.take("ann", 5) == Level(remaining=2, next_in_s=6, retry_after_s=18)
    assert buckets.take("ann", 2).remaining == 0
    assert buckets.wait_s("ann") == 6
    assert buckets.wait_s("ben") == 0
    clock.now += 30
    assert buckets.take("ann", 5).retry_after_s == 0


def test_more_than_there_ever_are_waits_for_a_full_bucket(clock: Clock) -> None:
    buckets = Buckets(10, window_s=60, clock=clock)
    buckets.take("ann", 4)
    assert buckets.take("ann", 11).retry_after_s == 24
    assert buckets.take("ann", 6).remaining == 0


def test_no_limit_is_never_reached() -> None:
    buckets = Buckets(0, window_s=60)
    assert {buckets.take("ann", 1_000).retry_after_s for _ in range(100)} == {0}
    assert buckets.wait_s("ann") == 0


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets_module, "BUCKETS_MAX", 2)
    buckets = Buckets(1, window_s=60, clock=clock)
    for key in ("ann", "ben", "ann", "cleo"):
        buckets.take(key)
    assert buckets.take("ann").retry_after_s > 0, "it was seen later than ben"
    assert buckets.take("ben").retry_after_s == 0
