"""Profiles: documents of the user's partition, and what their ratings say with the catalogue.

The second part takes all of a user's ratings and the genres of their movies, which the catalogue's
index holds. It is kept here with the very statistics that it was made of, which state the position
of the user's last rating, and only while no movie's genres change: it is never older than they are.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from query_api.catalogue.index import Index
from query_api.catalogue.index_feed import IndexFeed
from query_api.redis_reads.reader import RankedPage, Reader
from query_api.views.pages import is_visible, version_of_profile
from query_api.views.rendering import with_ratings
from query_api.views.taste import taste_of
from shared.ids import START, Position
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import PARKED_MARK, PRIVATE, PROFILE, RATINGS, STATISTICS
from shared.web.tokens import Claims

# Of a user with more ratings there are statistics, and no genres.
RATINGS_MAX = 20_000
# A kilobyte each.
KEPT_MAX = 20_000
NO_TASTE = b',"genres":null,"favourite_genres":null,"first":null,"last":null'

_KINDS = (PROFILE.name, STATISTICS.name, PARKED_MARK.name)
_OWN_KINDS = (*_KINDS, PRIVATE.name)


class Profile(NamedTuple):
    """`body` is None where there is none, or none that the caller may see.

    All up to `position` is in it, and nothing after `newest`.
    """

    position: Position
    body: bytes | None
    newest: Position = START
    version: str | None = None


class _Kept(NamedTuple):
    build: UUID
    statistics: bytes | None
    taste: bytes


class Profiles:
    """Reads in one round trip, or in two where the user has rated since the last read."""

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed
        self._kept: dict[UUID, _Kept] = {}
        # What the kept ones were made with.
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
        """`own` is with the private fields; `at_least` is what the caller will wait for."""
        index = self._feed.require(at_least)
        of_index = self._feed.position
        kinds = _OWN_KINDS if own else _KINDS
        read = await self._reader.documents(PROFILES, user_id, kinds)
        position, values = read.position, read.values
        if not is_visible(values[0], user_id, caller):
            if values[0] is None and values[1] is not None and values[2] is None:
                raise await self._reader.lost(PROFILES, user_id)
            return Profile(position, None)
        taste = self._known(user_id, read.build, values[1])
        if taste is None:
            page = await self._reader.page(
                PROFILES, user_id, RATINGS, limit=RATINGS_MAX + 1, after=None, kinds=kinds
            )
            position, values = page.position, page.values
            if not is_visible(values[0], user_id, caller):
                return Profile(position, None)
            taste = self._made(user_id, index, page)
        assert values[0] is not None
        body = with_ratings(values[0], values[1], values[2], taste)
        if own:
            private = b'"email":null' if values[3] is None else values[3][1:-1]
            body = b"".join((body[:-1], b",", private, b"}"))
        newest, version = max(position, index.newest), version_of_profile(values[0])
        return Profile(min(position, of_index), body, newest, version)

    def _known(self, user_id: UUID, build: UUID, statistics: bytes | None) -> bytes | None:
        index = self._feed.require()
        if index is not self._index or index.genres_revision != self._genres_revision:
            self._kept.clear()
            self._index, self._genres_revision = index, index.genres_revision
            return None
        kept = self._kept.get(user_id)
        if kept is None or kept.build != build or kept.statistics != statistics:
            return None
        return kept.taste

    def _made(self, user_id: UUID, index: Index, page: RankedPage) -> bytes:
        too_many = len(page.members) > RATINGS_MAX
        taste = NO_TASTE if too_many else taste_of(index.entries, page.members)
        if index is self._index and index.genres_revision == self._genres_revision:
            if len(self._kept) >= KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[user_id] = _Kept(page.build, page.values[1], taste)
        return taste
