"""The projector's loop: follow the log, and heal by itself when a server goes away."""

from __future__ import annotations

import threading
import time

import structlog

from projector.build import Builder
from projector.follow import IDLE_ADVANCE_S, SERVER_ERRORS, Follower
from projector.projections import DEFINITIONS
from projector.scrub import Scrubber
from projector.settings import ProjectorSettings
from projector.status import MetricsServer, StatusKeeper
from projector.upkeep import Upkeep
from projector.wakeup import POLL_S, WakeUp
from projector.wiring import Wiring, wire

REFRESH_EVERY_S = 0.5
# Half of what a small batch costs is the pass itself: after one, the next is given time to gather.
# An event that comes alone is not held up, and one that follows it by this much.
SMALL_BATCH_EVENTS = 250
GATHER_S = 0.003
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 2.0

log = structlog.get_logger()


class Projector:
    """Follows on the thread that calls `run`, with upkeep on another; `stop` ends both after the
    batch.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        self._stop = threading.Event()
        self._wiring = wire(settings)
        self._upkeep_wiring = wire(settings)
        self._status_wiring = wire(settings)
        self._status = StatusKeeper(self._status_wiring)
        self._settings = settings
        self._scrubber = Scrubber(
            self._upkeep_wiring.events,
            self._upkeep_wiring.generations,
            settings.redis_url.get_secret_value(),
            every_s=settings.scrub_every_s,
        )
        self._follower = Follower(self._wiring.reader, self._wiring.store)
        self._wake_up = WakeUp(settings.listen_dsn)
        self._refreshed_at = 0.0

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        self._start()
        host, port = self._settings.metrics_host, self._settings.metrics_port
        metrics = None
        if port is not None:
            metrics = MetricsServer(self._status, host=host, port=port)
        beside = [
            threading.Thread(target=self._run_upkeep, name="upkeep"),
            threading.Thread(target=self._scrubber.run, args=[self._stop], name="scrubbing"),
            threading.Thread(target=self._status.run, args=[self._stop], name="status"),
        ]
        for thread in beside:
            thread.start()
        log.info("projector_started", projections=list(DEFINITIONS))
        try:
            self._follow_until_stopped()
        finally:
            self._stop.set()
            for thread in beside:
                thread.join()
            if metrics is not None:
                metrics.close()
            self._wake_up.close()
            for wiring in (self._wiring, self._upkeep_wiring, self._status_wiring):
                wiring.close()
        log.info("projector_stopped")

    def _start(self) -> None:
        """Wait for the servers; refuse settings of theirs with which documents could be lost."""
        pause_s = RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                self._wiring.store.require_usable()
                self._wiring.events.require_durability()
                self._wiring.reader.require_sealing_key()
            except SERVER_ERRORS as error:
                log.warning("projector_waits", error=str(error))
            else:
                return
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _follow_until_stopped(self) -> None:
        pause_s = RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                self._wake_up.listen()
                self._refresh()
                self._wake_up.forget()
                folded = self._follower.run_pass()
                if folded == 0:
                    self._wake_up.wait(IDLE_ADVANCE_S if self._follower.lagging else POLL_S)
                elif folded < SMALL_BATCH_EVENTS:
                    self._stop.wait(GATHER_S)
                pause_s = RETRY_FIRST_S
            except SERVER_ERRORS as error:
                log.warning("following_waits", error=str(error), seconds=pause_s)
                # What was folded and not written must not be folded on.
                self._follower.forget()
                self._wiring.store.forget_connection()
                self._refreshed_at = 0.0
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _refresh(self) -> None:
        """Take up the generations that came, let those go that went."""
        if time.monotonic() - self._refreshed_at < REFRESH_EVERY_S:
            return
        followed = [
            generation
            for generation in self._wiring.generations.all()
            if generation.state in ("following", "active", "retired")
            and generation.projection in DEFINITIONS
            and generation.definition_version == DEFINITIONS[generation.projection].version
        ]
        self._follower.follow(followed)
        for generation in followed:
            held = self._follower.followed.get((generation.projection, generation.number))
            if held is not None and held.stopped != generation.stopped:
                self._wiring.generations.set_stopped(
                    generation.projection, generation.number, held.stopped
                )
        self._refreshed_at = time.monotonic()

    def _run_upkeep(self) -> None:
        wiring: Wiring = self._upkeep_wiring
        builder = Builder(
            wiring.reader,
            wiring.store,
            wiring.generations,
            keep_on=lambda: not self._stop.is_set(),
        )
        Upkeep(wiring.generations, wiring.store, builder).run(self._stop)
