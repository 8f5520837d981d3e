"""Acts of operators over HTTP, each recorded in the audit log before anything happens.

A route hands over the act's name, its parameters as the audit log keeps them, and a function, which
is the same one that `starfold` calls. A function may store what it did in its record's `result`:
that is all that a repeat of the request gets.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import structlog

from command_api.bodies.idempotency_key import key_text
from command_api.deciding.principal import Member, Principal
from console.acts.conditions import ActParameters, Subject
from console.settings import ConsoleSettings
from console.worker_thread import SERVER_ERRORS, WiredThread
from ops.acts.log import ActLog, By, Record, Repeated, Via
from ops.acts.projections import NoSuch
from ops.errors import OperatorError
from ops.failures import failure_text
from projector.wiring import Wiring, wire
from shared.errors import Conflict, NotFound, Overloaded, StarfoldError, Unavailable
from shared.ids import keyed_uuid
from shared.web.operation import Request

Value = TypeVar("Value")
Prepared = TypeVar("Prepared")
Asked = TypeVar("Asked", bound=ActParameters)

# Long acts that run at the same time; each folds the log on a thread of this process.
LONG_MAX = 2

log = structlog.get_logger()


class Done(NamedTuple, Generic[Value]):
    """An act that is done: its row's result, and what its function returned, None for a repeat."""

    act_id: UUID
    result: dict[str, Any]
    value: Value | None = None


class Stopping(OperatorError):
    """The console stops in the middle of an act."""


class LongAct:
    """A long act while it runs."""

    def __init__(self, record: Record, stopping: threading.Event) -> None:
        self.record = record
        self.stopping = stopping

    def require_running(self, _progress: int = 0) -> None:
        """Raise `Stopping` once the console stops; a function calls it every now and then."""
        if self.stopping.is_set():
            raise Stopping("the console was stopped before the act was done")


class ActExecutor:
    """Performs acts on threads that have the worker's roles."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._secret = settings.reservation_secret.get_secret_value()
        self._thread = WiredThread(settings, "console-acts")
        self._long = ThreadPoolExecutor(LONG_MAX, thread_name_prefix="console-long-acts")
        self._long_running = 0
        self._stopping = threading.Event()
        self.log = ActLog(
            settings.database_url.get_secret_value(),
            schema=settings.database_schema,
            pooler=settings.database_pooler,
        )

    async def perform(
        self,
        request: Request[Asked, Any],
        act: str,
        parameters: Mapping[str, Any],
        function: Callable[[Wiring, Record], Value],
        *,
        subject: Subject | None = None,
    ) -> Done[Value]:
        """Perform an act that takes a moment, unless the request repeats one that is done.

        Raises `NotFound` and `Conflict` for what `starfold` refuses, `StaleVersion` if the
        subject has changed since the caller has seen it, and what `WiredThread.run` raises.
        """
        by, condition = self._by(request), request.parameters.condition

        def recorded(wiring: Wiring) -> Done[Value]:
            with refusals():
                try:
                    with self.log.recorded(by, act, parameters) as record:
                        if subject is not None:
                            subject.require(condition, wiring)
                        value = function(wiring, record)
                except Repeated as repeated:
                    if repeated.first.state == "running":
                        raise Conflict("the request that this one repeats is not done") from None
                    return Done(repeated.first.act_id, repeated.first.result or {})
            return Done(record.act_id, record.result, value)

        return await self._thread.run(recorded)

    async def begin(
        self,
        request: Request[Asked, Any],
        act: str,
        parameters: Mapping[str, Any],
        prepare: Callable[[Wiring], Prepared],
        function: Callable[[Wiring, LongAct, Prepared], None],
        *,
        subject: Subject | None = None,
    ) -> UUID:
        """Begin an act that may take minutes, and return its id once it is under way.

        `prepare` refuses what is impossible, before the caller learns that the act has begun.
        Raises what `perform` raises, and `Overloaded` if too many long acts are running.
        """
        if self._long_running >= LONG_MAX:
            raise Overloaded(f"{LONG_MAX} long acts are running already")
        by, condition = self._by(request), request.parameters.condition
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[UUID] = loop.create_future()

        def recorded() -> None:
            wiring = wire(self._settings)
            try:
                with self.log.recorded(by, act, parameters) as record:
                    if subject is not None:
                        subject.require(condition, wiring)
                    prepared = prepare(wiring)
                    loop.call_soon_threadsafe(_settle, begun, record.act_id)
                    function(wiring, LongAct(record, self._stopping), prepared)
            except Repeated as repeated:
                loop.call_soon_threadsafe(_settle, begun, repeated.first.act_id)
            finally:
                wiring.close()

        def ended(task: asyncio.Future[None]) -> None:
            self._long_running -= 1
            error = task.exception()
            if error is None:
                return
            if not begun.done():
                begun.set_exception(error)
            elif isinstance(error, (OperatorError, StarfoldError, *SERVER_ERRORS)):
                log.warning("act_failed", act=act, error=failure_text(error))
            else:
                log.error("act_failed", act=act, error=type(error).__name__, exc_info=error)

        self._long_running += 1
        loop.run_in_executor(self._long, recorded).add_done_callback(ended)
        with refusals():
            # A caller who is gone must not cancel what `ended` sets.
            return await asyncio.shield(begun)

    async def close(self) -> None:
        """Finish acts of a moment, end long ones, and close the connections."""
        self._stopping.set()
        await self._thread.close()
        await asyncio.to_thread(self._long.shutdown)

    def _by(self, request: Request[Asked, Any]) -> By:
        principal: Principal = request.caller.principal
        actor, given = str(principal.actor), request.parameters.idempotency_key
        repeat_key = None
        if given is not None:
            repeat_key = keyed_uuid(self._secret, "act", f"{actor}\0{key_text(given)}")
        via: Via = "web" if isinstance(principal, Member) else "key"
        return By(actor, via, request.request_id, repeat_key)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors of operators' acts into the ones that HTTP answers with."""
    try:
        yield
    except NoSuch as error:
        raise NotFound(str(error)) from None
    except OperatorError as error:
        raise Conflict(str(error)) from None
    except SERVER_ERRORS as error:
        # The text of an error may name hosts, roles and databases.
        log.warning("act_failed", error=failure_text(error))
        raise Unavailable("the log or the read models do not answer") from error


def _settle(begun: asyncio.Future[UUID], act_id: UUID) -> None:
    if not begun.done():
        begun.set_result(act_id)
