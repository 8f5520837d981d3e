"""Logs and metrics: `docs/observing.md` lists every event and every metric, and nothing else."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import cast

from prometheus_client import REGISTRY, CollectorRegistry

from projector.status import StatusCollector, StatusKeeper
from shared.ids import START
from shared.read_model.status import Status

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


def _metrics() -> set[str]:
    """What the applications and the projector's status expose, histograms by their own name."""
    for application in ("command_api.app", "query_api.app"):
        import_module(application)
    registry = CollectorRegistry()
    registry.register(StatusCollector(cast("StatusKeeper", _OneStatus())))
    own = [*REGISTRY.collect(), *registry.collect()]
    suffix = {"counter": "_total"}
    return {one.name + suffix.get(one.type, "") for one in own if one.name.startswith("starfold_")}


class _OneStatus:
    latest = Status(head=START, at=datetime(2026, 1, 1, tzinfo=UTC), generations=[])


def test_every_metric_is_documented_and_no_other() -> None:
    metrics = OBSERVING[OBSERVING.index("## Metrics") :]
    documented = set(re.findall(r"^\| `(starfold_[a-z_]+)", metrics, re.MULTILINE))
    assert documented == _metrics()
