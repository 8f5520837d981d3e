"""The words of the repository: comments, docstrings and documents use plain technical English."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [
    "bench",
    "client",
    "command_api",
    "console",
    "ops",
    "pages",
    "projector",
    "query_api",
    "shared",
    "tests",
    "web",
]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
# The rules themselves quote what they forbid.
EXEMPT = {Path(__file__)}

# What is not written, and what to write instead. Code spans are not looked at.
BANNED = [
    (r"\banew\b", "again, from scratch"),
    (r"\bwhoever\b|\bwhomever\b", "name the person or process"),
    (r"\bso (many|much|late|long|often)\b(?! (as|that)\b)", "at most, maximum, timeout, delay"),
    (r"\bgo(es)? on\b|\bgoing on\b|\bwent on\b", "continue, keep, resume"),
    (r"\bstanding\b", "current, existing, stored"),
    (r"\bstands? still\b", "is frozen, is parked, does not advance"),
    (r"\bas (it|they) stands?\b", "current, unchanged"),
    (r"\b(that|those) of (the|a|an|one|it|them)\b(?=[ .,;:])", "repeat the noun"),
    (r"\bis told\b|\bare told\b|\bbe told\b", "say who tells whom: the server sends, notifies"),
    (r"\beverybody( else)?\b|\bnobody else\b", "all others, every client, no other client"),
    (r"\bwithout a word\b", "silently"),
    (r"\bmade? good\b", "rebuild, repair"),
    (r"\bhold(s|ing)? (anybody|everybody|nobody) up\b", "delay other clients"),
    (r"\bbatch (requests?|routes?|rows?)\b", "bulk: a batch is the commands that share a commit"),
    (r"\bfold(s|ed|ing)? (a|the) (text|title|name|word)s?\b", "search key: events are folded"),
    (r"\b(event|update) streams? of (a|the) (server|client|connection)\b", "live updates"),
]
# How no comment, docstring or paragraph begins.
BANNED_BEGINNINGS = [
    (r"Of (?!course)", "a full sentence that names its subject"),
    (r"So (many|much|late|long|often)\b", "At most, Maximum, Timeout, Delay"),
    (r"(Those|Whose|Whom|Where nothing|Who)\b(?!.*\?$)", "a full sentence that names its subject"),
]


class Passage(NamedTuple):
    """A docstring, a comment or a paragraph, and the line where it begins."""

    path: Path
    line: int
    text: str
    is_docstring: bool = False


def _passages(file: Path) -> Iterator[Passage]:
    source = file.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                yield Passage(file, node.body[0].lineno, docstring, is_docstring=True)
    comment: list[str] = []
    last_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        whole_line = token.line.lstrip().startswith("#")
        if comment and not (whole_line and token.start[0] == last_line + 1):
            yield Passage(file, last_line - len(comment) + 1, " ".join(comment))
            comment = []
        comment.append(re.sub(r"^#+:?\s?(noqa|type):.*?(#|$)\s*", "", token.string).lstrip("# "))
        last_line = token.start[0]
    if comment:
        yield Passage(file, last_line - len(comment) + 1, " ".join(comment))


def _paragraphs(document: Path) -> Iterator[Passage]:
    fenced = False
    paragraph: list[str] = []
    for number, line in enumerate([*document.read_text().splitlines(), ""], 1):
        if line.startswith("```"):
            fenced = not fenced
        elif line.strip() and not fenced:
            if paragraph and re.match(r"\s*([-*|#]|\d+\.)", line):
                yield Passage(document, number - len(paragraph), "\n".join(paragraph))
                paragraph = []
            paragraph.append(line)
        if paragraph and (fenced or not line.strip()):
            yield Passage(document, number - len(paragraph), "\n".join(paragraph))
            paragraph = []


def _faults(passage: Passage) -> Iterator[str]:
    prose = re.sub(r"``?[^`]*``?", "`code`", passage.text)
    prose = re.sub(r"\s+", " ", prose).strip()
    for pattern, better in BANNED:
        for found in re.finditer(pattern, prose, re.IGNORECASE):
            yield f"{_place(passage)}: “{found[0]}”: write {better}"
    beginning = re.sub(r"^(?:[-*|#>]+|\d+\.)\s*", "", prose)
    for pattern, better in BANNED_BEGINNINGS:
        if start := re.match(pattern, beginning):
            yield f"{_place(passage)}: begins with “{start[0].strip()}”: write {better}"
    if passage.is_docstring:
        first, last = passage.text.split("\n\n")[0], passage.text.split("\n\n")[-1]
        if not first.endswith((".", ":", "?", "!")) or "\n" in first:
            yield f"{_place(passage)}: write a first line that is a sentence with its full stop"
        if not last.startswith("    ") and not last.endswith((".", "?", "!", ":")):
            yield f"{_place(passage)}: end the docstring with a full stop"


def _place(passage: Passage) -> str:
    return f"{passage.path.relative_to(ROOT)}:{passage.line}"


@pytest.mark.parametrize("package", PACKAGES)
def test_comments_and_docstrings_are_plain_english(package: str) -> None:
    files = [one for one in sorted((ROOT / package).rglob("*.py")) if one not in EXEMPT]
    assert files
    faults = [fault for file in files for passage in _passages(file) for fault in _faults(passage)]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_documents_are_plain_english(document: Path) -> None:
    faults = [fault for one in _paragraphs(document) for fault in _faults(one)]
    faults += [
        f"{_place(one)}: keep a code span on one line"
        for one in _paragraphs(document)
        if any(line.count("`") % 2 for line in one.text.splitlines())
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_a_riddle_fails_with_its_place_and_what_to_write() -> None:
    """Each rule finds its example, so that none has become a pattern that matches nothing."""
    examples = [
        ("Load it anew.", "again, from scratch"),
        ("Of a user, as they are.", "a full sentence"),
        ("So late is waited for.", "At most"),
        ("Everybody else goes on.", "continue"),
        ("Return the standing rating", "end the docstring"),
        ("Read a batch request.", "bulk"),
    ]
    for text, better in examples:
        found = list(_faults(Passage(Path(__file__), 7, text, is_docstring=True)))
        assert any("test_words.py:7: " in fault and better in fault for fault in found), found
