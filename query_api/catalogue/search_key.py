"""Search keys: texts without case, accents and optional punctuation, for comparisons."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Letters with a stroke or a ligature are distinct letters in Unicode and do not decompose.
_LETTERS = str.maketrans(
    {
        "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
        "ħ": "h", "ŧ": "t", "ŋ": "n", "ĸ": "k", "ə": "e", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ƴ": "y",
        "ƀ": "b", "ɨ": "i", "ɵ": "o", "ʉ": "u", "ƶ": "z", "ǥ": "g", "’": "'", "‘": "'", "ʼ": "'",
    }
)  # fmt: skip
# Definite and indefinite articles as search keys; `l` and `un` also stand before an apostrophe.
_ARTICLES = frozenset(
    {
        "the", "a", "an", "le", "la", "les", "l", "un", "une", "el", "los", "las", "lo",
        "una", "unos", "unas", "il", "gli", "uno", "der", "die", "das", "den", "dem", "ein",
        "eine", "o", "os", "as", "um", "uma", "de", "het", "een", "en", "ett", "et", "det",
    }
)  # fmt: skip
_FRACTIONS = {
    ord(char): f" {unicodedata.normalize('NFKC', char).replace(chr(0x2044), '/')}"
    for char in "\u00bd\u2153\u2154\u00bc\u00be"
}
_ASCII_SPACES = {code: " " for code in range(128) if not chr(code).isalnum()}
# A title is found with and without the punctuation inside its words: Schindler's, Spider-Man, E.T.
_JOINED = str.maketrans("", "", "'\u2019-\u2010.\u00b7")
_NUMBERS = {
    name: str(number)
    for names, first in (
        ("one two three four five six seven eight nine ten eleven twelve thirteen", 1),
        ("i ii iii iv v vi vii viii ix x xi xii xiii", 1),
    )
    for number, name in enumerate(names.split(), first)
}
# Signs that part a title from its subtitle: Alien: Covenant, Public Enemy No. 1 \u2013 Todestrieb.
_PARTS = re.compile(r":\s|\s[-\u2013\u2014]\s")
_LAST_ARTICLE = re.compile(r"(.+),\s*(\w+)'?\s*")


def search_key(text: str) -> str:
    """Return the text without case and accents: `KIŞ` and `kış` are `kis`, `Ærø` is `aero`."""
    if text.isascii():
        return text.lower()
    # Decompose again after `casefold`: capital sharp s and ligatures decompose to capitals.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return plain if plain.isascii() else plain.translate(_LETTERS)


def search_words(text: str) -> list[str]:
    """Return the words of a text as search keys, split at everything but letters and digits.

    A text without letters and digits, such as `$`, is split at white space instead.
    """
    if "&" in text:
        text = text.replace("&", " and ")
    if text.isascii():
        key = text.lower()
        return key.translate(_ASCII_SPACES).split() or key.split()
    key = search_key(text.translate(_FRACTIONS))
    return "".join(c if c.isalnum() else " " for c in key).split() or key.split()


def number_of(word: str) -> str:
    """Return a number's name or Roman numeral in digits, any other word as it is."""
    return _NUMBERS.get(word, word)


def without_article(words: Sequence[str]) -> Sequence[str]:
    """Return the words without a leading article, unless nothing else remains."""
    return words[1:] if len(words) > 1 and words[0] in _ARTICLES else words


class Names(NamedTuple):
    """The texts that a search text is compared with, in words that are parted by spaces.

    `lines` begin and end with a line feed each. First come a movie's titles, with and without the
    punctuation inside their words, with numbers as they are written and in digits; after an empty
    line the same without their articles, and the parts of titles at a colon or dash.
    """

    lines: str

    @property
    def words(self) -> frozenset[str]:
        """The words of all lines; kept nowhere, since most movies' are never asked for."""
        return frozenset(self.lines.split())

    @property
    def length(self) -> int:
        """The number of words of the title."""
        return self.lines.count(" ", 1, self.lines.index("\n", 1)) + 1


def names_of(titles: Iterable[str]) -> Names:
    """Return the names of a movie with these titles."""
    whole: dict[str, None] = {}
    parts: dict[str, None] = {}
    for title in map(with_article_first, titles):
        sections = _PARTS.split(title)
        for section in (title, *(sections if len(sections) > 1 else ())):
            for text in dict.fromkeys((section, section.translate(_JOINED))):
                words = search_words(text)
                forms = [words]
                if not _NUMBERS.keys().isdisjoint(words):
                    forms.append([number_of(word) for word in words])
                for form in forms:
                    (whole if section is title else parts)[" ".join(form)] = None
                    if (bare := without_article(form)) is not form:
                        parts[" ".join(bare)] = None
    others = [part for part in parts if part not in whole]
    lines = "\n".join(["", *whole, "", *others, ""] if others else ["", *whole, ""])
    return Names(lines)


def with_article_first(text: str) -> str:
    """Return `Godfather, The` as `The Godfather`, and any other text as it is."""
    if "," in text and (match := _LAST_ARTICLE.fullmatch(text)) is not None:
        rest, article = match.groups()
        if search_key(article) in _ARTICLES:
            return f"{article} {rest}"
    return text
