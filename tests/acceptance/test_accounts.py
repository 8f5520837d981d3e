"""Sign-up, log-in and secrets: what went wrong in an earlier service."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.api import PASSWORD, Api, problem

SECRETS = [
    "STARFOLD_SEALING_KEY",
    "STARFOLD_RESERVATION_SECRET",
    "STARFOLD_TOKEN_PRIVATE_KEY",
    "STARFOLD_TOKEN_PUBLIC_KEY",
]


def test_log_in_works_and_an_unknown_address_is_a_401(api: Api) -> None:
    ann = api.sign_up()
    right = {"email": ann.email.upper(), "password": PASSWORD}
    assert api.post("/v1/sessions", right).status_code == 201
    for wrong in (
        {"email": ann.email, "password": "not the password"},
        {"email": "nobody@example.org", "password": PASSWORD},
    ):
        assert problem(api.post("/v1/sessions", wrong))["status"] == 401


@pytest.mark.parametrize("password", ["", "short", "x" * 1_025, "nul\0" * 4])
def test_a_bad_password_is_refused(api: Api, password: str) -> None:
    body = {"email": "pass@example.org", "password": password, "display_name": "Eve"}
    assert problem(api.post("/v1/users", body))["status"] == 422


def test_a_password_over_72_bytes_works_to_its_last_byte(api: Api) -> None:
    long = "ü" * 100
    body = {"email": "long@example.org", "password": long, "display_name": "Lou"}
    assert api.post("/v1/users", body).status_code == 201
    for password, status in ((long, 201), (long[:-1] + "u", 401)):
        session = {"email": "long@example.org", "password": password}
        assert api.post("/v1/sessions", session).status_code == status


def test_an_address_taken_in_another_case_is_a_409(api: Api) -> None:
    body = {"email": "Ann@x.org", "password": PASSWORD, "display_name": "Ann"}
    assert api.post("/v1/users", body).status_code == 201
    again = api.post("/v1/users", body | {"email": "ann@X.ORG"})
    assert problem(again)["status"] == 409


def test_no_secret_has_a_default() -> None:
    """Nothing starts without secrets of full length, and it says which are missing."""
    for value in (None, "changeme", "c2hvcnQ="):
        settings = {} if value is None else dict.fromkeys(SECRETS, value)
        refused = subprocess.run(
            [sys.executable, "-m", "command_api"],
            env={"STARFOLD_DATABASE_URL": "host=/nonexistent", **settings},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert all(name in line for name in SECRETS)
        assert value is None or value not in line
