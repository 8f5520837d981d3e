"""Wiring of the operators' API: the only place where its parts meet."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from fastapi import FastAPI

from command_api.http.gate import CommandGate
from command_api.http.operations import Operations
from command_api.identity.accounts import Accounts
from command_api.identity.authentication import Authentication
from command_api.identity.callers import Callers
from command_api.identity.limits import RateLimits
from command_api.store.server import Server
from command_api.store.shared_look_up import SharedLookUp
from command_api.store.store import Store
from console.access import admission
from console.acts.executor import ActExecutor
from console.command_client import CommandClient
from console.http.acts import Acts
from console.http.events import Events
from console.http.keys import Keys
from console.http.lag import Lag
from console.http.mails import Mails
from console.http.projections.generations import Generations
from console.http.projections.parked import ParkedEntities
from console.http.projections.replays import Replays
from console.http.projections.states import Measured
from console.http.projections.verifications import Verifications
from console.http.system import System
from console.http.users import Users
from console.lag import LagTask
from console.settings import BODY_BYTES_MAX, ConsoleSettings
from console.system import WriteRate
from console.worker_thread import WiredThread
from ops.jobs import JobQueue
from shared.errors import Unavailable
from shared.log.codec import Codec
from shared.log.sealing import KeyWrap
from shared.process.tasks import Tasks
from shared.web.application import Service
from shared.web.cross_origin import CrossOrigin
from shared.web.serving.drain import drain_before_stop
from shared.web.serving.protocol import CHARGE_ADDRESS
from shared.web.tokens import TokenVerifier

log = structlog.get_logger()

DESCRIPTION = """What operators see: projections, and the events of the log. Every act leaves a row
in the audit log of operators' acts."""

TAGS = {
    "projections": "Read models: their generations, lag and progress.",
    "events": "The log: events by what they are about, personal data masked.",
    "users": "Users without personal data: their roles and sessions, and their erasure.",
    "keys": "Service keys.",
    "mails": "The outbox, where mails are without a mail server.",
    "acts": "The audit log: what operators did.",
    "operations": "Health and metrics.",
}
ROOMS = (
    Generations,
    Lag,
    Replays,
    Verifications,
    ParkedEntities,
    Events,
    Users,
    Keys,
    Mails,
    Acts,
    System,
    Operations,
)


class _Parts(NamedTuple):
    """The background parts of the application, and the parts that answer requests."""

    store: Store
    reads: WiredThread
    servers: WiredThread
    measuring: WiredThread
    rate: WriteRate
    acts: ActExecutor
    commands: CommandClient
    jobs: JobQueue
    tasks: Tasks
    rooms: Sequence[object]
    gate: CommandGate


def create_app(settings: ConsoleSettings) -> Service:
    """Return the application; its lifespan opens and closes its resources."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        parts = _wire(settings)
        assert isinstance(app, Service)
        app.serve(parts.rooms, parts.gate)
        log.info("console_started", port=settings.port)
        drain_before_stop(settings.drain_s, parts.tasks.drain, app.close_connections)
        measuring = LagTask(parts.measuring, parts.rate).start(parts.tasks)
        yield {CHARGE_ADDRESS: parts.gate.charge_address}
        measuring.cancel()
        await parts.measuring.close()
        await parts.acts.close()
        await parts.reads.close()
        await parts.servers.close()
        parts.commands.close()
        parts.jobs.close()
        await parts.store.close()
        log.info("console_stopped")

    return Service(
        ROOMS,
        title="Starfold operators' API",
        description=DESCRIPTION,
        lifespan=lifespan,
        body_bytes_max=BODY_BYTES_MAX,
        access_log=settings.access_log,
        cross_origin=CrossOrigin(settings.cors_origins, (), ()),
        tags=TAGS,
        admission=admission,
    )


def _wire(settings: ConsoleSettings) -> _Parts:
    server = Server(
        settings.database_url.get_secret_value(),
        schema=settings.database_schema,
        pooler=settings.database_pooler,
    )
    store = Store(server)
    verifier = TokenVerifier(
        *settings.token_public_keys,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        clock=time.time,
    )
    rate_limits = RateLimits(
        {
            "member": settings.rate_limit_member,
            "service": settings.rate_limit_service,
            "anonymous": settings.rate_limit_anonymous,
        }
    )
    key_wrap = KeyWrap(*settings.sealing_keys)
    gate = CommandGate(
        Authentication(verifier, store, rate_limits),
        rate_limits,
        Callers(store, Codec(), key_wrap),
    )
    accounts = Accounts(store, Codec(), key_wrap, settings.reservation_secret.get_secret_value())
    tasks = Tasks(expected=(Unavailable, OSError))
    reads = WiredThread(settings, "console-reads")
    # A server that hangs holds up the look at the servers, and no other read.
    servers = WiredThread(settings, "console-servers")
    measuring = WiredThread(settings, "console-lag")
    acts, commands = ActExecutor(settings), CommandClient(settings)
    jobs, measured, rate = JobQueue(settings), Measured(), WriteRate()
    rooms = (
        Generations(reads, acts, jobs, measured),
        Lag(reads),
        Replays(reads, acts, jobs, measured),
        Verifications(reads, acts),
        ParkedEntities(reads, acts),
        Events(reads, acts, key_wrap),
        Users(reads, acts, commands, accounts),
        Keys(reads, acts, commands),
        Mails(reads, acts, settings),
        Acts(reads, acts.log),
        System(servers, jobs, rate),
        Operations(SharedLookUp(store.head), tasks, settings.metrics_token),
    )
    return _Parts(store, reads, servers, measuring, rate, acts, commands, jobs, tasks, rooms, gate)
