"""Access tokens: JSON Web Tokens signed with Ed25519 (RFC 8037) by the command API.

Both APIs verify them. Algorithm, issuer and audience are fixed; a token names its bearer and, for
the query API, their role. The command API also looks the user up, so that an erased or demoted user
is refused at once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import NotAuthenticated
from shared.ids import NO_VERSION, UserId, Version, new_uuid7
from shared.log.events import Role

ALGORITHM = "EdDSA"
TOKEN_LIFETIME_S = 15 * 60
# About 700 bytes each. With more callers in 15 minutes, signatures are verified again.
VERIFIED_TOKENS_MAX = 50_000
TOKEN_BYTES_MAX = 2_000
# Allowed clock skew of the issuer, for `iat` and `nbf`.
LEEWAY_S = 60


class Claims(NamedTuple):
    """The bearer of a token; `expires_at` is in seconds since 1970.

    With `service` the id belongs to a service key, and to no user. `session_id` is the session that
    the token comes from, if it has one. `version` is the version of the user's stream at issue:
    later events take precedence over the token.
    """

    user_id: UserId
    role: Role
    expires_at: float
    session_id: UUID | None = None
    service: bool = False
    version: Version = NO_VERSION
    issued_at: float = 0.0


class TokenIssuer:
    """Signs tokens with a raw 32-byte Ed25519 private key."""

    def __init__(self, private_key: bytes, *, issuer: str, audience: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._issuer = issuer
        self._audience = audience

    def issue(
        self,
        user_id: UserId,
        role: Role,
        *,
        now_s: float,
        session_id: UUID | None = None,
        service: bool = False,
        version: Version = NO_VERSION,
    ) -> str:
        """Return a token that is valid for `TOKEN_LIFETIME_S` from now on."""
        optional: dict[str, object] = {"kind": "service"} if service else {}
        if session_id is not None:
            optional["sid"] = session_id.hex
        if version > NO_VERSION:
            optional["ver"] = version
        return jwt.encode(
            optional
            | {
                "iss": self._issuer,
                "aud": self._audience,
                "sub": str(user_id),
                "role": role,
                "iat": int(now_s),
                "exp": int(now_s) + TOKEN_LIFETIME_S,
                "jti": new_uuid7().hex,
            },
            self._key,
            algorithm=ALGORITHM,
            headers={"kid": key_id(self._key.public_key())},
        )


class TokenVerifier:
    """Checks tokens against raw 32-byte Ed25519 public keys, and caches verified ones."""

    def __init__(
        self, *public_keys: bytes, issuer: str, audience: str, clock: Callable[[], float]
    ) -> None:
        self._keys = [Ed25519PublicKey.from_public_bytes(key) for key in public_keys]
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._verified: dict[str, Claims] = {}

    def verify(self, token: str) -> Claims:
        """Return a token's claims; raise `NotAuthenticated` if it is forged, expired or foreign."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify_signature(token)
            if len(self._verified) >= VERIFIED_TOKENS_MAX:
                self._verified.clear()
            self._verified[token] = claims
        if claims.expires_at <= self._clock():
            self._verified.pop(token, None)
            raise NotAuthenticated("the access token has expired")
        return claims

    def _verify_signature(self, token: str) -> Claims:
        if len(token) > TOKEN_BYTES_MAX:
            raise NotAuthenticated("the access token is not valid")
        try:
            payload = self._payload(token)
            role: Role = payload["role"]
            if role not in ("member", "curator", "operator"):
                raise NotAuthenticated("the access token is not valid")
            return Claims(
                UserId(UUID(payload["sub"])),
                role,
                float(payload["exp"]),
                session_id=UUID(payload["sid"]) if "sid" in payload else None,
                service=payload.get("kind") == "service",
                version=Version(int(payload.get("ver", NO_VERSION))),
                issued_at=float(payload.get("iat", 0)),
            )
        except jwt.ExpiredSignatureError as error:
            raise NotAuthenticated("the access token has expired") from error
        except (jwt.InvalidTokenError, ValueError) as error:
            raise NotAuthenticated("the access token is not valid") from error

    def _payload(self, token: str) -> dict[str, Any]:
        """Return the payload of a token that one of the keys has signed."""
        *others, last = self._keys
        for key in others:
            try:
                return self._signed_with(key, token)
            except jwt.InvalidSignatureError:
                continue
        return self._signed_with(last, token)

    def _signed_with(self, key: Ed25519PublicKey, token: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            audience=self._audience,
            # Applies to `exp` too, which `verify` checks again without leeway.
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub", "role"]},
        )


def json_web_key(public_key: bytes) -> dict[str, str]:
    """Return a raw Ed25519 public key as a JSON Web Key (RFC 8037), for other verifiers."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(public_key).rstrip(b"=").decode(),
        "kid": key_id(Ed25519PublicKey.from_public_bytes(public_key)),
        "alg": ALGORITHM,
        "use": "sig",
    }


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return a short name of a key, which distinguishes keys during a rotation."""
    return base64.urlsafe_b64encode(public_key.public_bytes_raw()[:8]).rstrip(b"=").decode()


def bearer_token(authorization: str | None) -> str:
    """Return the credential in an `Authorization: Bearer` header; raise `NotAuthenticated`."""
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")
    return credential.strip()
