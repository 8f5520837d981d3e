"""Queue that serves its keys in turn, so that the key with most entries waits longest."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A queue with a round-robin over its keys, first in first out within each."""

    def __init__(self) -> None:
        # In the order of their turns; every key has an item.
        self._items: dict[Hashable, deque[Item]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count_of(self, key: Hashable) -> int:
        return len(self._items.get(key, ()))

    def put(self, key: Hashable, item: Item) -> None:
        self._items.setdefault(key, deque()).append(item)
        self._count += 1

    def take(self) -> Item | None:
        """Return the next key's first item, and move the key to the end of the turns."""
        if not self._count:
            return None
        key = next(iter(self._items))
        items = self._items.pop(key)
        item = items.popleft()
        if items:
            self._items[key] = items
        self._count -= 1
        return item

    def discard(self, key: Hashable, item: Item) -> None:
        """Remove an item that has not been taken."""
        items = self._items.get(key)
        if items is None or item not in items:
            return
        items.remove(item)
        self._count -= 1
        if not items:
            del self._items[key]
