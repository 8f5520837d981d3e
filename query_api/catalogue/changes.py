"""What changed lately: each movie once, with the position of its last change, and who watches it.

Written by the feed of the index, round by round; whoever watches sleeps until a movie of theirs has
changed. A movie needs one place here however often it changes, so that nothing has to be dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter

from shared.ids import START, Position

# A movie that changed, as of its last change.
Change = tuple[Position, bytes]


class Changes:
    """Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        # In the order of the last change.
        self._last: dict[bytes, Position] = {}
        self._complete_after = START
        self._watching: dict[bytes | None, set[asyncio.Event]] = {}

    def restart(self, complete_after: Position, changes: Iterable[Change]) -> None:
        """The index was loaded anew: these are all changes after that position, in order."""
        self._last.clear()
        self._complete_after = complete_after
        self._take(changes)
        self.wake_all()

    def note(self, changed: Mapping[bytes, Position]) -> None:
        """These have changed since the last time, and the index holds them as they are now."""
        self._take((at, movie) for movie, at in sorted(changed.items(), key=itemgetter(1)))
        for movie in changed:
            self._wake(movie)
        if changed:
            self._wake(None)

    def after(self, position: Position, movies: frozenset[bytes] | None) -> list[Change] | None:
        """What changed after the position, in order; None if that is not known any more."""
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
        """An event that is set whenever one of the movies has changed; None is all of them."""
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
