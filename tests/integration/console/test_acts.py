"""The audit log over HTTP and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ops.acts.log import ActLog, By
from shared.log.schema import PROJECTOR_ROLE
from tests.support.api import PASSWORD, Api, problem
from tests.support.system import System

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def url(module_system: System, api: Api) -> str:
    acts = ActLog(module_system.dsn(PROJECTOR_ROLE), schema=module_system.schema)
    with acts.recorded(By("ann", "cli"), "purge", {"projection": "movies", "generation": 1}):
        pass
    with acts.recorded(By("bob", "cli"), "discard", {"reason": HOSTILE}) as record:
        record.result = {"keys": 3}
    with (
        pytest.raises(ValueError, match="gone"),
        acts.recorded(By("ann", "cli"), "switch", {"generation": 2}),
    ):
        raise ValueError("gone")
    return module_system.start_console(command_url=str(api.command.base_url).rstrip("/")).url


@pytest.fixture(scope="module")
def operator(module_system: System, url: str) -> Iterator[httpx.Client]:
    credential = {"Authorization": f"Bearer {module_system.service_key(['operate'])}"}
    with httpx.Client(base_url=f"{url}/v1/operator", headers=credential, timeout=30) as client:
        yield client


def listed(operator: httpx.Client, **conditions: Any) -> list[str]:
    answer = operator.get("/acts", params=conditions)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return [one["act"] for one in answer.json()["items"]]


def test_acts_are_listed_by_actor_name_and_time_and_exported(operator: httpx.Client) -> None:
    assert listed(operator) == ["switch", "discard", "purge"]
    assert listed(operator, actor="ann") == ["switch", "purge"]
    assert listed(operator, act="discard") == ["discard"]
    newest, second = operator.get("/acts", params={"limit": 2}).json()["items"]
    assert listed(operator, since=newest["at"], actor="ann") == ["switch"]
    assert listed(operator, until=second["at"]) == ["purge"]
    lines = operator.get("/acts/export", params={"actor": "ann"}).text.splitlines()
    assert [json.loads(line)["act"] for line in lines] == ["switch", "purge"]
    assert (newest["state"], newest["result"]) == ("failed", {"error": "gone"})
    for name, value in (("since", "soon"), ("cursor", "7"), ("actor", "\0"), ("limit", "0")):
        refused = operator.get("/acts", params={name: value})
        assert problem(refused)["errors"][0]["pointer"] == f"/query/{name}"


def test_pages_of_acts_neither_repeat_nor_skip_one(operator: httpx.Client) -> None:
    seen: list[str] = []
    cursor = None
    while len(seen) < 3:
        asked = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = operator.get("/acts", params=asked).json()
        seen += [one["act"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["switch", "discard", "purge"], None)


def test_the_page_of_the_audit_log_shows_and_exports_it(url: str, api: Api) -> None:
    member = api.sign_up(role="operator")
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=30) as visitor:
        form = {"email": member.email, "password": PASSWORD, "next": "/acts"}
        assert visitor.post("/login", data=form).headers["location"] == "/acts"
        page = visitor.get("/acts").text
        assert page.index("switch") < page.index("discard") < page.index("purge")
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page
        assert "bob" not in visitor.get("/acts?actor=ann").text
        assert "No act on this page" in visitor.get("/acts?act=nothing").text
        assert visitor.get("/acts?since=soon").status_code == 422
        exported = visitor.get("/acts/export?actor=bob")
        assert exported.headers["content-disposition"].endswith('"starfold-acts.jsonl"')
        assert json.loads(exported.text)["parameters"] == {"reason": HOSTILE}
