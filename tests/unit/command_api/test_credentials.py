"""Names, addresses and passwords: what is one and the same, and what is refused."""

from __future__ import annotations

import asyncio
import unicodedata

import argon2
import pytest
from pydantic import ValidationError

from command_api.bodies.models import ProfileBody, SignUpBody
from command_api.deciding.credentials import canonical_email
from command_api.identity.passwords import Passwords

ACCENTED = "pässwörd für Zoë"


def sign_up(**changes: str) -> SignUpBody:
    fields = {"display_name": "Ann", "email": "ann@x.org", "password": "correct horse battery"}
    return SignUpBody.model_validate(fields | changes)


@pytest.mark.parametrize(
    "name",
    [
        "\u200b",
        "\u200d\u2060",
        "\u3164",
        "\u2800",
        "\u115f\u1160",
        "\u0301\u0301",
        "\u00ad",
        "\ufeff",
    ],
)
def test_a_name_that_nobody_can_see_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"visible|empty"):
        ProfileBody(display_name=name)


@pytest.mark.parametrize("name", ["🎬", "$", "Zoë", "e\u0301", "\u200f\u0633\u0645", "김"])
def test_a_name_of_any_script_and_symbol_is_taken(name: str) -> None:
    assert ProfileBody(display_name=name).display_name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("password", ["1234567890", "Password123", "QWERTYUIOP"])
def test_a_password_that_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(ValidationError, match="most common"):
        sign_up(password=password)


@pytest.mark.parametrize("password", ["annabel@x.org", "Annabel@X.org", "annabel of xanten"])
def test_neither_the_address_nor_the_name_is_a_password(password: str) -> None:
    with pytest.raises(ValidationError, match="address or the name"):
        sign_up(display_name="Annabel of Xanten", email="annabel@x.org", password=password)


@pytest.mark.parametrize(
    "written", ["Ann@X.org", " ann@x.org ", "\uff41\uff4e\uff4e@x.org", "ANN@x.ORG"]
)
def test_an_address_is_one_however_it_is_written(written: str) -> None:
    """At sign-up, at log-in, and on the operator's command line."""
    assert canonical_email(written) == "ann@x.org"
    assert sign_up(email=written).email == "ann@x.org"


def test_a_password_is_one_in_both_normal_forms_and_of_an_older_release() -> None:
    async def run() -> None:
        passwords = Passwords(memory_kib=8, iterations=1, parallelism=1)
        composed, decomposed = (unicodedata.normalize(form, ACCENTED) for form in ("NFC", "NFD"))
        for first in (composed, decomposed):
            password_hash = await passwords.hash(first)
            assert await passwords.matches(password_hash, composed)
            assert await passwords.matches(password_hash, decomposed)
            assert not await passwords.matches(password_hash, ACCENTED.upper())
        older = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(decomposed)
        assert await passwords.matches(older, decomposed)
        passwords.close()

    asyncio.run(run())
