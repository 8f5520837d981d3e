"""Rotate the keys of a home: the sealing key, and the key that signs access tokens.

Each rotation has three steps, so that processes may be restarted one after the other and yet always
understand one another. Every step is one atomic write of `secrets.json`, and can be repeated.

    prepare   the new key is the second one, which all processes accept
    promote   the new key is the first one, which all use; the old one is the second
    finish    no process needs the old key any more
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from ops.errors import OperatorError
from ops.home.folder import Secrets, base64_text
from shared.web.tokens import LEEWAY_S, TOKEN_LIFETIME_S

Kind = Literal["sealing", "token"]
Step = Literal["prepare", "promote", "finish"]

# How long tokens of the old key may be in use after another key has signed the first.
TOKENS_EXPIRED_AFTER = timedelta(seconds=TOKEN_LIFETIME_S + LEEWAY_S)


def rotated(own: Secrets, kind: Kind, step: Step, *, now: datetime | None = None) -> Secrets:
    """Return the secrets after a step; the same ones if it was done already.

    Raises `OperatorError` for a step that is not the next one.
    """
    before, after, change = _STEPS[kind][step]
    state = _state(own, kind)
    if state == after:
        return own
    if state != before:
        raise OperatorError(f"the rotation of the {kind} key is {state or 'not under way'}")
    return change(own, now or datetime.now(UTC))


def promoted(own: Secrets, kind: Kind) -> Secrets:
    """Return the secrets with a new key in use, for processes that restart together."""
    if _state(own, kind) == "promoted":
        return own
    return rotated(rotated(own, kind, "prepare"), kind, "promote")


def expired_at(own: Secrets) -> datetime:
    """Return when the last access token of the old key has expired."""
    return datetime.fromisoformat(own.tokens_promoted_at) + TOKENS_EXPIRED_AFTER


def keys_in_use(own: Secrets) -> str:
    """Return a fingerprint of the keys that services have to be restarted for."""
    keys = (
        own.sealing_key,
        own.token_private_key,
        # An old sealing key that is dropped changes nothing for a running service.
        own.second_sealing_key if own.sealing_rotation == "prepared" else "",
        own.second_token_public_key,
    )
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def _state(own: Secrets, kind: Kind) -> str:
    return own.sealing_rotation if kind == "sealing" else own.tokens_rotation


def _prepare_sealing(own: Secrets, _now: datetime) -> Secrets:
    key = base64_text(random.token_bytes(32))
    return replace(own, second_sealing_key=key, sealing_rotation="prepared")


def _promote_sealing(own: Secrets, _now: datetime) -> Secrets:
    return replace(
        own,
        sealing_key=own.second_sealing_key,
        second_sealing_key=own.sealing_key,
        sealing_rotation="promoted",
    )


def _finish_sealing(own: Secrets, _now: datetime) -> Secrets:
    # The old key is kept: with it, even a step taken too early loses nothing.
    retired = f"{own.retired_sealing_keys} {own.second_sealing_key}".strip()
    return replace(own, second_sealing_key="", sealing_rotation="", retired_sealing_keys=retired)


def _prepare_token(own: Secrets, _now: datetime) -> Secrets:
    key = Ed25519PrivateKey.generate()
    return replace(
        own,
        next_token_private_key=base64_text(key.private_bytes_raw()),
        second_token_public_key=base64_text(key.public_key().public_bytes_raw()),
        tokens_rotation="prepared",
    )


def _promote_token(own: Secrets, now: datetime) -> Secrets:
    return replace(
        own,
        token_private_key=own.next_token_private_key,
        token_public_key=own.second_token_public_key,
        next_token_private_key="",
        second_token_public_key=own.token_public_key,
        tokens_rotation="promoted",
        tokens_promoted_at=now.isoformat(timespec="seconds"),
    )


def _finish_token(own: Secrets, now: datetime) -> Secrets:
    if now < expired_at(own):
        raise OperatorError(
            f"access tokens of the old key are valid until {expired_at(own):%H:%M:%S} UTC"
        )
    return replace(own, second_token_public_key="", tokens_rotation="", tokens_promoted_at="")


_Change = Callable[[Secrets, datetime], Secrets]
# The state before a step, the one after it, and the step.
_STEPS: Mapping[Kind, Mapping[Step, tuple[str, str, _Change]]] = {
    "sealing": {
        "prepare": ("", "prepared", _prepare_sealing),
        "promote": ("prepared", "promoted", _promote_sealing),
        "finish": ("promoted", "", _finish_sealing),
    },
    "token": {
        "prepare": ("", "prepared", _prepare_token),
        "promote": ("prepared", "promoted", _promote_token),
        "finish": ("promoted", "", _finish_token),
    },
}
