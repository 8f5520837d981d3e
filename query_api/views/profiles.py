"""Profiles: the user's documents, and a summary of their ratings with the catalogue.

The summary takes all of a user's ratings, and their movies' genres from the catalogue's index. It
is cached with the exact statistics that it was computed from, which include the position of the
user's last rating, and only until some movie's genres change: it is never older than they are.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from query_api.catalogue.index import Index
from query_api.feed.index_feed import IndexFeed
from query_api.redis_reads.reader import RankedPage, Reader
from query_api.views.pages import is_visible, version_of_profile
from query_api.views.rendering import with_ratings
from query_api.views.taste import taste_of
from shared.ids import START, Position
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import PARKED_MARK, PRIVATE, PROFILE, RATINGS, STATISTICS
from shared.web.tokens import Claims

# For a user with more ratings there are statistics but no genres.
RATINGS_MAX = 20_000
# A kilobyte each.
CACHED_MAX = 20_000
NO_TASTE = b',"genres":null,"favourite_genres":null,"first":null,"last":null'

_KINDS = (PROFILE.name, STATISTICS.name, PARKED_MARK.name)
_NO_EMAIL = b'"email":null,"email_verified":false'
_OWN_KINDS = (*_KINDS, PRIVATE.name)


class Profile(NamedTuple):
    """A profile; its `body` is None if there is none, or none that the caller may see.

    It includes everything up to `position` and nothing after `newest`.
    """

    position: Position
    body: bytes | None
    newest: Position = START
    version: str | None = None


class _CachedTaste(NamedTuple):
    build: UUID
    statistics: bytes | None
    taste: bytes


class Profiles:
    """Reads a profile in one round trip, or in two if the user has rated since the last read."""

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed
        self._cached: dict[UUID, _CachedTaste] = {}
        # The index from which the cached summaries were computed.
        self._index: Index | None = None
        self._genres_revision = 0

    async def profile(
        self,
        user_id: UUID,
        caller: Claims | None,
        *,
        own: bool = False,
        at_least: Position = START,
    ) -> Profile:
        """Return a profile, `own` with private fields; the caller may wait for `at_least`."""
        index = self._feed.require(at_least)
        of_index = self._feed.position
        kinds = _OWN_KINDS if own else _KINDS
        read = await self._reader.documents(PROFILES, user_id, kinds)
        position, values = read.position, read.values
        if not is_visible(values[0], user_id, caller):
            if values[0] is None and values[1] is not None and values[2] is None:
                raise await self._reader.lost(PROFILES, user_id)
            return Profile(position, None)
        taste = self._cached_taste(user_id, read.build, values[1])
        if taste is None:
            page = await self._reader.page(
                PROFILES, user_id, RATINGS, limit=RATINGS_MAX + 1, after=None, kinds=kinds
            )
            position, values = page.position, page.values
            if not is_visible(values[0], user_id, caller):
                return Profile(position, None)
            taste = self._computed_taste(user_id, index, page)
        assert values[0] is not None
        body = with_ratings(values[0], values[1], values[2], taste)
        if own:
            private = _NO_EMAIL if values[3] is None else values[3][1:-1]
            body = b"".join((body[:-1], b",", private, b"}"))
        newest, version = max(position, index.newest), version_of_profile(values[0])
        return Profile(min(position, of_index), body, newest, version)

    def _cached_taste(self, user_id: UUID, build: UUID, statistics: bytes | None) -> bytes | None:
        index = self._feed.require()
        if index is not self._index or index.genres_revision != self._genres_revision:
            self._cached.clear()
            self._index, self._genres_revision = index, index.genres_revision
            return None
        cached = self._cached.get(user_id)
        if cached is None or cached.build != build or cached.statistics != statistics:
            return None
        return cached.taste

    def _computed_taste(self, user_id: UUID, index: Index, page: RankedPage) -> bytes:
        too_many = len(page.members) > RATINGS_MAX
        taste = NO_TASTE if too_many else taste_of(index.entries, page.members)
        if index is self._index and index.genres_revision == self._genres_revision:
            if len(self._cached) >= CACHED_MAX:
                del self._cached[next(iter(self._cached))]
            self._cached[user_id] = _CachedTaste(page.build, page.values[1], taste)
        return taste
