"""Wiring of the command API: the only place where its parts meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog
from fastapi import FastAPI

from command_api.bulk.requests import BulkRequests
from command_api.bulk.room import BulkRoom
from command_api.commit.closed_movies import ClosedMovies
from command_api.commit.committer import Committer
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.traced_command import command_of
from command_api.deciding.movie import catalogue_id_stream
from command_api.http.commands import Commands
from command_api.http.gate import CommandGate
from command_api.http.imports import Imports
from command_api.http.keys import Keys
from command_api.http.mails import Mails
from command_api.http.movies import Movies
from command_api.http.operations import Operations, PublishedKeys
from command_api.http.ratings import Ratings
from command_api.http.sessions import Sessions
from command_api.http.users import Users
from command_api.identity.access import Access
from command_api.identity.accounts import Accounts
from command_api.identity.authentication import Authentication
from command_api.identity.callers import Callers
from command_api.identity.limits import LogInLimits, MailLimits, RateLimits
from command_api.identity.mails import Mails as RequestedMails
from command_api.identity.passwords import Passwords
from command_api.identity.refusal_pace import RefusalPace
from command_api.identity.service_keys import ServiceKeys
from command_api.identity.sessions import Sessions as OpenSessions
from command_api.imports.shelf import Shelf
from command_api.imports.writer import ImportWriter
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.privacy.export import EXPORTS_MAX, Export
from command_api.settings import CommandSettings
from command_api.store.commit_store import CommitStore
from command_api.store.replica import Replica
from command_api.store.server import Server
from command_api.store.shared_look_up import SharedLookUp
from command_api.store.store import Store
from command_api.upkeep import Upkeep
from shared.errors import Unavailable
from shared.log.codec import Codec
from shared.log.sealing import KeyWrap
from shared.process.tasks import Tasks
from shared.tracing import tracer_of
from shared.tracing.service import service_of
from shared.web.application import Service
from shared.web.cross_origin import CrossOrigin
from shared.web.openapi import Admission
from shared.web.serving.drain import drain_before_stop
from shared.web.serving.protocol import CHARGE_ADDRESS
from shared.web.tokens import TokenIssuer, TokenVerifier

if TYPE_CHECKING:
    from shared.tracing.tracer import Tracer

CROSS_ORIGIN_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "traceparent",
    "X-Request-ID",
)
CROSS_ORIGIN_ANSWER_HEADERS = (
    "ETag",
    "Location",
    "Starfold-Position",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)

log = structlog.get_logger()

DESCRIPTION = """Accepts commands and appends events. Every answer to a command has the header
`Starfold-Position`; send it as `Starfold-At-Least` to the query API to read your own write."""


TAGS = {
    "users": "Sign-up, profile, password, role, export and erasure of users.",
    "sessions": "Access tokens: log-in, refresh, log-out.",
    "keys": "Service keys, with which programs are let in, for operators.",
    "movies": "The catalogue, which curators and services maintain.",
    "ratings": "Ratings of movies by users.",
    "imports": "Ratings from elsewhere, from a member's file.",
    "operations": "Health, keys and metrics, for operators.",
}


class _Parts(NamedTuple):
    """The background parts of the application, and the parts that answer requests."""

    store: Store
    replica: Replica | None
    dispatcher: Dispatcher
    passwords: Passwords
    upkeep: Upkeep
    closed_movies: ClosedMovies
    import_writer: ImportWriter
    tasks: Tasks
    rooms: Sequence[object]
    gate: CommandGate


def create_app(settings: CommandSettings) -> Service:
    """Return the application; its lifespan opens and closes its resources."""

    tracer = tracer_of(settings, process="command-api")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        parts = _wire(settings, tracer)
        parts.dispatcher.start(parts.tasks)
        background = {
            parts.upkeep.start(parts.tasks),
            parts.closed_movies.start(parts.tasks),
            parts.import_writer.start(parts.tasks),
        }
        assert isinstance(app, Service)
        app.before_refusal = RefusalPace().wait
        app.serve(parts.rooms, parts.gate)
        log.info("command_api_started", port=settings.port)
        drain_before_stop(settings.drain_s, parts.tasks.drain, app.close_connections)
        yield {CHARGE_ADDRESS: parts.gate.charge_address}
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await parts.dispatcher.stop()
        parts.passwords.close()
        await parts.store.close()
        if parts.replica is not None:
            await parts.replica.close()
        if tracer is not None:
            tracer.close()
        log.info("command_api_stopped")

    return service_of(tracer)(
        (Users, Mails, Sessions, Keys, Movies, Ratings, Imports, Operations, PublishedKeys),
        title="Starfold command API",
        description=DESCRIPTION,
        lifespan=lifespan,
        body_bytes_max=settings.body_bytes_max,
        access_log=settings.access_log,
        cross_origin=CrossOrigin(
            settings.cors_origins, CROSS_ORIGIN_REQUEST_HEADERS, CROSS_ORIGIN_ANSWER_HEADERS
        ),
        tags=TAGS,
        admission=_admission,
    )


def _admission(access: Access | None) -> Admission:
    return Admission() if access is None else access.admission


def _wire(settings: CommandSettings, tracer: Tracer | None) -> _Parts:
    server = Server(
        settings.database_url.get_secret_value(),
        schema=settings.database_schema,
        pooler=settings.database_pooler,
    )
    store = Store(server)
    replica = _replica(settings, store)
    codec = Codec()
    key_wrap = KeyWrap(*settings.sealing_keys)
    secret = settings.reservation_secret.get_secret_value()
    accounts = Accounts(store, codec, key_wrap, secret)
    issuer, audience = settings.token_issuer, settings.token_audience
    verifier = TokenVerifier(
        *settings.token_public_keys,
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
    tasks = Tasks(expected=(Unavailable, OSError))
    dispatcher = Dispatcher(Committer(CommitStore(server), codec, key_wrap), command_of(tracer))
    authentication = Authentication(verifier, store, rate_limits)
    passwords = Passwords(
        memory_kib=settings.argon2_memory_kib,
        iterations=settings.argon2_iterations,
        parallelism=settings.argon2_parallelism,
    )
    log_in_limits = LogInLimits(
        per_account=settings.log_in_failures_per_account,
        per_address=settings.log_in_failures_per_address,
    )
    sessions = OpenSessions(store, accounts, secret, idle_days_max=settings.session_idle_days_max)
    mails = RequestedMails(store, key_wrap)
    mail_limits = MailLimits(per_address=settings.mail_requests_per_address)
    ledger = ErasureLedger(settings.erasure_ledger, store) if settings.erasure_ledger else None
    token_issuer = TokenIssuer(
        settings.token_private_key.get_secret_value(), issuer=issuer, audience=audience
    )
    commands = Commands(dispatcher, secret)
    closed_movies = ClosedMovies(store, dispatcher, codec, partial(catalogue_id_stream, secret))
    room = BulkRoom()
    bulk = BulkRequests(room, dispatcher, secret)
    shelf = Shelf(store, key_wrap, secret)
    export = Export(store, codec, key_wrap, replica)
    rooms = (
        Users(commands, bulk, accounts, passwords, log_in_limits, export, ledger),
        Mails(commands, accounts, passwords, mails, mail_limits),
        Sessions(
            commands, sessions, accounts, passwords, authentication, log_in_limits, token_issuer
        ),
        Keys(ServiceKeys(store, codec)),
        Movies(commands, bulk, closed_movies, secret),
        Ratings(commands, bulk),
        Imports(shelf, room),
        Operations(SharedLookUp(store.head), tasks, settings.metrics_token),
        PublishedKeys(settings.token_public_keys),
    )
    gate = CommandGate(authentication, rate_limits, Callers(store, codec, key_wrap))
    return _Parts(
        store=store,
        replica=replica,
        dispatcher=dispatcher,
        passwords=passwords,
        upkeep=Upkeep(store, sessions, mails, shelf, ledger),
        closed_movies=closed_movies,
        import_writer=ImportWriter(shelf, dispatcher, secret),
        tasks=tasks,
        rooms=rooms,
        gate=gate,
    )


def _replica(settings: CommandSettings, primary: Store) -> Replica | None:
    if settings.log_replica_url is None:
        return None
    server = Server(
        settings.log_replica_url.get_secret_value(),
        schema=settings.database_schema,
        pooler=settings.database_pooler,
    )
    return Replica(primary, Store(server, connections_max=EXPORTS_MAX))
