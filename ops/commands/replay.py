"""Show the progress of replays and switches in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.acts.replay_waits import WaitReport
from ops.acts.replays import Replays
from ops.commands.read_models import wired
from ops.errors import OperatorError
from ops.home.access import jobs_settings
from ops.home.folder import Home
from ops.jobs import JobQueue
from ops.progress import Progress
from ops.tables import print_table
from projector.generations.table import Generation, State
from projector.wiring import Wiring

POLL_S = 0.2
SWITCH_WAIT_S = 60.0
# Give up on a replay that has made no progress for this long.
STILL_MAX_S = 120.0
COLUMNS = ("projection", "generation", "state", "why", "definition", "built", "audit", "stopped")
BUILT: tuple[State, ...] = ("following", "active", "retired")
BUILT_AND_LIVE: tuple[State, ...] = ("active", "retired")


class WatchedReplays:
    """Replays, and the waiting for them that commands do."""

    def __init__(self, wiring: Wiring, jobs: JobQueue) -> None:
        self.acts = Replays(wiring, jobs)
        self._wiring = wiring
        self._generations = wiring.generations

    def watch(self, generation: Generation) -> Generation:
        """Show progress until the generation is built and, if requested, live.

        Raises `OperatorError` if it cannot get there, and after `STILL_MAX_S` without any progress.
        """
        goal = BUILT_AND_LIVE if generation.switch_when_ready else BUILT
        head = self._wiring.reader.head()
        wanted = self._generations.build_progress(generation, head).events_wanted
        waiting = WaitReport(self._wiring, f"replay {generation.projection}")
        with Progress(f"replay {generation.projection}", wanted) as progress:
            while True:
                current = self.acts.current(generation)
                progress.reach(self._generations.build_progress(generation, head).events)
                being_audited = current.state == "following" and current.audit == "wanted"
                if current.state in goal and not being_audited:
                    return current
                self.acts.require_future(current)
                reason = waiting.look(current)
                if waiting.still_s > STILL_MAX_S and not being_audited:
                    raise OperatorError(
                        f"generation {current.number} of {current.projection} has made no progress"
                        f" for {STILL_MAX_S:.0f} s: {reason}. The replay is kept: `starfold"
                        f" replays` shows it, `starfold purge {current.projection}"
                        f" {current.number}` deletes it"
                    )
                time.sleep(POLL_S)

    def switch(
        self, projection: str, number: int, *, audit: bool = True, wait_s: float = SWITCH_WAIT_S
    ) -> None:
        """Make a generation the live one, forward or back; return when it is.

        Raises `OperatorError` after `wait_s`; then, and after an interrupt, nothing is switched
        later.
        """
        before = self.acts.order_switch(projection, number, audit=audit)
        try:
            self._await_switch(self.acts.current(before), wait_s)
        except BaseException:  # Also on Ctrl-C: nobody waits for the switch any more.
            self.acts.forget_switch(before)
            raise

    def _await_switch(self, generation: Generation, wait_s: float) -> None:
        give_up_at = time.monotonic() + wait_s
        waiting = WaitReport(self._wiring, f"switch {generation.projection} {generation.number}")
        while generation.state != "active":
            self.acts.require_future(generation)
            reason = waiting.look(generation)
            if time.monotonic() > give_up_at:
                raise OperatorError(
                    f"generation {generation.number} of {generation.projection} did not become"
                    f" active within {wait_s:.0f} s: {reason}. Nothing was switched; set a longer"
                    " timeout with `--wait`"
                )
            time.sleep(POLL_S)
            generation = self.acts.current(generation)

    def print(self) -> None:
        """Print a line for each generation."""
        rows = []
        for one in self._generations.all():
            builds = self._generations.builds(one.projection, one.number)
            built = f"{sum(build.built for build in builds)} of {len(builds)} shares"
            row = (one.projection, one.number, one.state, one.reason)
            rows.append((*row, f"v{one.definition_version}", built, one.audit, one.stopped))
        print_table(COLUMNS, rows)


@contextmanager
def watched_replays(home: Home) -> Iterator[WatchedReplays]:
    jobs = JobQueue(jobs_settings(home))
    with wired(home) as wiring:
        yield WatchedReplays(wiring, jobs)
