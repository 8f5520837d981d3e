"""The result of a row: a figure for each round, their median, and a goal."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec
from rich.table import Table

Unit = Literal["times", "events/s", "ms", "us", "bytes", "answers"]


class Goal(msgspec.Struct, frozen=True):
    """A goal: the value must be `at_least` or `at_most` this."""

    bound: Literal["at_least", "at_most"]
    value: float

    def met_by(self, figure: float) -> bool:
        return figure >= self.value if self.bound == "at_least" else figure <= self.value


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The `figures` of the rounds in `unit`, with the conditions of both measurements."""

    row: str
    what: str
    unit: Unit
    figures: Sequence[float]
    goal: Goal | None
    measured: str = ""
    reference: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.figures)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.goal.met_by(self.median) else "missed"


def at_least(value: float) -> Goal:
    return Goal("at_least", value)


def at_most(value: float) -> Goal:
    return Goal("at_most", value)


def ratios(
    row: str,
    what: str,
    measured: Sequence[float],
    reference: Sequence[float],
    *,
    against: str,
    goal: Goal | None,
    note: str = "",
) -> Finding:
    """Divide rates round by round, so that a slow moment of the machine affects both."""
    return Finding(
        row=row,
        what=what,
        unit="times",
        figures=[one / other for one, other in zip(measured, reference, strict=True)],
        goal=goal,
        measured=f"{median(measured):,.0f}/s",
        reference=f"{against} {median(reference):,.0f}/s",
        note=note,
    )


def table(findings: Sequence[Finding]) -> Table:
    shown = Table("row", "measured", "reference", "figure", "rounds", "goal", "")
    for one in findings:
        sign = "" if one.goal is None else {"at_least": "≥", "at_most": "≤"}[one.goal.bound]
        shown.add_row(
            one.what,
            one.measured,
            one.reference,
            shown_in(one.unit, one.median),
            " ".join(shown_in(one.unit, figure) for figure in one.figures),
            f"{sign} {shown_in(one.unit, one.goal.value)}" if one.goal else "",
            one.verdict,
        )
    return shown


def notes(findings: Sequence[Finding]) -> str:
    return "\n".join(
        f"{one.what}, {one.reference or one.measured}: {one.note}" for one in findings if one.note
    )


def shown_in(unit: Unit, figure: float) -> str:
    match unit:
        case "times":
            return f"{figure:.2f}" if figure < 10 else f"{figure:.0f}"
        case "ms":
            return f"{figure:.1f} ms"
        case "us":
            return f"{figure:.0f} µs"
        case "bytes":
            return f"{figure / 2**20:,.0f} MiB" if figure >= 2**20 else f"{figure:.0f} B"
        case "events/s":
            return f"{figure:,.0f}/s"
        case "answers":
            return f"{figure:,.0f}"
