"""The projector process: it follows the log on the main thread and recovers when a server fails.

Each thread is a supervised task with its own connections. After any error a task drops them: the
server may have been demoted to a replica, and a new connection may reach another server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import structlog

from projector.audit.healer import Healer
from projector.building.builder import Builder
from projector.building.upkeep import Upkeep
from projector.event_index import BATCH_EVERY_S
from projector.following.commit_delay import COMMIT_TO_APPLIED
from projector.following.follower import IDLE_ADVANCE_S, SERVER_ERRORS, Follower
from projector.following.traced_follower import TracedFollower
from projector.generations.table import Generation
from projector.log.reader import READ_EVENTS
from projector.log.wakeup import POLL_S, WakeUp
from projector.projections import DEFINITIONS
from projector.scrubber import Scrubber
from projector.settings import ProjectorSettings
from projector.sharing.member import LIVE, OWN_PARTITIONS, Member
from projector.status import StatusCollector, StatusKeeper
from projector.wiring import Wiring, wire
from shared.process.metrics_server import MetricsServer
from shared.process.tasks import FAILURES, LAST_SUCCESS_AGE, TaskHealth, Tasks
from shared.tracing import tracer_of

REFRESH_EVERY_S = 0.5
UPKEEP_EVERY_S = 1.0
STATUS_EVERY_S = 1.0
SCRUB_TICK_S = 1.0
MAILS_EVERY_S = 2.0
# Reports come in bursts, and each round of healing reads the log.
HEALING_EVERY_S = 1.0
# Longer than any server timeout: a thread cannot be cancelled, only reported.
STALE_AFTER_S = 60.0
# After a small pass, wait for more events: the fixed cost of a pass is half the cost of a small
# one. A lone event is not delayed; an event right after it waits at most this long.
SMALL_PASS_EVENTS = 250
GATHER_S = 0.003
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 2.0

# What the projector's metrics have beside the status and the process.
METRICS = (
    COMMIT_TO_APPLIED,
    FAILURES,
    LAST_SUCCESS_AGE,
    LIVE,
    OWN_PARTITIONS,
    READ_EVENTS,
)

log = structlog.get_logger()


class Projector:
    """Follow the log on the thread that calls `run`; other tasks have their own threads.

    Those are upkeep, healing, scrubbing and status; `stop` ends all of them after the current pass.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        self._stop = threading.Event()
        self._settings = settings
        self._tasks = Tasks(expected=SERVER_ERRORS)
        self._following = self._tasks.health("following", stale_after_s=STALE_AFTER_S)
        self._wiring = wire(settings)
        self._upkeep_wiring = wire(settings)
        self._status_wiring = wire(settings)
        self._healing_wiring = wire(settings)
        self._status = StatusKeeper(self._status_wiring, has_event_index=settings.event_index)
        self._scrubber = Scrubber(
            self._upkeep_wiring.events,
            self._upkeep_wiring.generations,
            settings.redis_url.get_secret_value(),
            every_s=settings.scrub_every_s,
            stop=self._stop,
        )
        reader, store = self._wiring.reader, self._wiring.store
        self._tracer = tracer_of(settings, process="projector")
        self._follower = (
            Follower(reader, store)
            if self._tracer is None
            else TracedFollower(reader, store, self._tracer)
        )
        self._member = Member(self._wiring.projectors)
        self._passes = True
        self._wake_up = WakeUp(settings.listen_dsn)
        self._refreshed_at = 0.0

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        self._start()
        host, port = self._settings.metrics_host, self._settings.metrics_port
        metrics = None
        if port is not None:
            metrics = MetricsServer(
                [StatusCollector(self._status), *METRICS],
                host=host,
                port=port,
                setting="STARFOLD_METRICS_PORT",
            )
        beside = [
            self._upkeep_thread(),
            self._healing_thread(),
            self._scrubbing_thread(),
            self._status_thread(),
            *self._event_index_thread(),
            *self._mail_thread(),
        ]
        for thread in beside:
            thread.start()
        log.info("projector_started", projections=list(DEFINITIONS))
        try:
            self._tasks.run(
                self._following, self._follow, stop=self._stop, recover=self._stop_following
            )
        finally:
            self._stop.set()
            self._leave()
            for thread in beside:
                thread.join()
            if metrics is not None:
                metrics.close()
            self._wake_up.close()
            self._scrubber.close()
            for wiring in (
                self._wiring,
                self._upkeep_wiring,
                self._healing_wiring,
                self._status_wiring,
            ):
                wiring.close()
            if self._tracer is not None:
                self._tracer.close()
        log.info("projector_stopped")

    def _start(self) -> None:
        """Wait for the servers, and refuse server settings that could lose documents."""
        pause_s = RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                self._wiring.store.require_usable()
                self._wiring.events.require_durability()
                self._wiring.reader.require_sealing_key()
                self._member.renew()
            except SERVER_ERRORS as error:
                log.warning("projector_waits", error=str(error))
                self._wiring.store.forget_connection()
            else:
                return
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _follow(self) -> None:
        """Make one pass over new events, or wait for the log to grow."""
        self._wake_up.listen()
        self._refresh()
        self._wake_up.forget()
        folded = self._follower.run_pass()
        self._passes = True
        if folded == 0:
            self._wake_up.wait(IDLE_ADVANCE_S if self._follower.lagging else POLL_S)
        elif folded < SMALL_PASS_EVENTS:
            self._stop.wait(GATHER_S)

    def _stop_following(self) -> None:
        """Drop what was folded but not written, so that nothing is folded on top of it."""
        self._passes = False
        self._follower.forget()
        self._wiring.store.forget_connection()
        self._refreshed_at = 0.0

    def _refresh(self) -> None:
        """Follow this projector's share of the generations that live now.

        The others take over from a projector whose passes fail: it does not renew its membership.
        """
        if time.monotonic() - self._refreshed_at < REFRESH_EVERY_S:
            return
        self._wiring.store.require_writable()
        if self._passes:
            self._member.renew()
        generations = [
            generation
            for generation in self._wiring.generations.all()
            if generation.state in ("following", "active", "retired")
            and generation.projection in DEFINITIONS
            and generation.definition_version == DEFINITIONS[generation.projection].version
        ]
        self._follower.follow(generations, self._member.share)
        for generation in generations:
            self._note_stopped(generation)
        self._refreshed_at = time.monotonic()

    def _note_stopped(self, generation: Generation) -> None:
        """Note why this projector's partitions do not advance, but not over another's reason."""
        member = self._member.id
        held = self._follower.followed.get((generation.projection, generation.number))
        if generation.stopped_by != member and (
            held is None
            or (generation.stopped is not None and generation.stopped_by in self._member.live)
        ):
            return
        reason = held.stopped if held is not None else None
        if reason != generation.stopped:
            self._wiring.generations.set_stopped(
                generation.projection, generation.number, reason, member
            )

    def _leave(self) -> None:
        try:
            self._member.leave()
        except SERVER_ERRORS as error:
            log.warning("leaving_failed", error=str(error))

    def _upkeep_thread(self) -> threading.Thread:
        wiring: Wiring = self._upkeep_wiring
        health = self._tasks.health("upkeep", stale_after_s=STALE_AFTER_S)
        builder = Builder(
            wiring.reader, wiring.store, wiring.generations, keep_on=self._keep_on(health)
        )
        upkeep = Upkeep(wiring, builder)
        keep = self._if_leading(upkeep.run_once)
        return self._thread(health, keep, UPKEEP_EVERY_S, wiring.store.forget_connection)

    def _healing_thread(self) -> threading.Thread:
        health = self._tasks.health("healing", stale_after_s=STALE_AFTER_S)
        healer = Healer(self._healing_wiring, on_progress=health.succeeded)
        recover = self._healing_wiring.store.forget_connection
        return self._thread(health, self._if_leading(healer.run_once), HEALING_EVERY_S, recover)

    def _scrubbing_thread(self) -> threading.Thread:
        health = self._tasks.health("scrubbing", stale_after_s=STALE_AFTER_S, needed=False)
        self._scrubber.on_progress = health.succeeded
        scrub = self._if_leading(self._scrubber.run_once)
        return self._thread(health, scrub, SCRUB_TICK_S, self._scrubber.forget_connections)

    def _status_thread(self) -> threading.Thread:
        health = self._tasks.health("status", stale_after_s=STALE_AFTER_S, needed=False)
        recover = self._status_wiring.store.forget_connection
        return self._thread(health, self._status.run_once, STATUS_EVERY_S, recover)

    def _event_index_thread(self) -> Iterator[threading.Thread]:
        """Yield the thread that keeps up the event index, if the settings ask for one."""
        if self._settings.event_index:
            health = self._tasks.health("event-index", stale_after_s=STALE_AFTER_S, needed=False)
            advance = self._if_leading(self._status_wiring.event_index.advance)
            yield self._thread(health, advance, BATCH_EVERY_S, lambda: None)

    def _mail_thread(self) -> Iterator[threading.Thread]:
        """Yield the thread that sends mails, if the settings say where to."""
        mails = self._status_wiring.mails
        if mails is not None:
            health = self._tasks.health("mails", stale_after_s=STALE_AFTER_S, needed=False)
            yield self._thread(health, mails.send_due, MAILS_EVERY_S, lambda: None)

    def _thread(
        self,
        health: TaskHealth,
        step: Callable[[], object],
        every_s: float,
        recover: Callable[[], object],
    ) -> threading.Thread:
        repeat = partial(
            self._tasks.run, health, step, stop=self._stop, every_s=every_s, recover=recover
        )
        return threading.Thread(target=repeat, name=health.name)

    def _if_leading(self, step: Callable[[], object]) -> Callable[[], None]:
        """Return a step that only the oldest of the projectors does."""

        def step_if_leading() -> None:
            if self._member.leads:
                step()

        return step_if_leading

    def _keep_on(self, health: TaskHealth) -> Callable[[], bool]:
        """Return the callback that long-running steps call in each round."""

        def keep_on() -> bool:
            health.succeeded()
            return not self._stop.is_set()

        return keep_on
