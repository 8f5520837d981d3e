"""Canonical forms of e-mail addresses and passwords, and the most common passwords."""

from __future__ import annotations

import unicodedata

from zxcvbn.frequency_lists import FREQUENCY_LISTS

PASSWORD_CHARS_MIN = 10

# The common passwords of zxcvbn that are long enough to be accepted otherwise, about a thousand.
_COMMON = frozenset(
    word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD_CHARS_MIN
)


def canonical_email(text: str) -> str:
    """Return NFKC in lower case without outer white space: `Ann@x.org` equals `ann@x.org`."""
    return unicodedata.normalize("NFKC", text.strip()).lower()


def canonical_password(text: str) -> str:
    """Return NFC, as RFC 8265's OpaqueString requires: keyboards differ in the form."""
    return unicodedata.normalize("NFC", text)


def is_common(password: str) -> bool:
    """Whether the password is among the most common ones, ignoring case."""
    return password.casefold() in _COMMON
