"""Wiring of the command API: the only place where its parts meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware

from command_api.bulk.room import BatchRoom
from command_api.commit.committer import Committer
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.shared_look_up import SharedLookUp
from command_api.commit.store import CommitStore
from command_api.commit.store_errors import store_away
from command_api.http import movies, operations, ratings, sessions, users
from command_api.http.bodies import RATING_BYTES_MAX
from command_api.http.dependencies import Wiring
from command_api.http.hot_rating import HotRating
from command_api.identity.accounts import Accounts
from command_api.identity.authentication import Authentication
from command_api.identity.callers import Callers
from command_api.identity.limits import LogInLimits, RateLimitHeaders, RateLimits
from command_api.identity.passwords import Passwords
from command_api.identity.refusal_pace import RefusalPace
from command_api.identity.sessions import Sessions
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.privacy.export import Export
from command_api.settings import CommandSettings
from command_api.upkeep import Upkeep
from shared.log.codec import Codec
from shared.log.connections import ANSWER_WITHIN_S
from shared.log.event_store import EventStore
from shared.log.sealing import KeyWrap
from shared.process.clock import utc_now
from shared.process.tasks import Tasks
from shared.web.application import RequestScope, Service, serve_docs
from shared.web.problems import install_problem_handlers, problem_of
from shared.web.tokens import TokenIssuer, TokenVerifier

CROSS_ORIGIN_REQUEST_HEADERS = ["Idempotency-Key", "If-Match", "X-Request-ID"]
CROSS_ORIGIN_ANSWER_HEADERS = [
    *("Starfold-Position", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
]

log = structlog.get_logger()

DESCRIPTION = """Takes commands and appends events. Every answer to a command carries the header
`Starfold-Position`; send it as `Starfold-At-Least` to the query API to read your own write."""


def create_app(settings: CommandSettings) -> FastAPI:
    """The application; its resources are opened and closed by its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        wiring = _wire(settings)
        wiring.store.require_durability()
        wiring.dispatcher.start(wiring.tasks)
        upkeep = Upkeep(wiring.store, wiring.sessions, wiring.erasure_ledger).start(wiring.tasks)
        app.state.wiring = wiring
        assert isinstance(app, Service)
        app.before_refusal = wiring.refusal_pace.wait
        if not settings.access_log and not settings.cors_origins:
            app.ahead = HotRating(
                wiring, body_bytes_max=min(RATING_BYTES_MAX, settings.body_bytes_max)
            )
        log.info("command_api_started", port=settings.port)
        yield
        upkeep.cancel()
        await asyncio.wait({upkeep})
        await wiring.dispatcher.stop()
        wiring.passwords.close()
        wiring.store.close()
        log.info("command_api_stopped")

    app = Service(
        title="Starfold command API",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=settings.body_bytes_max,
        telemetry={"tracing": False, "metrics": False},
    )
    install_problem_handlers(app)
    for lost in (OperationalError, InterfaceError):
        app.add_exception_handler(lost, _on_store_away)
    serve_docs(app)
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(RequestScope, access_log=settings.access_log)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", *CROSS_ORIGIN_REQUEST_HEADERS],
            expose_headers=CROSS_ORIGIN_ANSWER_HEADERS,
        )
    for room in (users, sessions, movies, ratings, operations):
        app.include_router(room.router)
    for room in (users, movies, ratings):
        app.include_router(room.batches)
    return app


async def _on_store_away(request: Request, error: Exception) -> Response:
    log.warning("store_unavailable", error=str(error))
    wiring: Wiring = request.app.state.wiring
    return problem_of(store_away(error, full=wiring.dispatcher.store_is_full))


def _wire(settings: CommandSettings) -> Wiring:
    database_url, schema = settings.database_url.get_secret_value(), settings.database_schema
    pooler = settings.database_pooler
    store = EventStore(
        database_url, schema=schema, pool_size=8, pooler=pooler, answer_within_s=ANSWER_WITHIN_S
    )
    commit_store = CommitStore(database_url, schema=schema, pooler=pooler)
    codec = Codec()
    key_wrap = KeyWrap(settings.sealing_key.get_secret_value())
    secret = settings.reservation_secret.get_secret_value()
    accounts = Accounts(store, codec, key_wrap, secret)
    issuer, audience = settings.token_issuer, settings.token_audience
    verifier = TokenVerifier(
        settings.token_public_key.get_secret_value(),
        issuer=issuer,
        audience=audience,
        clock=time.time,
    )
    rate_limits = RateLimits(
        {
            "member": settings.rate_limit_member,
            "service": settings.rate_limit_service,
            "anonymous": settings.rate_limit_anonymous,
        }
    )
    return Wiring(
        dispatcher=Dispatcher(Committer(commit_store, codec, key_wrap)),
        authentication=Authentication(verifier, store, rate_limits),
        callers=Callers(store, codec, key_wrap),
        accounts=accounts,
        passwords=Passwords(
            memory_kib=settings.argon2_memory_kib,
            iterations=settings.argon2_iterations,
            parallelism=settings.argon2_parallelism,
        ),
        token_issuer=TokenIssuer(
            settings.token_private_key.get_secret_value(), issuer=issuer, audience=audience
        ),
        sessions=Sessions(store, accounts, secret, idle_days_max=settings.session_idle_days_max),
        export=Export(store, codec, key_wrap),
        erasure_ledger=(
            ErasureLedger(settings.erasure_ledger, store) if settings.erasure_ledger else None
        ),
        rate_limits=rate_limits,
        log_in_limits=LogInLimits(
            per_account=settings.log_in_failures_per_account,
            per_address=settings.log_in_failures_per_address,
        ),
        refusal_pace=RefusalPace(),
        batch_room=BatchRoom(),
        settings=settings,
        store=store,
        head=SharedLookUp(store.head),
        reservation_secret=secret,
        tasks=Tasks(expected=(PersistenceError, OSError)),
        now=utc_now,
    )
