"""Access tokens of a host whose clock is ahead."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import NotAuthenticated
from shared.web.tokens import LEEWAY_S, TokenVerifier
from tests.support.builders import ANN

# More than the seconds that a test may take.
SLACK_S = 10


def verify(**times: float) -> None:
    key = Ed25519PrivateKey.generate()
    now_s = int(time.time())
    claims: dict[str, Any] = {"iss": "s", "aud": "s", "sub": str(ANN), "role": "member"}
    claims |= {"exp": now_s + 900} | {name: now_s + ahead for name, ahead in times.items()}
    verifier = TokenVerifier(
        key.public_key().public_bytes_raw(), issuer="s", audience="s", clock=time.time
    )
    verifier.verify(jwt.encode(claims, key, algorithm="EdDSA"))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_may_be_of_a_clock_that_is_a_minute_ahead(claim: str) -> None:
    verify(**{claim: LEEWAY_S - 1})
    with pytest.raises(NotAuthenticated):
        verify(**{claim: LEEWAY_S + SLACK_S})


def test_no_token_is_believed_after_it_expired() -> None:
    with pytest.raises(NotAuthenticated):
        verify(exp=-1)
