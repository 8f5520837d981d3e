"""Failed log-ins: whom they delay, what they leave in the log, and whom they never delay."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from command_api.identity import passwords
from tests.support.api import PASSWORD, Api
from tests.support.system import System


@pytest.fixture
def strict(module_system: System) -> Iterator[Api]:
    command = module_system.start_command_api(
        log_in_failures_per_account=3,
        log_in_failures_per_address=5,
    )
    with Api(command.url, command.url, "") as api:
        yield api


def fail(api: Api, email: str) -> httpx.Response:
    return api.post("/v1/sessions", {"email": email, "password": "not the password"})


def test_who_fails_too_often_waits(strict: Api) -> None:
    """Right log-ins in between are not counted, and a right one has to wait as well."""
    ann = strict.sign_up()
    assert [fail(strict, ann.email).status_code for _ in range(2)] == [401, 401]
    strict.log_in(ann.email)
    assert fail(strict, ann.email.upper()).status_code == 401
    for password in ("not the password", PASSWORD):
        answer = strict.post("/v1/sessions", {"email": ann.email, "password": password})
        assert answer.status_code == 429
        assert answer.json()["type"] == "urn:starfold:problem:too-many-requests"
        assert 1 <= int(answer.headers["Retry-After"]) <= 100
    strict.log_in(strict.sign_up().email)


def test_an_address_has_so_many_failures_for_all_accounts(strict: Api) -> None:
    statuses = [fail(strict, f"nobody{n}@x.org").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]


def test_sign_ups_with_taken_addresses_count_as_failures(strict: Api) -> None:
    """So that nobody learns of many addresses whether they have an account."""
    ann = strict.sign_up()
    body = {"email": ann.email, "password": PASSWORD, "display_name": "Ann"}
    taken = [strict.post("/v1/users", body).status_code for _ in range(6)]
    assert taken == [409] * 5 + [429]
    refused = strict.post("/v1/users", body | {"email": "free@x.org"})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert fail(strict, "nobody@x.org").status_code == 429


def test_other_sign_ups_count_nothing(strict: Api) -> None:
    for _ in range(6):
        user = strict.sign_up()
        body = {"email": user.email, "password": "short", "display_name": "Ann"}
        assert strict.post("/v1/users", body).status_code == 422
    strict.log_in(user.email)


def test_a_log_in_that_was_not_tried_has_not_failed(
    strict: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = strict.sign_up()
    with monkeypatch.context() as patched:
        patched.setattr(passwords, "WAITING_MAX", 0)
        for _ in range(10):
            refused = strict.post("/v1/sessions", {"email": ann.email, "password": PASSWORD})
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
    strict.log_in(ann.email)


def test_wrong_keys_count_for_their_own_key(module_system: System, strict: Api) -> None:
    right, attacked = module_system.service_key(), module_system.service_key()
    wrong = f"{attacked[:37]}wrong"

    def status(api_key: str) -> int:
        return strict.post("/v1/sessions", {"api_key": api_key}).status_code

    assert [status(wrong) for _ in range(10)] == [401] * 3 + [429] * 7
    assert status(attacked) == 429
    assert [status(f"sfk_{uuid4().hex}_x") for _ in range(10)] == [401] * 10
    assert status(right) == 201
    strict.log_in(strict.sign_up().email)


def test_what_fails_is_logged_with_nothing_in_clear(module_system: System, strict: Api) -> None:
    ann, key = strict.sign_up(), f"{module_system.service_key()[:37]}wrong"
    tried = [
        {"email": ann.email.upper(), "password": "sesame"},
        *[{"email": ann.email, "password": "sesame"}] * 3,
        *[{"api_key": key}] * 4,
        {"api_key": "no-key"},
    ]
    with capture_logs() as logs:
        answers = [strict.post("/v1/sessions", body) for body in tried]
        strict.log_in(strict.sign_up().email)
    lines = [one for one in logs if one["event"] == "log_in_failed"]
    wrong, throttled = (401, "wrong-credential"), (429, "throttled")
    assert [
        (answer.status_code, line["reason"]) for answer, line in zip(answers, lines, strict=True)
    ] == [wrong] * 3 + [throttled] + [wrong] * 3 + [throttled, wrong]
    accounts = [line["account"] for line in lines]
    assert accounts == [accounts[0]] * 4 + [accounts[4]] * 4 + [accounts[8]]
    assert len(set(accounts)) == 3
    for answer, line in zip(answers, lines, strict=True):
        assert re.fullmatch("[0-9a-f]{12}", line["account"])
        assert line["network"] == "127.0.0.0/24"
        assert line["request_id"] == answer.headers["X-Request-ID"]
        assert line["log_level"] == "warning"
    shown = repr(logs).lower()
    for secret in (ann.email, "sesame", key, key.split("_")[1], "no-key"):
        assert secret not in shown
    hash_key = module_system.command_settings().reservation_secret.get_secret_value()
    keyed = hmac.digest(hash_key, f"log-in\0{ann.email}".encode(), "sha256").hex()
    assert accounts[0] == keyed[:12]


def test_a_crowd_that_signs_up_keeps_nobody_from_logging_in(strict: Api) -> None:
    """Though they share an address: log-ins go first and have room of their own."""
    ann = strict.sign_up()
    crowd = [
        {"email": f"crowd{n}@x.org", "password": PASSWORD, "display_name": "Ann"} for n in range(75)
    ]
    url = str(strict.command.base_url)
    with ThreadPoolExecutor(75) as pool, httpx.Client(base_url=url, timeout=30) as client:
        signing_up = [pool.submit(client.post, "/v1/users", json=one) for one in crowd]
        for _ in range(10):
            strict.log_in(ann.email)
        statuses = {one.result().status_code for one in signing_up}
    assert statuses <= {201, 503}
    strict.log_in(ann.email)


def test_an_old_password_is_not_guessed_with_a_stolen_token(strict: Api) -> None:
    ann = strict.sign_up()
    body = {"old": "not the password", "new": PASSWORD[::-1]}
    statuses = [
        strict.command.put("/v1/users/me/password", json=body, headers=ann.headers).status_code
        for _ in range(4)
    ]
    assert statuses == [403] * 3 + [429]
