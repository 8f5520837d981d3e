"""The console's pages of users and keys, as a browser without script uses them."""

from __future__ import annotations

import re

import httpx

from ops.acts.log import ActLog
from shared.log.schema import PROJECTOR_ROLE
from tests.support.api import Api
from tests.support.pages import confirmed, hidden, log_in
from tests.support.system import System

NAME = "<b>Importer</b>"


def test_a_key_is_made_shown_on_one_page_and_revoked(
    visitor: httpx.Client, module_system: System, api: Api
) -> None:
    log_in(visitor, api, "operator")
    assert 'href="/keys"' in visitor.get("/").text
    form = {**hidden(visitor.get("/keys/create").text), "name": NAME}
    none = visitor.post("/keys/create", data=form)
    assert (none.status_code, "Choose at least one scope" in none.text) == (422, True)
    assert "&lt;b&gt;Importer" in none.text
    form["scope_movies"] = "on"
    shown = visitor.post("/keys/create", data=form)
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    (api_key,) = re.findall(r"sfk_[0-9a-f]{32}_[\w-]+", shown.text)
    movie = {"title": "Mirror", "year": 1975}
    headers = {"Authorization": f"Bearer {api_key}"}
    assert api.post("/v1/movies", movie, headers).status_code == 201
    again = visitor.post("/keys/create", data=form)
    assert "an earlier request with the same Idempotency-Key" in again.text
    assert api_key not in again.text + visitor.get("/keys").text + visitor.get("/acts").text
    (revoke,) = re.findall(r'href="(/keys/[0-9a-f-]{36}/revoke)"', visitor.get("/keys").text)[-1:]
    seen = hidden(visitor.get(revoke).text)
    assert confirmed(visitor, revoke).headers["location"] == "/keys"
    assert visitor.post(revoke, data={**seen, "key": "another"}).status_code == 412
    assert "revoked" in visitor.get("/keys").text
    acts = ActLog(module_system.dsn(PROJECTOR_ROLE), schema=module_system.schema).page()
    assert [(one.act, one.state) for one in acts] == [
        ("key revoke", "failed"),
        ("key revoke", "done"),
        ("key create", "done"),
    ]


def test_a_user_is_found_changed_logged_out_and_erased(visitor: httpx.Client, api: Api) -> None:
    ann = api.sign_up("ann@pages.org", "Ann of the Pages")
    log_in(visitor, api, "operator")
    for wanted, said in (
        ("nobody@pages.org", "There is no such user"),
        ("ann/sessions", "Enter an id"),
        ("@", "Enter an id"),
    ):
        refused = visitor.post("/users", data={"wanted": wanted})
        assert (refused.status_code, said in refused.text) == (422, True), wanted
    page = f"/users/{ann.user_id}"
    for wanted in (" ANN@pages.org ", ann.user_id):
        found = visitor.post("/users", data={"wanted": wanted})
        assert (found.status_code, found.headers["location"]) == (303, page)
    shown = visitor.get(page).text
    assert "member" in shown
    assert "ann@pages.org" not in shown
    assert "Ann of the Pages" not in shown
    assert confirmed(visitor, f"{page}/role", role="king").status_code == 422
    assert confirmed(visitor, f"{page}/role", role="curator").headers["location"] == page
    assert "curator" in visitor.get(page).text
    assert "session ends, 1 in all" in visitor.get(f"{page}/end-sessions").text
    assert confirmed(visitor, f"{page}/end-sessions").status_code == 303
    assert "No session is open" in visitor.get(page).text
    assert confirmed(visitor, f"{page}/erase", typed="ann").status_code == 422
    assert confirmed(visitor, f"{page}/erase", typed=ann.user_id).status_code == 303
    shown = visitor.get(page).text
    assert "erased" in shown
    assert f"{page}/role" not in shown


def test_a_member_gets_no_page_and_no_act(visitor: httpx.Client, api: Api) -> None:
    member = log_in(visitor, api, "member")
    one = f"/users/{member.user_id}"
    acts = ("/keys/create", f"{one}/role", f"{one}/end-sessions", f"{one}/erase")
    for path in ("/users", "/keys", one, *acts):
        assert visitor.get(path).status_code == 403, path
    for path in ("/users", *acts):
        form = {"key": "one", "version": "", "wanted": member.email}
        assert visitor.post(path, data=form).status_code == 403, path
