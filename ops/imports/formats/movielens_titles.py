"""Titles of MovieLens: articles at the end, further titles and the year in brackets."""

from __future__ import annotations

import re

# Articles that the files move from the beginning of a title to its end.
_ARTICLES = {
    "The", "A", "An", "Le", "La", "Les", "L'", "Il", "El", "Los", "Las", "Das", "Der", "Die", "Un",
    "Une", "De", "Den", "Det", "Lo", "I", "O", "Os", "As",
}  # fmt: skip
# A title does not end with one of these: what follows in brackets belongs to it.
_CONNECTIVES = {"or", "and", "of", "the", "a", "an", "&", "to", "in", "with"}
_YEAR = re.compile(r"\s*\(([0-9]{4})(?:[-\u2013][0-9]{0,4})?\)\s*$", re.ASCII)
_BRACKET = re.compile(r"\s*\(([^()]*)\)\s*$")
_ALSO = re.compile(r"(?:a\.?k\.?a\.?|aka)\s+", re.IGNORECASE)
BRACKETS_MAX = 5


def split_year(text: str) -> tuple[str, int | None]:
    """Return a title without the `(year)` that closes it, and the year."""
    found = _YEAR.search(text)
    if found is None:
        return text.strip(), None
    return text[: found.start()].strip(), int(found[1])


def natural_titles(title: str) -> tuple[str, tuple[str, ...]]:
    """Return a title as it is said, and the further titles that it has in brackets.

    `City of Lost Children, The (Cité des enfants perdus, La)` has the further title `La Cité des
    enfants perdus`; `Birdman: Or (The Unexpected Virtue of Ignorance)` has none.
    """
    rest, others = title.strip(), []
    for _ in range(BRACKETS_MAX):
        found = _BRACKET.search(rest)
        head = rest[: found.start()].strip() if found else ""
        if found is None or not head or _said(head).split()[-1].casefold() in _CONNECTIVES:
            break
        rest = head
        others.append(_said(_ALSO.sub("", found[1].strip(), count=1)))
    said = _said(rest)
    others.reverse()
    return said, tuple(dict.fromkeys(other for other in others if other and other != said))


def _said(title: str) -> str:
    """Turn `Usual Suspects, The` into `The Usual Suspects`."""
    head, comma, tail = title.rpartition(", ")
    if not comma or tail not in _ARTICLES:
        return title
    return f"{tail}{head}" if tail.endswith("'") else f"{tail} {head}"
