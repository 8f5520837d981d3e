"""Recent changes: each movie once, with the position of its last change, and its watchers.

The index feed writes them in every round; a watcher sleeps until one of its movies changes. A movie
takes one entry however often it changes, so that nothing has to be dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter

from shared.ids import START, Position

# A changed movie with the position of its last change.
Change = tuple[Position, bytes]


class Changes:
    """The recent changes of one process.

    Not thread-safe: it belongs to the event loop.
    """

    def __init__(self) -> None:
        # Ordered by last change.
        self._last: dict[bytes, Position] = {}
        self._complete_after = START
        self._watching: dict[bytes | None, set[asyncio.Event]] = {}

    def restart(self, complete_after: Position, changes: Iterable[Change]) -> None:
        """Replace all changes after a reload: the given ones are complete after the position."""
        self._last.clear()
        self._complete_after = complete_after
        self._take(changes)
        self.wake_all()

    def note(self, changed: Mapping[bytes, Position]) -> None:
        """Record movies that have changed; the index already holds their new state."""
        self._take((at, movie) for movie, at in sorted(changed.items(), key=itemgetter(1)))
        for movie in changed:
            self._wake(movie)
        if changed:
            self._wake(None)

    def after(self, position: Position, movies: frozenset[bytes] | None) -> list[Change] | None:
        """Return the changes after the position, in order; None if they are no longer known."""
        if position < self._complete_after:
            return None
        if movies is not None:
            found = ((self._last.get(movie, START), movie) for movie in movies)
            return sorted(change for change in found if change[0] > position)
        changes: list[Change] = []
        for movie, at in reversed(self._last.items()):
            if at <= position:
                break
            changes.append((at, movie))
        changes.reverse()
        return changes

    @contextmanager
    def watch(self, movies: frozenset[bytes] | None) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever one of the movies changes; None means all movies."""
        woken = asyncio.Event()
        keys = [None] if movies is None else movies
        for key in keys:
            self._watching.setdefault(key, set()).add(woken)
        try:
            yield woken
        finally:
            for key in keys:
                self._watching[key].discard(woken)
                if not self._watching[key]:
                    del self._watching[key]

    def wake_all(self) -> None:
        for key in self._watching:
            self._wake(key)

    def _take(self, changes: Iterable[Change]) -> None:
        for at, movie in changes:
            self._last.pop(movie, None)
            self._last[movie] = at

    def _wake(self, key: bytes | None) -> None:
        for woken in self._watching.get(key, ()):
            woken.set()
