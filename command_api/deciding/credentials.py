"""What e-mail addresses and passwords are compared as, and passwords that everybody tries first."""

from __future__ import annotations

import unicodedata

from zxcvbn.frequency_lists import FREQUENCY_LISTS

PASSWORD_CHARS_MIN = 10

# The common passwords of zxcvbn that are long enough to be taken otherwise, about a thousand.
_COMMON = frozenset(
    word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD_CHARS_MIN
)


def canonical_email(text: str) -> str:
    """Return NFKC in lower case without outer white space: `Ann@x.org` and `ann@x.org` are one."""
    return unicodedata.normalize("NFKC", text.strip()).lower()


def canonical_password(text: str) -> str:
    """Return NFC, as the profile OpaqueString of RFC 8265 has it: keyboards differ in the form."""
    return unicodedata.normalize("NFC", text)


def is_common(password: str) -> bool:
    """Whether the password is among those that are tried first, in any case of its letters."""
    return password.casefold() in _COMMON
