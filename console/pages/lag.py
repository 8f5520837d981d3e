"""Lag over time, as a chart, a small one in a table, and in words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from console.pages.api import OperatorsApi
from pages.charts import Frame, round_limit
from pages.sessions import Visitor
from projector.projections import DEFINITIONS
from shared.process.clock import utc_now

LARGE = Frame(640, 200, left=72, bottom=24, top=10, right=8)
SMALL = Frame(120, 28, left=2, bottom=3, top=3, right=2)
# The interval that is measured at the moment is part of the time; the one before it may be too.
GAP_INTERVALS = 1.5

SPOKEN = {900: "15 minutes", 86_400: "24 hours"}


class LagChart(NamedTuple):
    """Lines, one for each time without a gap; `caption` says what they show."""

    frame: Frame
    caption: str
    lines: Sequence[str]
    grid: Sequence[tuple[float, int]]
    labels: Sequence[tuple[float, str]]
    rows: Sequence[tuple[str, int, float]]


async def lag_charts(
    api: OperatorsApi, visitor: Visitor, span: str, frame: Frame
) -> dict[str, LagChart]:
    """Return a chart of each projection's lag."""
    lags = await asyncio.gather(
        *(api.get(visitor, f"/projections/{one}/lag", span=span) for one in DEFINITIONS)
    )
    now = utc_now()
    return {lag["projection"]: lag_chart(lag, now, frame) for lag in lags}


def lag_chart(lag: Mapping[str, Any], now: datetime, frame: Frame = LARGE) -> LagChart:
    """Draw what the route of a projection's lag answers."""
    points = [
        (datetime.fromisoformat(one["at"]), one["lag_events"], one["lag_s"])
        for one in lag["points"]
    ]
    span, begin = lag["span_s"], now - timedelta(seconds=lag["span_s"])
    top = round_limit(max((events for _, events, _ in points), default=0))
    lines: list[list[str]] = []
    before: datetime | None = None
    for at, events, _ in points:
        share = min(max((at - begin).total_seconds() / span, 0.0), 1.0)
        if before is None or (at - before).total_seconds() > GAP_INTERVALS * lag["every_s"]:
            lines.append([])
        lines[-1].append(f"{frame.x(share)},{frame.y(events / top)}")
        before = at
    return LagChart(
        frame,
        lag_in_words(lag, points, now),
        # A line of one point is a dot.
        [" ".join(line if len(line) > 1 else line * 2) for line in lines],
        [(frame.y(events / top), events) for events in sorted({0, top // 2, top})],
        [(frame.x(0), f"{begin:%H:%M}"), (frame.x(1), f"{now:%H:%M} UTC")],
        [(f"{at:%d.%m. %H:%M:%S}", events, seconds) for at, events, seconds in points],
    )


def lag_in_words(
    lag: Mapping[str, Any], points: Sequence[tuple[datetime, int, float]], now: datetime
) -> str:
    """Return the lag now and the highest one, and how much of the time was not measured."""
    projection, span, every_s = lag["projection"], SPOKEN[lag["span_s"]], lag["every_s"]
    if not points:
        return f"{projection} was not measured in the last {span}: no console was running."
    at, events, seconds = points[-1]
    highest = max(points, key=lambda one: one[1])
    is_recent = (now - at).total_seconds() < 3 * every_s
    last = "is" if is_recent else f"at {at:%H:%M} UTC, when it was last measured, was"
    text = f"{projection} {last} {_behind(events, seconds)}"
    if highest[1]:
        text += f"; at most {_behind(*highest[1:])} in the last {span}"
    else:
        text += f", as always in the last {span}"
    missing = lag["span_s"] // every_s - len(points)
    # The intervals at both ends are cut.
    if missing > 2:
        text += f", of which {_length(missing * every_s)} were not measured"
    return f"{text}."


def _behind(events: int, seconds: float) -> str:
    if not events:
        return "up to date"
    return f"{events:,} event{'' if events == 1 else 's'} ({seconds:,.1f} s) behind"


def _length(seconds: int) -> str:
    if seconds >= 2 * 3_600:
        return f"{seconds // 3_600} hours"
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"
