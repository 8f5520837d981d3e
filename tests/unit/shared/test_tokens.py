"""Access tokens of a host whose clock is ahead."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import NotAuthenticated
from shared.web.tokens import LEEWAY_S, TokenIssuer, TokenVerifier
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


def test_tokens_of_both_keys_are_believed_during_a_rotation_and_of_no_third() -> None:
    old, new, other = (Ed25519PrivateKey.generate() for _ in range(3))
    publics = [key.public_key().public_bytes_raw() for key in (new, old)]
    verifier = TokenVerifier(*publics, issuer="s", audience="s", clock=time.time)

    def token_of(key: Ed25519PrivateKey) -> str:
        issuer = TokenIssuer(key.private_bytes_raw(), issuer="s", audience="s")
        return issuer.issue(ANN, "member", now_s=time.time())

    assert verifier.verify(token_of(old)).user_id == ANN
    assert verifier.verify(token_of(new)).user_id == ANN
    with pytest.raises(NotAuthenticated):
        verifier.verify(token_of(other))
