"""The simulation reproduces what was measured, and docs/scaling.md quotes what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.simulate.__main__ import main
from bench.simulate.constants import CONSTANTS
from bench.simulate.points import NEW, OLD, POINTS, TOLERANCE, Point

DOCS = Path(__file__).parents[3] / "docs"
SECTIONS = {OLD: "## Measured", NEW: "### With one definition per route"}
# Twice the half load; the same, at 1.11 instead of 0.87 of the no-op.
DERIVED = {10_404: "at 5,202/s", 13_274: "at 5,202/s"}


def test_it_reproduces_the_measured_points_within_a_fifth() -> None:
    ratios = {point: point.compared() for point in POINTS}
    outside = {point for point, one in ratios.items() if not one.within(TOLERANCE)}
    assert outside == {point for point in POINTS if point.unlike}


@pytest.mark.parametrize("point", POINTS)
def test_each_point_is_a_figure_of_the_benchmark(point: Point) -> None:
    text = (DOCS / "benchmarks.md").read_text()
    section = re.split(r"\n##", text.split(SECTIONS[point.day], 1)[1])[0]
    assert DERIVED.get(int(point.measured), f"{point.measured:,}") in section


def test_what_it_prints_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    quoted = (DOCS / "scaling.md").read_text().splitlines()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > len(CONSTANTS) + len(POINTS)
    assert [line for line in printed if line and line not in quoted] == []
