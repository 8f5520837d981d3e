"""Draw the speed in short, the table of `docs/benchmarks.md`: `python -m bench.chart`."""

from __future__ import annotations

import math
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).parents[1] / "docs/benchmarks.md"
CHART = DOCUMENT.with_suffix(".svg")

# In pixels; the scale is logarithmic, so that half and double are equally far from 1.
WIDTH, TEXT_WIDTH, ROW_HEIGHT, TOP = 860, 430, 34, 44
LEAST, MOST = 0.2, 20
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20)

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2430; }
.quiet { fill: #5b6675; }
.figure { font-weight: 600; }
line { stroke: #dde2ea; }
.one { stroke: #5b6675; }
.bar { fill: #2f6fd0; }
.missed { fill: #c4601d; }
.goal { stroke: #1c2430; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #dfe5ee; }
  .quiet { fill: #97a3b4; }
  line { stroke: #323a47; }
  .one { stroke: #97a3b4; }
  .goal { stroke: #dfe5ee; }
}
"""


class Figure(NamedTuple):
    """What Starfold does in the time in which the reference does 1."""

    what: str
    reference: str
    ratio: str
    goal: str


def figures(markdown: str) -> list[Figure]:
    """Return the rows of the table under `Speed in short`."""
    section = markdown.split("\n## Speed in short\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    return [Figure(*row) for row in rows]


def chart(shown: list[Figure]) -> str:
    """Return the figures as SVG: bars from 1, the goals as strokes."""
    height = TOP + ROW_HEIGHT * len(shown) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Starfold beside its references; above 1 it is faster</title>",
        f"<style>{STYLE}</style>",
        _text(0, 18, "in the time in which the reference does 1; stroke: the goal", "quiet"),
    ]
    for tick in TICKS:
        parts.append(_line(tick, TOP - 12, height - 8, "one" if tick == 1 else "tick"))
        parts.append(_text(_x(tick), 18, f"{tick:g}", "quiet", anchor="middle"))
    for row, figure in enumerate(shown):
        parts += _row(TOP + ROW_HEIGHT * row, figure)
    return "\n".join([*parts, "</svg>", ""])


def _row(top: float, figure: Figure) -> list[str]:
    ratio, goal = float(figure.ratio), float(figure.goal)
    left, right = sorted((_x(1), _x(ratio)))
    kind = "bar" if ratio >= goal else "bar missed"
    label = f"{figure.what}, of {figure.reference}".replace("`", "")
    return [
        _text(0, top + 13, label),
        f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="18"/>',
        _line(goal, top - 3, top + 21, "goal"),
        _text(WIDTH - 4, top + 13, figure.ratio, "figure", "end"),
    ]


def _x(ratio: float) -> float:
    part = math.log(ratio / LEAST) / math.log(MOST / LEAST)
    return TEXT_WIDTH + part * (WIDTH - TEXT_WIDTH - 64)


def _text(x: float, y: float, text: str, kind: str = "label", anchor: str = "start") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {at}>{escape(text)}</text>'


def _line(ratio: float, top: float, bottom: float, kind: str) -> str:
    x = f"{_x(ratio):.1f}"
    return f'<line class="{kind}" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>'


if __name__ == "__main__":
    CHART.write_text(chart(figures(DOCUMENT.read_text())))
