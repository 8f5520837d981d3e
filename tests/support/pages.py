"""The console's pages, as a browser without script uses them."""

from __future__ import annotations

import re

import httpx

from tests.support.api import PASSWORD, Api, User


def log_in(visitor: httpx.Client, api: Api, role: str) -> User:
    """Log a new user of that role in, and return them."""
    user = api.sign_up(role=role)
    form = {"email": user.email, "password": PASSWORD, "next": "/"}
    answer = visitor.post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return user


def hidden(text: str) -> dict[str, str]:
    """Return the key and the version in the form of an act."""
    return {
        name: re.findall(f'name="{name}" value="([^"]*)"', text)[0] for name in ("key", "version")
    }


def confirmed(visitor: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Open the page of an act, and send its form."""
    shown = visitor.get(path)
    assert shown.status_code == 200, shown.text
    return visitor.post(path, data={**hidden(shown.text), **fields})
