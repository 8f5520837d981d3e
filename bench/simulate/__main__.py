"""Print measured, simulated and extrapolated figures: `python -m bench.simulate`.

Fails if the simulation does not reproduce what was measured.
"""

from __future__ import annotations

import sys

from bench.simulate.constants import CONSTANTS
from bench.simulate.extrapolation import tables
from bench.simulate.points import POINTS, TOLERANCE, Compared

HEADING = ["what", "day", "measured", "simulated", "ratio"]


def main() -> None:
    compared = [point.compared() for point in POINTS]
    print("\n".join(report(compared)))
    missed = [one for one in compared if not one.point.unlike and not one.within(TOLERANCE)]
    if missed:
        sys.exit(f"not reproduced: {', '.join(one.point.what for one in missed)}")
    for rows in tables():
        print("\n".join(table(rows)))


def report(compared: list[Compared]) -> list[str]:
    """Return the lines of the constants, and of the points beside their simulation."""
    constants = [[name, f"{one.us:g}", one.source] for name, one in CONSTANTS.items()]
    like = [_row(one) for one in compared if not one.point.unlike]
    unlike = [[*_row(one), one.point.unlike] for one in compared if one.point.unlike]
    return [
        *table([["constant", "µs", "source"], *constants]),
        *table([HEADING, *like]),
        *table([[*HEADING, "why"], *unlike]),
    ]


def table(rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table, with an empty one after it."""
    heading, *rest = rows
    lines = [heading, ["---"] * len(heading), *rest]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _row(one: Compared) -> list[str]:
    point = one.point
    digits = 0 if point.unit == "/s" else 1
    figures = [f"{figure:,.{digits}f} {point.unit}" for figure in (point.measured, one.simulated)]
    return [point.what, point.day, *figures, f"{one.ratio:.2f}"]


if __name__ == "__main__":
    main()
