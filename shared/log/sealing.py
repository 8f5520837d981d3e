"""Seal personal data with a key of its subject, so that deleting the key erases the data.

AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces. A subject's key is stored wrapped by the
key of the settings. A sealed value is bound to its place (event id and field name), so that it
cannot be moved to another event or field and still be opened.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import Misconfigured
from shared.ids import UserId

NONCE_BYTES = 12
KEY_BYTES = 32

# Marks values stored before their field was personal; base64 has no such character.
_CLEAR = "\0"

# The keys of some subjects; a subject without one has been erased.
Keys = Mapping[UserId, bytes]
NO_KEYS: Keys = MappingProxyType({})


class KeyWrap:
    """Creates subjects' keys, and wraps and unwraps them with the key of the settings.

    While the sealing key is rotated there is a second one, which only unwraps.
    """

    def __init__(self, sealing_key: bytes, second_key: bytes | None = None) -> None:
        self._cipher = AESGCM(sealing_key)
        self._ciphers = [self._cipher, *([AESGCM(second_key)] if second_key else [])]

    def new_key(self, user_id: UserId) -> tuple[bytes, bytes]:
        """Return a new key, and the same key wrapped for storage."""
        key = os.urandom(KEY_BYTES)
        return key, self._wrap(user_id, key)

    def unwrap(self, user_id: UserId, wrapped: bytes) -> bytes:
        """Return the unwrapped key; raise `Misconfigured` if it was wrapped with another key."""
        for cipher in self._ciphers:
            try:
                return _opened(cipher, user_id, wrapped)
            except (InvalidTag, ValueError):
                continue
        raise Misconfigured(
            f"the key of user {user_id} cannot be unwrapped: "
            "STARFOLD_SEALING_KEY is not the key that it was wrapped with"
        )

    def rewrap(self, user_id: UserId, wrapped: bytes) -> bytes | None:
        """Return a key that the second key wrapped, wrapped with the first; None for any other.

        Raises `Misconfigured` as `unwrap` does.
        """
        key = self.unwrap(user_id, wrapped)
        try:
            _opened(self._cipher, user_id, wrapped)
        except InvalidTag:
            return self._wrap(user_id, key)
        return None

    def _wrap(self, user_id: UserId, key: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, user_id.bytes)


def _opened(cipher: AESGCM, user_id: UserId, wrapped: bytes) -> bytes:
    return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], user_id.bytes)


class SubjectKeys(Mapping[UserId, bytes]):
    """Stored keys, each unwrapped on first access, and new ones.

    Access raises `Misconfigured` as `KeyWrap.unwrap` does.
    """

    def __init__(self, key_wrap: KeyWrap, wrapped: Mapping[UserId, bytes]) -> None:
        self._key_wrap = key_wrap
        self._wrapped = wrapped
        self._unwrapped: dict[UserId, bytes] = {}

    def add(self, user_id: UserId) -> bytes:
        """Create a user's key, and return it wrapped for storage."""
        self._unwrapped[user_id], wrapped = self._key_wrap.new_key(user_id)
        return wrapped

    def __getitem__(self, user_id: UserId) -> bytes:
        key = self._unwrapped.get(user_id)
        if key is None:
            key = self._key_wrap.unwrap(user_id, self._wrapped[user_id])
            self._unwrapped[user_id] = key
        return key

    def __iter__(self) -> Iterator[UserId]:
        return iter({**self._wrapped, **self._unwrapped})

    def __len__(self) -> int:
        return len({**self._wrapped, **self._unwrapped})


def seal_bytes(key: bytes, place: bytes, content: bytes) -> bytes:
    """Return nonce, ciphertext and tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, place)


def unseal_bytes(key: bytes, place: bytes, sealed: bytes) -> bytes:
    """Return the sealed content; raise `Misconfigured` if key or place differ."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
    except InvalidTag as error:
        raise Misconfigured("a sealed value does not open with its subject's key") from error


def seal(key: bytes, place: bytes, text: str) -> str:
    """Return nonce, ciphertext and tag in base64."""
    return base64.b64encode(seal_bytes(key, place, text.encode())).decode()


def in_the_clear(text: str) -> str:
    """Mark a clear text for an upcast: `unseal` returns it, to holders of the key only."""
    return _CLEAR + text


def unseal(key: bytes, place: bytes, sealed: str) -> str:
    """Return the sealed text; raise `Misconfigured` if key or place differ."""
    if sealed.startswith(_CLEAR):
        return sealed.removeprefix(_CLEAR)
    return unseal_bytes(key, place, base64.b64decode(sealed)).decode()
