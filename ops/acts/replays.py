"""Replays: rebuild a projection's read model beside the live one, and switch to it.

The build runs as RQ jobs, one for each share of the partitions. The projector follows the new
generation and switches; this module orders the replay. What it orders is in the table of
generations, so that it outlives every process.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from ops.acts.projections import definition_of, known_generation
from ops.errors import OperatorError
from ops.jobs import JobQueue
from projector.building.upkeep import purge
from projector.generations.switch import switch_if_ready
from projector.generations.table import Generation
from projector.wiring import Wiring

# The parallel jobs of one replay.
WORKERS_MAX = 16

log = structlog.get_logger()


class Replays:
    """Starts replays and manages generations."""

    def __init__(self, wiring: Wiring, jobs: JobQueue) -> None:
        self._jobs = jobs
        self._wiring = wiring
        self._generations = wiring.generations

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

    def order_switch(self, projection: str, number: int, *, audit: bool = True) -> Generation:
        """Make a generation the live one, forward or back, now or once it is ready.

        A generation that was never live has to pass an audit first, unless `audit` is false. Return
        the generation as it was before. Raises `OperatorError` if it can never become live.
        """
        generation = self.get(projection, number)
        if generation.state == "active":
            return generation
        if not audit:
            self._generations.set_audit(projection, number, "none")
        elif not generation.may_switch and generation.state == "following":
            self._jobs.require_worker()
            self._generations.set_audit(projection, number, "wanted")
            self._jobs.audit(projection, number)
        if not self._generations.switch_when_ready(projection, number):
            raise OperatorError(f"generation {number} of {projection} is {generation.state}")
        ordered = self.get(projection, number)
        # If it is not possible now, the projector switches later, in its periodic upkeep.
        if ordered.may_switch:
            switch_if_ready(self._generations, self._wiring.store, ordered)
        return generation

    def forget_switch(self, before: Generation) -> None:
        """Take an ordered switch back, unless the generation was to become live before it."""
        if not before.switch_when_ready:
            self._generations.switch_when_ready(before.projection, before.number, wanted=False)

    def cancel(self, generation: Generation) -> Generation:
        """Delete what a replay has built, unless it was live ever; its jobs give up."""
        if self.current(generation).state in ("building", "following"):
            self.purge(generation.projection, generation.number)
        return self.current(generation)

    def purge(self, projection: str, number: int) -> int:
        """Delete a generation that is not live; return the number of deleted keys."""
        generation = self.get(projection, number)
        if generation.state in ("active", "purged"):
            raise OperatorError(f"generation {number} of {projection} is {generation.state}")
        return purge(self._generations, self._wiring.store, generation)

    def get(self, projection: str, number: int) -> Generation:
        """Return a generation, even a purged one; raise `NoSuch`."""
        return known_generation(self._generations, projection, number)

    def current(self, generation: Generation) -> Generation:
        return self.get(generation.projection, generation.number)

    def require_future(self, generation: Generation) -> None:
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
