"""Wiring of the query API: the only place where its parts meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from fastapi import Depends, FastAPI
from redis.exceptions import RedisError

from query_api.catalogue.changes import Changes
from query_api.catalogue.index_feed import RELOAD_S, IndexFeed
from query_api.http import history as past
from query_api.http import live as stream
from query_api.http import movies, operations, projections, users
from query_api.http.dependencies import Wiring, known_parameters
from query_api.http.hot_reads import HotReads
from query_api.read_limits import OpenPlaces, ReadLimits
from query_api.redis_reads.access import CallerAccess
from query_api.redis_reads.coalescing import TIMEOUT_S, CoalescedReads
from query_api.redis_reads.damage import SEND_EVERY_S, Damage
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.generations import ActiveGenerations
from query_api.redis_reads.reader import Reader
from query_api.settings import QuerySettings
from query_api.views.cursors import Cursors
from query_api.views.live_updates import Streams
from query_api.views.movie_ratings import Raters
from query_api.views.pages import Pages
from query_api.views.profiles import Profiles
from shared.errors import DocumentDamaged, Unavailable
from shared.process.descriptors import descriptors
from shared.process.tasks import Tasks
from shared.read_model.clients import async_redis_client
from shared.web.application import RequestScope, Service, serve_docs
from shared.web.problems import install_problem_handlers
from shared.web.protocol import END_STREAMS
from shared.web.tokens import TokenVerifier

log = structlog.get_logger()

DESCRIPTION = """Serves movies, their averages, and user profiles from the read models.

Every answer states the log position that it stands at as `Starfold-Position`; a request with
`Starfold-At-Least` waits until the read model has applied that position."""

BODY_BYTES_MAX = 1024
CANCEL_AGAIN_S = 0.2
# A background task without a success for this time is started again, and said by `/ready`.
STALE_AFTER_S = 15.0
EXPECTED = (Unavailable, DocumentDamaged, RedisError, OSError)


def create_app(settings: QuerySettings) -> FastAPI:
    """The application; its resources are opened and closed by its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        wiring = _wire(settings)
        app.state.wiring = wiring
        assert isinstance(app, Service)
        if not settings.access_log:
            app.ahead = HotReads(
                wiring.reader, wiring.pages, wiring.profiles, wiring.cursors, wiring.limits
            )
        running = _start(wiring)
        log.info("query_api_started", port=settings.port)
        yield {END_STREAMS: wiring.streams.end}
        await _end(running)
        await wiring.client.aclose()
        log.info("query_api_stopped")

    app = Service(
        title="Starfold query API",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=BODY_BYTES_MAX,
        telemetry={"tracing": False, "metrics": False},
    )
    install_problem_handlers(app)
    serve_docs(app)
    app.add_middleware(RequestScope, access_log=settings.access_log)
    for room in (movies, past, users, stream, projections):
        app.include_router(room.router, dependencies=[Depends(known_parameters)])
    app.include_router(operations.router)
    return app


def _start(wiring: Wiring) -> list[asyncio.Task[None]]:
    """The background tasks. Answers are right without freshness and damage reports, only later."""
    tasks = wiring.tasks
    generations = tasks.health("generations", stale_after_s=STALE_AFTER_S)
    index = tasks.health("index", stale_after_s=STALE_AFTER_S)
    freshness = tasks.health("freshness", stale_after_s=STALE_AFTER_S, needed=False)
    damage = tasks.health("damage", stale_after_s=STALE_AFTER_S, needed=False)
    return [
        tasks.start(generations, lambda: wiring.generations.step(generations.succeeded)),
        tasks.start(index, lambda: wiring.feed.step(index.succeeded), every_s=RELOAD_S),
        tasks.start(freshness, lambda: wiring.freshness.step(freshness.succeeded)),
        tasks.start(damage, wiring.damage.send, every_s=SEND_EVERY_S),
    ]


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: below, a cancellation may be turned into another error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def _wire(settings: QuerySettings) -> Wiring:
    client = async_redis_client(settings.redis_url.get_secret_value(), connect_within_s=TIMEOUT_S)
    generations = ActiveGenerations(client)
    freshness = Freshness(client, OpenPlaces("waiting reads", settings.waiters_per_caller_max))
    reads = CoalescedReads(client)
    damage = Damage(client)
    reader = Reader(reads, generations, damage)
    changes = Changes()
    feed = IndexFeed(client, reads, generations, freshness, changes, damage)
    streams_max = min(settings.streams_max, descriptors().streams_max)
    return Wiring(
        client=client,
        tasks=Tasks(expected=EXPECTED),
        damage=damage,
        generations=generations,
        freshness=freshness,
        reader=reader,
        feed=feed,
        cursors=Cursors(settings.cursor_key.get_secret_value()),
        pages=Pages(reader, feed),
        profiles=Profiles(reader, feed),
        raters=Raters(reader),
        streams=Streams(
            feed,
            changes,
            open_max=streams_max,
            places=OpenPlaces("streams", settings.streams_per_caller_max),
        ),
        access=CallerAccess(reader, freshness),
        limits=ReadLimits(address=settings.read_limit_address, caller=settings.read_limit_caller),
        verifier=TokenVerifier(
            settings.token_public_key.get_secret_value(),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            clock=time.time,
        ),
    )
