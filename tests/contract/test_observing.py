"""Logs and metrics: `docs/observing.md` lists every event and every metric, and nothing else."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import cast

from prometheus_client import REGISTRY, Metric

from projector.event_index import EventIndexStatus
from projector.status import StatusCollector, StatusKeeper
from shared.ids import Position
from shared.read_model.status import GenerationStatus, Status

ROOT = Path(__file__).parents[2]
ROOMS = ("command_api", "console", "ops", "pages", "projector", "query_api", "shared", "web")
OBSERVING = (ROOT / "docs/observing.md").read_text()


def _logged_events() -> set[str]:
    """The names of the events that the code logs."""
    levels = {"debug", "info", "warning", "error", "exception"}
    events = set()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr in levels
                    and re.search(r"(^|[._])log(\(\))?$", ast.unparse(call.func.value))
                    and call.args
                ):
                    events |= set(_texts(call.args[0]))
    return {event for event in events if re.fullmatch(r"[a-z]+(_[a-z]+)*", event)}


def _texts(node: ast.expr) -> list[str]:
    """The text of a constant, or both of a choice."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def test_every_log_event_is_documented_and_no_other() -> None:
    logs = OBSERVING[: OBSERVING.index("## Metrics")]
    documented: set[str] = set()
    for line in logs.splitlines():
        if line.startswith("| `"):
            documented |= set(re.findall(r"`([a-z_]+)`", line.split("|")[1]))
    assert documented == _logged_events()


class _Statuses:
    """A status whose movies have one active generation, and others as told."""

    def __init__(self, active: int, **others: int) -> None:
        states = {**others, "active": active}
        self.latest = Status(
            head=Position(9),
            at=datetime(2026, 1, 1, tzinfo=UTC),
            generations=[_generation(number, state) for state, number in states.items()],
        )
        self.event_index = EventIndexStatus(Position(7), lag_events=2, lag_s=0.5)

    @property
    def collector(self) -> StatusCollector:
        return StatusCollector(cast("StatusKeeper", self))


def _generation(number: int, state: str) -> GenerationStatus:
    return GenerationStatus(
        projection="movies",
        generation=number,
        state=state,
        definition=number,
        audit="passed",
        checkpoint=Position(7),
        lag_events=2,
        lag_s=0.5,
        events_per_s=1.0,
        parked=0,
        stopped=None,
    )


def metrics() -> dict[str, Metric]:
    """Every metric of the processes by the name of its series, histograms by their own."""
    for process in ("command_api.app", "query_api.app", "projector.worker", "ops.worker"):
        import_module(process)
    own = [*REGISTRY.collect(), *_Statuses(active=1).collector.collect()]
    suffix = {"counter": "_total"}
    return {
        one.name + suffix.get(one.type, ""): one for one in own if one.name.startswith("starfold_")
    }


def test_every_metric_is_documented_and_no_other() -> None:
    rows = OBSERVING[OBSERVING.index("## Metrics") :]
    documented = re.findall(r"^\| `(starfold_[a-z_]+)(?:\{.*\})?` \| (\w+) ", rows, re.MULTILINE)
    kinds = {name: one.type for name, one in metrics().items()}
    assert dict(documented) == kinds


def test_every_metric_is_named_by_the_conventions_of_prometheus() -> None:
    """Base units, and a generation as a label of information alone."""
    for name, one in metrics().items():
        assert re.fullmatch(r"starfold(_[a-z]+)+", name)
        assert name.endswith("_total") == (one.type == "counter"), name
        assert not re.search(r"_(s|ms|us|millis|minutes|percent|kb|kib|mb|mib|per_s)$", name), name
        labels = {label for sample in one.samples for label in sample.labels}
        assert name.endswith("_info") == bool(labels & {"generation", "definition"}), name


def test_a_switch_breaks_no_series_but_the_information() -> None:
    def series(statuses: _Statuses) -> set[tuple[str, tuple[str, ...]]]:
        return {
            (sample.name, tuple(sample.labels.values()))
            for one in statuses.collector.collect()
            for sample in one.samples
            if not one.name.endswith("_info")
        }

    before = series(_Statuses(active=1, following=2))
    assert before == series(_Statuses(active=2, retired=1)) == series(_Statuses(active=2))
    assert ("starfold_projection_lag_seconds", ("movies",)) in before
    assert ("starfold_projection_generations", ("movies", "building")) in before
