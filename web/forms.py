"""Scores, years and days that a browser sends."""

from __future__ import annotations

from datetime import date

from starlette.datastructures import FormData

from pages.forms import FormErrors, text

SCORES = tuple(half_stars / 2 for half_stars in range(1, 11))


def score(form: FormData) -> float | None:
    """Return a score of 0.5 to 5; None if it is to be withdrawn.

    Raises `FormErrors` for anything else.
    """
    chosen = text(form, "score")
    if not chosen:
        return None
    try:
        value = float(chosen)
    except ValueError:
        value = 0.0
    if value not in SCORES:
        raise FormErrors({"score": "Choose half a star to five stars."})
    return value


def whole(value: str | None) -> int | None:
    """Return a year of four digits or fewer, None for anything else."""
    if value and value.isascii() and value.isdecimal() and len(value) <= 4:
        return int(value)
    return None


def day(value: str | None) -> date | None:
    """Return a day such as 2026-02-28, None for anything else."""
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        return None
