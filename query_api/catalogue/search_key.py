"""Search keys: texts without case, accents and optional punctuation, for comparisons."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Letters with a stroke or a ligature are distinct letters in Unicode and do not decompose.
_LETTERS = str.maketrans(
    {
        "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
        "ħ": "h", "ŧ": "t", "ŋ": "n", "ĸ": "k", "ə": "e", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ƴ": "y",
        "ƀ": "b", "ɨ": "i", "ɵ": "o", "ʉ": "u", "ƶ": "z", "ǥ": "g", "’": "'", "‘": "'", "ʼ": "'",
    }
)  # fmt: skip
_ARTICLES = ("the ", "a ", "an ", "le ", "la ", "les ", "l'", "el ", "il ", "lo ", "der ", "das ")


def search_key(text: str) -> str:
    """Return the text without case and accents: `KIŞ` and `kış` are `kis`, `Ærø` is `aero`."""
    # Decompose again after `casefold`: capital sharp s and ligatures decompose to capitals.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return plain if plain.isascii() else plain.translate(_LETTERS)


def search_keys(names: Iterable[str]) -> frozenset[str]:
    return frozenset(search_key(name) for name in names)


def search_words(text: str) -> list[str]:
    """Return the words of a text as search keys, split at everything but letters and digits.

    A text without letters and digits, such as `$`, is split at white space instead.
    """
    key = search_key(text)
    return "".join(c if c.isalnum() else " " for c in key).split() or key.split()


def without_article(key: str) -> str:
    """Return a title's search key without its leading article, unless nothing else remains."""
    if key.startswith(_ARTICLES):
        end = key.index("'" if key.startswith("l'") else " ") + 1
        return key[end:].lstrip() or key
    return key
