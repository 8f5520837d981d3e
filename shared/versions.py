"""Versions of what clients change, and the conditions that they set with `If-Match`.

Both APIs compute the same version from the same facts, so that a tag from a read can be a condition
of a command:

    "3-9f86d081884c7d659a2feaa0"    a representation: the version, and a digest of the bytes
    "3"                             a version alone, as a command's answer has it
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple
from zlib import crc32

from shared.errors import MalformedHeader, StaleVersion

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*(?:{_TAG}[ \t]*(?:,[ \t,]*|$))+")
_STRONG = re.compile(r'(W/)?"([^"]*)"')


class Condition(NamedTuple):
    """The versions that `If-Match` accepts; None accepts any existing one."""

    versions: frozenset[str] | None

    def require(self, version: str | None, what: str) -> None:
        """Raise `StaleVersion` unless the current version (None if there is none) is accepted."""
        if version is None:
            raise StaleVersion(f"there is no {what}")
        if self.versions is not None and version not in self.versions:
            raise StaleVersion(f"the {what} is at version {version}, which If-Match does not name")


def condition_of(if_match: str) -> Condition:
    """Parse `If-Match` (RFC 9110, 13.1.1): `*`, or a list of tags; weak ones match nothing.

    Raises `MalformedHeader`.
    """
    if if_match.strip() == "*":
        return Condition(None)
    if _TAGS.fullmatch(if_match) is None:
        detail = f'If-Match is {if_match[:40]!r} and must be a list of tags like "3", or *'
        raise MalformedHeader(detail, pointer="/header/if-match")
    strong = [tag for weak, tag in _STRONG.findall(if_match) if not weak]
    return Condition(frozenset(tag.partition("-")[0] for tag in strong))


def rating_version(half_stars: int, review: str | None, rated_at: datetime) -> str:
    """Return the version of a user's rating of a movie."""
    at_ms = round(rated_at.timestamp() * 1_000_000) // 1_000
    words = "" if review is None else f".{crc32(review.encode()):x}"
    return f"{at_ms:x}.{half_stars}{words}"


def profile_version(display_name: str | None, visibility: str) -> str:
    """Return the version of a user's public profile."""
    return f"{crc32(f'{visibility} {display_name}'.encode()):08x}"
