"""Wiring of the query API: the only place where its parts meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from fastapi import FastAPI
from redis.exceptions import RedisError

from query_api.feed.changes import Changes
from query_api.feed.index_feed import RELOAD_S, IndexFeed
from query_api.http.absent import AbsentMovies
from query_api.http.gate import ADMISSIONS, ReadGate
from query_api.http.history import History
from query_api.http.live import Live
from query_api.http.movies import Movies
from query_api.http.operations import Operations
from query_api.http.shapes import TAGS
from query_api.http.users import Users
from query_api.read_limits import OpenPlaces, ReadLimits
from query_api.redis_reads.access import CallerAccess
from query_api.redis_reads.cluster_reads import reads_of
from query_api.redis_reads.coalescing import TIMEOUT_S, Reads
from query_api.redis_reads.damage import SEND_EVERY_S, Damage
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.generations import ActiveGenerations
from query_api.redis_reads.reader import Reader
from query_api.settings import QuerySettings
from query_api.views.changed_ratings import ChangedRatings
from query_api.views.cursors import Cursors
from query_api.views.live_updates import LiveUpdates
from query_api.views.movie_ratings import Raters
from query_api.views.pages import Pages
from query_api.views.profiles import Profiles
from shared.errors import DocumentDamaged, Unavailable
from shared.process.descriptors import descriptors
from shared.process.tasks import Tasks
from shared.read_model.clients import AsyncClient, async_redis_client
from shared.tracing import tracer_of
from shared.tracing.service import service_of
from shared.web.application import Service
from shared.web.cross_origin import CrossOrigin
from shared.web.serving.drain import drain_before_stop
from shared.web.serving.protocol import CHARGE_ADDRESS, END_STREAMS
from shared.web.tokens import TokenVerifier

log = structlog.get_logger()

DESCRIPTION = """Serves movies, their averages, and user profiles from the read models.

Every answer reports its position in the log as `Starfold-Position`; a request with
`Starfold-At-Least` waits until the read model has applied that position."""

BODY_BYTES_MAX = 1024
CANCEL_AGAIN_S = 0.2
# A background task without a success for this long is restarted and reported by `/ready`.
STALE_AFTER_S = 15.0
EXPECTED = (Unavailable, DocumentDamaged, RedisError, OSError)


CROSS_ORIGIN_REQUEST_HEADERS = (
    "Authorization",
    "If-None-Match",
    "Last-Event-ID",
    "Starfold-At-Least",
    "traceparent",
    "X-Request-ID",
)
CROSS_ORIGIN_ANSWER_HEADERS = (
    "ETag",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Starfold-Newest",
    "Starfold-Position",
    "X-Request-ID",
)


class _Parts(NamedTuple):
    """The background parts of the application, and the parts that answer requests."""

    client: AsyncClient
    reads: Reads
    tasks: Tasks
    damage: Damage
    generations: ActiveGenerations
    freshness: Freshness
    feed: IndexFeed
    pages: Pages
    live_updates: LiveUpdates
    rooms: Sequence[object]
    gate: ReadGate


def create_app(settings: QuerySettings) -> Service:
    """Return the application; its lifespan opens and closes its resources."""

    tracer = tracer_of(settings, process="query-api")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        parts = _wire(settings)
        assert isinstance(app, Service)
        app.serve(parts.rooms, parts.gate)
        running = _start(parts)
        log.info("query_api_started", port=settings.port)
        drain_before_stop(settings.drain_s, parts.tasks.drain, app.close_connections)
        yield {END_STREAMS: parts.live_updates.end, CHARGE_ADDRESS: parts.gate.charge_address}
        await _end(running)
        await parts.pages.close()
        await parts.reads.close()
        await parts.client.aclose()
        if tracer is not None:
            tracer.close()
        log.info("query_api_stopped")

    return service_of(tracer)(
        (Movies, History, Users, Live, Operations),
        title="Starfold query API",
        description=DESCRIPTION,
        lifespan=lifespan,
        body_bytes_max=BODY_BYTES_MAX,
        access_log=settings.access_log,
        cross_origin=CrossOrigin(
            settings.cors_origins, CROSS_ORIGIN_REQUEST_HEADERS, CROSS_ORIGIN_ANSWER_HEADERS
        ),
        tags=TAGS,
        admission=ADMISSIONS.__getitem__,
    )


def _start(parts: _Parts) -> list[asyncio.Task[None]]:
    """Start the background tasks.

    Without freshness and damage reports, answers are still correct, but later.
    """
    tasks = parts.tasks
    generations = tasks.health("generations", stale_after_s=STALE_AFTER_S)
    index = tasks.health("index", stale_after_s=STALE_AFTER_S)
    freshness = tasks.health("freshness", stale_after_s=STALE_AFTER_S, needed=False)
    damage = tasks.health("damage", stale_after_s=STALE_AFTER_S, needed=False)
    return [
        tasks.start(generations, lambda: parts.generations.step(generations.succeeded)),
        tasks.start(index, lambda: parts.feed.step(index.succeeded), every_s=RELOAD_S),
        tasks.start(freshness, lambda: parts.freshness.step(freshness.succeeded)),
        tasks.start(damage, parts.damage.send, every_s=SEND_EVERY_S),
    ]


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks until all have ended.

    One cancellation may not be enough: a library may turn it into another error.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def _wire(settings: QuerySettings) -> _Parts:
    client = async_redis_client(settings.redis_url.get_secret_value(), connect_within_s=TIMEOUT_S)
    tasks = Tasks(expected=EXPECTED)
    generations = ActiveGenerations(client)
    freshness = Freshness(client, OpenPlaces("waiting reads", settings.waiters_per_caller_max))
    reads = reads_of(client)
    damage = Damage(client)
    reader = Reader(reads, generations, damage)
    changes = Changes()
    feed = IndexFeed(client, reads, generations, freshness, changes, damage)
    cursors = Cursors(settings.cursor_key.get_secret_value())
    pages, absent = Pages(reader, feed), AbsentMovies(reader, feed)
    live_updates = LiveUpdates(
        feed,
        changes,
        open_max=min(settings.streams_max, descriptors().streams_max),
        places=OpenPlaces("streams", settings.streams_per_caller_max),
    )
    rooms = (
        Movies(reader, freshness, cursors, pages, Raters(reader), absent, feed),
        History(reader, freshness, cursors, absent),
        Users(
            reader,
            feed,
            freshness,
            cursors,
            pages,
            Profiles(reader, feed),
            ChangedRatings(reader, feed),
        ),
        Live(live_updates, feed, freshness),
        Operations(client, generations, feed, tasks, settings.metrics_token),
    )
    gate = ReadGate(
        TokenVerifier(
            *settings.token_public_keys,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            clock=time.time,
        ),
        ReadLimits(address=settings.read_limit_address, caller=settings.read_limit_caller),
        CallerAccess(reader, freshness),
    )
    return _Parts(
        client, reads, tasks, damage, generations, freshness, feed, pages, live_updates, rooms, gate
    )
