"""Users: public profiles, and the movies that a user rated."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from query_api.feed.index_feed import IndexFeed
from query_api.http import shapes
from query_api.http.parameters import ChangesRead, Count, Read
from query_api.http.responses import document, documented, page_answer
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.reader import Reader
from query_api.views.changed_ratings import ChangedRatings
from query_api.views.cursors import Cursors
from query_api.views.pages import (
    RATINGS_KEY_TYPES,
    Page,
    Pages,
    RatingsSort,
    is_visible,
    rating_item,
    version_of_rating,
)
from query_api.views.profiles import Profile, Profiles
from shared.errors import NotFound
from shared.ids import Position
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import PROFILE, STATISTICS
from shared.web.answer import Answer
from shared.web.operation import Request, operation
from shared.web.parameter_types import CanonicalUuid


class ProfileRead(Read):
    user_id: CanonicalUuid


class RatingsRead(ChangesRead):
    user_id: CanonicalUuid
    sort: RatingsSort = "newest"
    count: Count = False


class RatingRead(Read):
    user_id: CanonicalUuid
    movie_id: CanonicalUuid


class Users:
    def __init__(
        self,
        reader: Reader,
        feed: IndexFeed,
        freshness: Freshness,
        cursors: Cursors,
        pages: Pages,
        profiles: Profiles,
        changed: ChangedRatings,
    ) -> None:
        self._reader = reader
        self._feed = feed
        self._freshness = freshness
        self._cursors = cursors
        self._pages = pages
        self._profiles = profiles
        self._changed = changed

    @operation(
        "GET",
        "/v1/users/me",
        tag="users",
        access="members",
        parameters=Read,
        answers=documented(shapes.OwnProfile, description="The caller's own profile"),
    )
    async def get_me(self, request: Request[Read, None]) -> Answer:
        """Return the caller's own profile, even if it is private, with its private fields."""
        caller, at_least = request.caller, request.parameters.at_least

        async def read() -> Profile:
            return await self._profiles.profile(caller.user_id, caller, own=True, at_least=at_least)

        found = await self._freshness.at_least(at_least, read)
        return _profile(request, caller.user_id, found, own=True)

    @operation(
        "GET",
        "/v1/users/{user_id}",
        tag="users",
        access="anyone",
        parameters=ProfileRead,
        answers=documented(shapes.Profile, description="The profile"),
    )
    async def get_profile(self, request: Request[ProfileRead, None]) -> Answer:
        """Return a user's profile and rating statistics; others get 404 for a private one.

        `genres` are the genres of the rated movies, most often rated first; `favourite_genres` are
        the ones that the user likes best. `first` and `last` go by the time of rating. `stale:
        true` means that one of the user's events could not be applied.
        """
        asked, caller = request.parameters, request.caller

        async def read() -> Profile:
            return await self._profiles.profile(asked.user_id, caller, at_least=asked.at_least)

        found = await self._freshness.at_least(asked.at_least, read)
        return _profile(request, asked.user_id, found)

    @operation(
        "GET",
        "/v1/users/{user_id}/ratings",
        tag="users",
        access="anyone",
        parameters=RatingsRead,
        answers=documented(shapes.RatingsPage, description="A page of ratings"),
    )
    async def list_user_ratings(self, request: Request[RatingsRead, None]) -> Answer:
        """List the movies that a user rated: newest rating, highest score or title first.

        `difference` is the user's score less the movie's average.

        `changed_since` lists the ratings that changed after a position, also the withdrawn ones,
        each once and with the `position` of its last change, in that order. To follow, pass the
        last `position` as the next `changed_since`. An erased user gets 404 there.
        """
        asked, caller = request.parameters, request.caller
        since = asked.since
        if since is not None:
            return await self._list_changes(request, since)
        user_id, sort = asked.user_id, asked.sort
        of = f"ratings:{user_id.hex}:{sort}"
        after = None
        if asked.cursor:
            after = self._cursors.open(of, asked.cursor, RATINGS_KEY_TYPES[sort])

        async def read() -> Page:
            return await self._pages.ratings(
                user_id,
                caller,
                sort,
                after=after,
                limit=asked.limit,
                at_least=asked.at_least,
                count=asked.count,
            )

        page = await self._freshness.at_least(asked.at_least, read)
        if page.items is None:
            raise _unknown(user_id).at(page.position)
        return page_answer(request, page, self._cursors, of)

    async def _list_changes(self, request: Request[RatingsRead, None], since: Position) -> Answer:
        asked, caller = request.parameters, request.caller
        user_id = asked.user_id
        of = f"ratings:{user_id.hex}:changed"
        if asked.cursor:
            (since,) = self._cursors.open(of, asked.cursor, tuple[Position])

        async def read() -> Page:
            return await self._changed.page(
                user_id, caller, since, limit=asked.limit, at_least=asked.at_least
            )

        page = await self._freshness.at_least(asked.at_least, read)
        if page.items is None:
            raise _unknown(user_id).at(page.position)
        return page_answer(request, page, self._cursors, of)

    @operation(
        "GET",
        "/v1/users/{user_id}/ratings/{movie_id}",
        tag="users",
        access="anyone",
        parameters=RatingRead,
        answers=documented(shapes.RatedMovie, description="The rating"),
    )
    async def get_user_rating(self, request: Request[RatingRead, None]) -> Answer:
        """Return one user's rating of one movie."""
        asked, caller = request.parameters, request.caller
        user_id, movie_id = asked.user_id, asked.movie_id

        async def read() -> Page:
            index, of_index = self._feed.require(asked.at_least), self._feed.position
            position, newest, (rated,) = await self._reader.rated(movie_id, [user_id.bytes])
            if not is_visible(rated.profile, user_id, caller):
                if rated.profile is None:
                    await self._reader.require_absent(
                        PROFILES, user_id, PROFILE.name, STATISTICS.name
                    )
                return Page(position, None, None)
            items, version = [], None
            if rated.rank is not None:
                entry = index.entries.get(movie_id.bytes)
                items = [rating_item(entry, (movie_id.bytes, rated.rank), rated.review)]
                version = version_of_rating(rated.rank, rated.review)
            newest = max(newest, index.newest)
            return Page(min(position, of_index), items, None, newest, version)

        one = await self._freshness.at_least(asked.at_least, read)
        if one.items is None:
            raise _unknown(user_id).at(one.position)
        if not one.items:
            raise NotFound(f"user {user_id} has not rated movie {movie_id}").at(one.position)
        return document(request, one.items[0], one.position, newest=one.newest, version=one.version)


def _profile(
    request: Request[Any, None], user_id: UUID, found: Profile, *, own: bool = False
) -> Answer:
    if found.body is None:
        raise _unknown(user_id).at(found.position)
    return document(
        request,
        found.body,
        found.position,
        newest=found.newest,
        own=own,
        version=found.version,
    )


def _unknown(user_id: UUID) -> NotFound:
    """Return the error, to be raised only after a read that is fresh enough."""
    return NotFound(f"there is no user {user_id}")
