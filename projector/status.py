"""Measure the projections periodically, for the query API (through Redis) and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from projector.documents.store import ABSENT
from projector.generations.table import Generation
from projector.log.reader import READ_EVENTS
from projector.sharing.member import LIVE, OWN_PARTITIONS
from projector.wiring import Wiring
from shared.errors import Misconfigured
from shared.ids import Position
from shared.process.tasks import FAILURES, LAST_SUCCESS_AGE
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.status import STATUS_KEY, GenerationStatus, Status

EVERY_S = 1.0

log = structlog.get_logger()


class Sampler:
    """Take samples of every generation; rates refer to the previous sample.

    Not thread-safe.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._before: dict[tuple[str, int], tuple[float, Position]] = {}

    def sample(self) -> Status:
        generations = self._wiring.generations.all()
        # Read the head first: a checkpoint must not seem to lag behind events appended since.
        head = self._wiring.reader.head()
        rows = [
            _status(one, parked=0) if one.state == "building" else self._followed(one, head)
            for one in generations
        ]
        rows.sort(key=lambda row: (row.projection, row.generation))
        return Status(at=datetime.now(UTC), head=head, generations=rows)

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

    def _rate(self, generation: Generation, position: Position) -> float | None:
        key, now = (generation.projection, generation.number), time.monotonic()
        before = self._before.get(key)
        self._before[key] = (now, position)
        if before is None or now <= before[0]:
            return None
        return round(max(position - before[1], 0) / (now - before[0]), 1)


def _status(
    generation: Generation,
    *,
    parked: int,
    checkpoint: Position | None = None,
    lag_events: int | None = None,
    lag_s: float | None = None,
    events_per_s: float | None = None,
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
    )


class StatusKeeper:
    """Hold the latest sample, and copy it to Redis for the query API."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._sampler = Sampler(wiring)
        self.latest: Status | None = None

    def run_once(self) -> None:
        self.latest = self._sampler.sample()
        self._wiring.store.write(STATUS_KEY, msgspec.json.encode(self.latest))


class StatusCollector(Collector):
    """Export the latest status as gauges, by projection and generation."""

    def __init__(self, keeper: StatusKeeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterable[GaugeMetricFamily]:
        status = self._keeper.latest
        if status is None:
            return
        head = GaugeMetricFamily("starfold_log_head", "Last position of the log.")
        head.add_metric([], status.head)
        yield head
        labels = ("projection", "generation", "state")
        for name, text in (
            ("checkpoint", "Position of the partition that is furthest behind."),
            ("lag_events", "Positions between that partition and the head of the log."),
            ("lag_s", "Age of the first event that is not applied, in seconds."),
            ("events_per_s", "Rate at which the checkpoint advances."),
            ("parked", "Parked entities, whose documents are frozen."),
        ):
            gauge = GaugeMetricFamily(f"starfold_projection_{name}", text, labels=labels)
            for one in status.generations:
                value = getattr(one, name)
                if value is not None:
                    gauge.add_metric([one.projection, str(one.generation), one.state], value)
            yield gauge
        stopped = GaugeMetricFamily(
            "starfold_projection_stopped", "1 if the generation has stopped.", labels=labels
        )
        for one in status.generations:
            stopped.add_metric(
                [one.projection, str(one.generation), one.state], one.stopped is not None
            )
        yield stopped


class MetricsServer:
    """Serve the status and the process metrics to Prometheus on a thread of its own."""

    def __init__(self, keeper: StatusKeeper, *, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(StatusCollector(keeper))
        registry.register(FAILURES)
        registry.register(LAST_SUCCESS_AGE)
        registry.register(READ_EVENTS)
        registry.register(LIVE)
        registry.register(OWN_PARTITIONS)
        ProcessCollector(registry=registry)
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise Misconfigured(
                f"STARFOLD_METRICS_PORT: cannot listen on port {port} of {host}: {error.strerror}"
            ) from None
        log.info("metrics_served", host=host, port=port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
