"""Conditions of a list, which are in the address of its page."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request


def conditions_of(request: Request, names: Iterable[str]) -> dict[str, str]:
    """Return the conditions that are given."""
    given = ((name, request.query_params.get(name, "").strip()) for name in names)
    return {name: value for name, value in given if value}
