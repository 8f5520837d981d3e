"""Measure the projections periodically, for the query API (through Redis) and for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from projector.documents.store import ABSENT
from projector.event_index import EventIndexStatus
from projector.generations.table import Generation, State
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.status import STATUS_KEY, BuildStatus, GenerationStatus, Status

EVERY_S = 1.0
# The states of generations whose data exists.
STATES = tuple(state for state in get_args(State) if state != "purged")


class Sampler:
    """Take samples of every generation; rates refer to the previous sample.

    Not thread-safe.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._before: dict[tuple[str, int, bool], tuple[float, int]] = {}

    def sample(self) -> Status:
        generations = self._wiring.generations.all()
        # Read the head first: a checkpoint must not seem to lag behind events appended since.
        head = self._wiring.reader.head()
        rows = [
            self._built(one, head) if one.state == "building" else self._followed(one, head)
            for one in generations
        ]
        rows.sort(key=lambda row: (row.projection, row.generation))
        return Status(at=datetime.now(UTC), head=head, generations=rows)

    def _built(self, generation: Generation, head: Position) -> GenerationStatus:
        read, wanted = self._wiring.generations.build_progress(generation, head)
        rate = self._rate(generation, read)
        build = BuildStatus(
            events=read,
            events_wanted=wanted,
            events_per_s=rate,
            left_s=round((wanted - read) / rate, 1) if rate else None,
        )
        return _status(generation, parked=0, build=build)

    def _followed(self, generation: Generation, head: Position) -> GenerationStatus:
        stored = self._wiring.store.checkpoints(generation.all_keys)
        if ABSENT in stored:
            return _status(generation, parked=0)
        lowest = min(decode_checkpoint(checkpoint).position for checkpoint in stored)
        parked = sum(map(len, self._wiring.store.parked(generation.all_keys)))
        lag_events = max(head - lowest, 0)
        lag_s = 0.0
        if lag_events:
            recorded_at = self._wiring.reader.recorded_at(Position(lowest + 1))
            if recorded_at is not None:
                lag_s = max((datetime.now(UTC) - recorded_at).total_seconds(), 0.0)
        return _status(
            generation,
            parked=parked,
            checkpoint=lowest,
            lag_events=lag_events,
            lag_s=round(lag_s, 3),
            events_per_s=self._rate(generation, lowest),
        )

    def _rate(self, generation: Generation, position: int) -> float | None:
        """Return positions a second since the last sample in the same state."""
        is_built = generation.state != "building"
        key, now = (generation.projection, generation.number, is_built), time.monotonic()
        before = self._before.get(key)
        self._before[key] = (now, position)
        if before is None or now <= before[0]:
            return None
        return round(max(position - before[1], 0) / (now - before[0]), 1)


def absent_status(generation: Generation) -> GenerationStatus:
    """Return the status of a generation whose data does not exist: a purged one's."""
    return _status(generation, parked=0)


def _status(
    generation: Generation,
    *,
    parked: int,
    checkpoint: Position | None = None,
    lag_events: int | None = None,
    lag_s: float | None = None,
    events_per_s: float | None = None,
    build: BuildStatus | None = None,
) -> GenerationStatus:
    return GenerationStatus(
        projection=generation.projection,
        generation=generation.number,
        state=generation.state,
        definition=generation.definition_version,
        audit=generation.audit,
        checkpoint=checkpoint,
        lag_events=lag_events,
        lag_s=lag_s,
        events_per_s=events_per_s,
        parked=parked,
        stopped=generation.stopped,
        build=build,
    )


class StatusKeeper:
    """Hold the latest sample, and copy it to Redis for the query API."""

    def __init__(self, wiring: Wiring, *, has_event_index: bool) -> None:
        self._wiring = wiring
        self._has_event_index = has_event_index
        self._sampler = Sampler(wiring)
        self.latest: Status | None = None
        self.event_index: EventIndexStatus | None = None

    def run_once(self) -> None:
        self.latest = self._sampler.sample()
        self._wiring.store.write(STATUS_KEY, msgspec.json.encode(self.latest))
        # One that is no longer kept up falls behind for ever, as it should.
        if self._has_event_index:
            self.event_index = self._wiring.event_index.status(self.latest.head)


class StatusCollector(Collector):
    """Export the latest status as gauges.

    Series of a projection are about its active generation, and have no label that changes when
    another generation takes its place.
    """

    def __init__(self, keeper: StatusKeeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterable[GaugeMetricFamily]:
        status = self._keeper.latest
        if status is None:
            return
        head = GaugeMetricFamily("starfold_log_head", "Last position of the log.")
        head.add_metric([], status.head)
        yield head
        active = [one for one in status.generations if one.state == "active"]
        for name, field, text in (
            ("checkpoint", "checkpoint", "Position of the partition that is furthest behind."),
            ("lag_events", "lag_events", "Positions from that partition to the head of the log."),
            ("lag_seconds", "lag_s", "Age of the first event that is not applied."),
            ("parked_entities", "parked", "Parked entities, whose documents are frozen."),
            ("generation", "generation", "Number of the active generation."),
        ):
            yield _gauge(
                f"starfold_projection_{name}",
                text,
                {(one.projection,): getattr(one, field) for one in active},
            )
        yield from _generations(status.generations)
        if self._keeper.event_index is not None:
            yield from _event_index(self._keeper.event_index)


def _event_index(status: EventIndexStatus) -> Iterable[GaugeMetricFamily]:
    for name, text, value in (
        ("lag_events", "Positions from the event index to the head of the log.", status.lag_events),
        ("lag_seconds", "Age of the first event that is not in the event index.", status.lag_s),
    ):
        gauge = GaugeMetricFamily(f"starfold_event_index_{name}", text)
        gauge.add_metric([], value)
        yield gauge


def _generations(generations: Sequence[GenerationStatus]) -> Iterable[GaugeMetricFamily]:
    """Return the gauges about all generations of each projection."""
    projections = {one.projection for one in generations}
    states = Counter((one.projection, one.state) for one in generations)
    yield _gauge(
        "starfold_projection_generations",
        "Generations of the projection in each state.",
        {(one, state): states[one, state] for one in projections for state in STATES},
        ("projection", "state"),
    )
    stopped = Counter(one.projection for one in generations if one.stopped is not None)
    yield _gauge(
        "starfold_projection_stopped_generations",
        "Generations that do not follow the log.",
        {(one,): stopped[one] for one in projections},
    )
    builds = {one.projection: one.build for one in generations if one.build is not None}
    left = {
        one: builds[one].events_wanted - builds[one].events if one in builds else 0
        for one in projections
    }
    yield _gauge(
        "starfold_projection_build_events",
        "Events that the shares of the newest build have yet to read; 0 without a build.",
        {(one,): left[one] for one in projections},
    )
    yield _gauge(
        "starfold_projection_generation_info",
        "1 for each generation.",
        {
            (one.projection, str(one.generation), one.state, str(one.definition), one.audit): 1
            for one in generations
        },
        ("projection", "generation", "state", "definition", "audit"),
    )


def _gauge(
    name: str,
    text: str,
    values: Mapping[tuple[str, ...], float | None],
    labels: Sequence[str] = ("projection",),
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        if value is not None:
            gauge.add_metric(of, value)
    return gauge
