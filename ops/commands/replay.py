"""Replays: rebuild a projection's read model beside the live one, and switch to it.

The build runs as RQ jobs, one for each share of the partitions. The projector follows the new
generation and switches; this module only orders the replay and watches it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from ops.commands.read_models import definition_of
from ops.commands.replay_waits import WaitReport
from ops.errors import OperatorError
from ops.home.access import jobs_settings, projector_settings
from ops.home.folder import Home
from ops.jobs import JobQueue
from ops.progress import Progress
from ops.tables import print_table
from projector.building.upkeep import purge
from projector.generations.switch import switch_if_ready
from projector.generations.table import Generation, State
from projector.wiring import wire

POLL_S = 0.2
SWITCH_WAIT_S = 60.0
# Give up on a replay that has made no progress for this long.
STILL_MAX_S = 120.0
COLUMNS = ("projection", "generation", "state", "why", "definition", "built", "audit", "stopped")
BUILT: tuple[State, ...] = ("following", "active", "retired")
BUILT_AND_LIVE: tuple[State, ...] = ("active", "retired")

log = structlog.get_logger()


class Replays:
    """Starts replays and manages generations, for the commands of `starfold`."""

    def __init__(self, home: Home) -> None:
        self._jobs = JobQueue(jobs_settings(home))
        self._wiring = wire(projector_settings(home))
        self._generations = self._wiring.generations

    def start(
        self,
        projection: str,
        *,
        shares: int,
        switch: bool,
        audit: bool = True,
        events_per_s: float | None = None,
    ) -> Generation:
        """Order a replay; `events_per_s` limits the total rate at which its jobs read.

        Raises `OperatorError` if a replay exists already, or no worker runs.
        """
        definition = definition_of(projection)
        self._jobs.require_worker()
        for one in self._generations.all():
            if one.projection == projection and one.state in ("building", "following"):
                raise OperatorError(
                    f"generation {one.number} of {projection} is {one.state} already:"
                    f" `starfold switch {projection} {one.number}` makes it live,"
                    f" `starfold purge {projection} {one.number}` deletes it"
                )
        generation = self._generations.create(
            definition,
            "replay",
            shares=min(shares, definition.partitions),
            switch_when_ready=switch,
            audit="wanted" if audit else "none",
        )
        builds = self._generations.builds(projection, generation.number)
        each = events_per_s / len(builds) if events_per_s else None
        for build in builds:
            self._jobs.build_share(projection, generation.number, build.share, each)
        log.info("replay_ordered", projection=projection, generation=generation.number)
        return generation

    def watch(self, generation: Generation) -> Generation:
        """Show progress until the generation is built and, if requested, live.

        Raises `OperatorError` if it cannot get there, and after `STILL_MAX_S` without any progress.
        """
        goal = BUILT_AND_LIVE if generation.switch_when_ready else BUILT
        head = self._wiring.reader.head()
        shares = len(self._generations.builds(generation.projection, generation.number))
        waiting = WaitReport(self._wiring, f"replay {generation.projection}")
        with Progress(f"replay {generation.projection}", head * shares) as progress:
            while True:
                current = self._current(generation)
                builds = self._generations.builds(generation.projection, generation.number)
                progress.reach(
                    sum(head if build.built else build.folded_events for build in builds)
                )
                being_audited = current.state == "following" and current.audit == "wanted"
                if current.state in goal and not being_audited:
                    return current
                self._require_future(current)
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

        A generation that was never live has to pass an audit first, unless `audit` is false. Raises
        `OperatorError` after `wait_s`; then, and after an interrupt, nothing is switched later.
        """
        generation = self._get(projection, number)
        if generation.state == "active":
            return
        if not audit:
            self._generations.set_audit(projection, number, "none")
        elif not generation.may_switch and generation.state == "following":
            self._jobs.require_worker()
            self._generations.set_audit(projection, number, "wanted")
            self._jobs.audit(projection, number)
        if not self._generations.switch_when_ready(projection, number):
            raise OperatorError(f"generation {number} of {projection} is {generation.state}")
        try:
            self._await_switch(self._get(projection, number), wait_s)
        except BaseException:  # Also on Ctrl-C: nobody waits for the switch any more.
            if not generation.switch_when_ready:
                self._generations.switch_when_ready(projection, number, wanted=False)
            raise

    def _await_switch(self, generation: Generation, wait_s: float) -> None:
        # If it is not possible now, the projector switches later, in its periodic upkeep.
        if generation.may_switch and switch_if_ready(
            self._generations, self._wiring.store, generation
        ):
            return
        give_up_at = time.monotonic() + wait_s
        waiting = WaitReport(self._wiring, f"switch {generation.projection} {generation.number}")
        while generation.state != "active":
            self._require_future(generation)
            reason = waiting.look(generation)
            if time.monotonic() > give_up_at:
                raise OperatorError(
                    f"generation {generation.number} of {generation.projection} did not become"
                    f" active within {wait_s:.0f} s: {reason}. Nothing was switched; set a longer"
                    " timeout with `--wait`"
                )
            time.sleep(POLL_S)
            generation = self._current(generation)

    def cancel(self, generation: Generation) -> Generation:
        """Delete what a replay has built, unless it is live already; its jobs give up."""
        if self._current(generation).state in ("building", "following"):
            self.purge(generation.projection, generation.number)
        return self._current(generation)

    def purge(self, projection: str, number: int) -> int:
        """Delete a generation that is not live; return the number of deleted keys."""
        generation = self._get(projection, number)
        if generation.state in ("active", "purged"):
            raise OperatorError(f"generation {number} of {projection} is {generation.state}")
        return purge(self._generations, self._wiring.store, generation)

    def print(self) -> None:
        """Print a line for each generation."""
        rows = []
        for one in self._generations.all():
            builds = self._generations.builds(one.projection, one.number)
            built = f"{sum(build.built for build in builds)} of {len(builds)} shares"
            row = (one.projection, one.number, one.state, one.reason)
            rows.append((*row, f"v{one.definition_version}", built, one.audit, one.stopped))
        print_table(COLUMNS, rows)

    def _get(self, projection: str, number: int) -> Generation:
        definition_of(projection)
        generation = self._generations.get(projection, number)
        if generation is None:
            raise OperatorError(f"there is no generation {number} of {projection}")
        return generation

    def _current(self, generation: Generation) -> Generation:
        return self._get(generation.projection, generation.number)

    def _raise_failure(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            try:
                job = Job.fetch(
                    job_id, connection=self._jobs.connection, serializer=self._jobs.queue.serializer
                )
            except NoSuchJobError:
                continue
            if job.get_status() == JobStatus.FAILED:
                result = job.latest_result()
                last = (result.exc_string or "").strip().splitlines()[-1:] if result else []
                raise OperatorError(f"job {job_id} failed: {' '.join(last)}")

    def _require_future(self, generation: Generation) -> None:
        """Raise `OperatorError` if the generation can never become what was requested."""
        number, projection = generation.number, generation.projection
        if generation.state == "purged":
            raise OperatorError(f"generation {number} was purged meanwhile")
        if generation.state == "following" and generation.audit == "failed":
            raise OperatorError(
                f"generation {number} has failed its audit:"
                f" `starfold verify {projection} --generation {number}` says why,"
                f" `starfold switch {projection} {number} --no-audit` makes it live anyway"
            )
        builds = self._generations.builds(projection, number)
        self._raise_failure(
            [f"build-{projection}-{number}-{one.share}" for one in builds if not one.built]
        )
