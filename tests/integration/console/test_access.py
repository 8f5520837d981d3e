"""Every route of the operators' API with every kind of caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import httpx
import pytest

from command_api.deciding.principal import Scope
from shared.web.operation import Operation
from tests.contract.test_docs import CONSOLE
from tests.support.api import Api, problem
from tests.support.system import System

SCOPES: tuple[str, ...] = get_args(Scope)
ROUTES = [one for one in CONSOLE.operations if one.path.startswith("/v1/operator/")]


@pytest.fixture(scope="module")
def console(module_system: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=module_system.start_console().url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def refused(module_system: System, api: Api) -> dict[str, tuple[int, dict[str, str]]]:
    """The status and the credential of each kind of caller who may use no route."""
    keys = {
        f"a key for {scope}": (403, _bearer(module_system.service_key([scope])))
        for scope in SCOPES
        if scope != "operate"
    }
    ended, erased = api.sign_up(role="operator"), api.sign_up(role="operator")
    api.command.delete("/v1/sessions/current", headers=ended.headers)
    api.command.delete("/v1/users/me", headers=erased.headers)
    demoted = api.sign_up(role="operator")
    path = f"/v1/users/{demoted.user_id}/role"
    api.command.put(path, json={"role": "member"}, headers=api.service)
    return {
        **keys,
        "a visitor": (401, {}),
        "an invalid token": (401, _bearer("let.me.in")),
        "a member": (403, api.sign_up().headers),
        "a curator": (403, api.sign_up(role="curator").headers),
        "an operator whose session has ended": (401, ended.headers),
        "an erased operator": (401, erased.headers),
        "a former operator": (403, demoted.headers),
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: f"{one.method} {one.path}")
def test_nobody_but_an_operator_gets_past_a_route(
    console: httpx.Client, refused: dict[str, tuple[int, dict[str, str]]], route: Operation
) -> None:
    """A body, a path or a condition that is wrong is not even looked at."""
    for kind, (status, headers) in refused.items():
        answer = console.request(route.method, route.path, headers=headers)
        assert answer.status_code == status, (kind, answer.text)
        assert problem(answer)["type"].endswith("authenticated" if status == 401 else "forbidden")


def test_an_operator_and_a_key_with_the_scope_are_let_in(
    console: httpx.Client, module_system: System, api: Api
) -> None:
    path = "/v1/operator/projections"
    for headers in (
        api.sign_up(role="operator").headers,
        _bearer(module_system.service_key(["operate"])),
    ):
        found = api.expect(200, console.get(path, headers=headers))
        assert {one["projection"] for one in found["generations"]} == {
            "movies",
            "profiles",
            "changes",
        }


def _bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}
