"""Charts of lag, and the words that say what they show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from console.pages.lag import lag_chart
from pages.charts import round_limit

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def lag(*points: tuple[int, int, float], span_s: int = 900, every_s: int = 10) -> dict[str, Any]:
    """The answer of the route: points by the intervals before now."""
    return {
        "projection": "movies",
        "span_s": span_s,
        "every_s": every_s,
        "points": [
            {
                "at": (NOW - timedelta(seconds=every_s * before)).isoformat(),
                "lag_events": events,
                "lag_s": seconds,
            }
            for before, events, seconds in points
        ],
    }


def test_the_caption_says_the_lag_now_and_the_highest_one() -> None:
    whole = [(before, 0, 0.0) for before in range(90, 0, -1)]
    assert lag_chart(lag(*whole), NOW).caption == (
        "movies is up to date, as always in the last 15 minutes."
    )
    whole[10] = (80, 1_204, 3.2)
    whole[-1] = (1, 1, 0.04)
    assert lag_chart(lag(*whole), NOW).caption == (
        "movies is 1 event (0.0 s) behind; at most 1,204 events (3.2 s) behind in the last 15"
        " minutes."
    )


def test_what_was_not_measured_is_said_and_left_out_of_the_line() -> None:
    drawn = lag_chart(lag((80, 0, 0.0), (79, 5, 1.0), (60, 10, 2.0)), NOW)
    assert [len(line.split()) for line in drawn.lines] == [2, 2]
    assert "at 11:50 UTC, when it was last measured, was 10 events" in drawn.caption
    assert drawn.caption.endswith("of which 14 minutes were not measured.")
    assert "no console was running" in lag_chart(lag(span_s=86_400, every_s=600), NOW).caption


def test_the_line_stays_in_its_frame_with_the_highest_lag_below_a_round_end() -> None:
    drawn = lag_chart(lag((95, 0, 0.0), (45, 170, 9.0), (0, 1, 0.1)), NOW)
    places = [tuple(map(float, one.split(","))) for line in drawn.lines for one in line.split()]
    assert all(72 <= x <= 640 and 10 <= y <= 176 for x, y in places)
    assert [events for _, events in drawn.grid] == [0, 100, 200]
    assert [round_limit(one) for one in (0, 1, 2, 3, 7, 11, 1_001)] == [1, 1, 2, 5, 10, 20, 2_000]
