"""Values of events and acts as text, for templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

NOTHING = "–"
# A value of a list of rows; the page of the row has the whole.
SHORT_CHARS = 160


def text(value: object) -> str:
    """Return a value as JSON has it, but for what people read more easily."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case list() if all(isinstance(one, (str, int, float)) for one in value):
            return ", ".join(map(text, value)) or NOTHING
        case _:
            return msgspec.json.encode(value).decode()


def short(value: object) -> str:
    """Return a value for a row: the number of a list's objects, a beginning of a long text."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value):,}"
    whole = text(value)
    return whole if len(whole) <= SHORT_CHARS else f"{whole[:SHORT_CHARS]}…"


def flat(fields: Mapping[str, object] | None) -> dict[str, object]:
    """Return the fields with those of objects in their place, each under the path to it.

    So each text is an element of its own, and one written from right to left turns no other.
    """
    found: dict[str, object] = {}
    for name, value in (fields or {}).items():
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[name] = value
    return found


def given(fields: Mapping[str, object] | None) -> dict[str, object]:
    """Return the same, without what is empty."""
    return {name: value for name, value in flat(fields).items() if value not in (None, [], {})}


def when(at: str) -> str:
    """Return the text of a time in UTC, to the second."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


FILTERS: Mapping[str, Callable[..., object]] = {
    "text": text,
    "short": short,
    "flat": flat,
    "given": given,
    "when": when,
}
