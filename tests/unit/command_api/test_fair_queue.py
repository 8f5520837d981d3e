"""Turns of a queue that many share."""

from __future__ import annotations

from command_api.commit.fair_queue import FairQueue


def test_keys_take_turns_however_many_items_one_has() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(item[0], item)
    assert (len(queue), queue.count_of("a"), queue.count_of("z")) == (6, 3, 0)
    assert [queue.take() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", None]


def test_an_item_may_leave_the_queue() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    for item in ("a1", "b1", "b1", "z1"):
        queue.discard(item[0], item)
    assert (len(queue), queue.take(), queue.take()) == (1, "a2", None)
