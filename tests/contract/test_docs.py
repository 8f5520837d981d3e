"""Documents that must not lag behind: every route, setting and command is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic_settings import BaseSettings

import command_api.app
import console.app
import query_api.app
from bench.chart import CHART, chart, figures
from command_api.settings import CommandSettings
from console.settings import ConsoleSettings
from ops.compose.init import FirstStepsSettings, SchemaSettings
from ops.compose.issue import IssueSettings
from ops.home.access import ApiSettings
from ops.settings import JobsSettings, OwnerSettings, WriteSideSettings
from projector.settings import ProjectorSettings
from query_api.settings import QuerySettings
from shared import errors
from shared.errors import Rejected, StarfoldError
from shared.web.problems import PROBLEM_TYPES
from web.settings import WebSettings

ROOT = Path(__file__).parents[2]
HTTP = (ROOT / "docs/http.md").read_text()
OPERATING = (ROOT / "docs/operating.md").read_text()
CONSOLE_DOCUMENT = (ROOT / "docs/console.md").read_text()
KEY = "A" * 43 + "="
SECRETS: dict[str, Any] = {
    "sealing_key": KEY,
    "token_public_key": KEY,
    "token_private_key": KEY,
    "cursor_key": KEY,
    "reservation_secret": KEY,
    "database_url": "",
    "redis_url": "redis://localhost",
    "jobs_redis_url": "redis://localhost",
}


def _routes(app: FastAPI) -> list[str]:
    return [
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


COMMAND_ROUTES = _routes(command_api.app.create_app(CommandSettings(**SECRETS)))
QUERY_ROUTES = _routes(query_api.app.create_app(QuerySettings(**SECRETS)))
CONSOLE = console.app.create_app(ConsoleSettings(**SECRETS))


@pytest.mark.parametrize("route", [*COMMAND_ROUTES, *QUERY_ROUTES])
def test_every_route_is_documented(route: str) -> None:
    assert f"`{route}`" in HTTP


@pytest.mark.parametrize("route", _routes(CONSOLE))
def test_every_route_of_the_console_is_documented(route: str) -> None:
    assert f"`{route}`" in CONSOLE_DOCUMENT


SETTINGS: list[type[BaseSettings]] = [
    CommandSettings,
    ConsoleSettings,
    QuerySettings,
    ProjectorSettings,
    JobsSettings,
    ApiSettings,
    OwnerSettings,
    WriteSideSettings,
    SchemaSettings,
    FirstStepsSettings,
    IssueSettings,
    WebSettings,
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    missing = [
        name for name in settings.model_fields if f"`STARFOLD_{name.upper()}`" not in OPERATING
    ]
    assert missing == []


def test_every_variable_that_a_document_names_is_read_by_something() -> None:
    """By settings, Compose files, the Makefile or tests; a guide's own variable may be new."""
    read = {f"STARFOLD_{name.upper()}" for one in SETTINGS for name in one.model_fields}
    for file in [
        *ROOT.glob("docker-compose*.yml"),
        ROOT / "Makefile",
        *(ROOT / "ops").rglob("*.py"),
        ROOT / "tests/browser/conftest.py",
    ]:
        read |= set(re.findall(r"STARFOLD_[A-Z0-9_]+", file.read_text()))
    named = {
        (document.name, name)
        for document in _documents()
        if document.parent.name != "howto"
        for name in re.findall(r"`(STARFOLD_[A-Z0-9_]+)", document.read_text())
    }
    assert sorted(one for one in named if one[1] not in read) == []


def test_every_todo_is_listed_as_unfinished() -> None:
    unfinished = (ROOT / "docs/unfinished.md").read_text()
    rooms = ("command_api", "console", "ops", "pages", "projector", "query_api", "shared", "web")
    with_todo = [
        str(file.relative_to(ROOT))
        for room in rooms
        for file in (ROOT / room).rglob("*.py")
        if "TODO" in file.read_text()
    ]
    assert [file for file in with_todo if f"`{file}`" not in unfinished] == []


def test_every_type_of_problem_is_documented() -> None:
    """With its status and its meaning, in the order of the table; and no other."""
    errors = HTTP[HTTP.index("## Errors") :]
    documented = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| (.+) \|$", errors, re.MULTILINE)
    assert documented == [
        (code, str(kind.status), kind.meaning) for code, kind in PROBLEM_TYPES.items()
    ]


def test_every_problem_that_the_code_raises_has_a_type() -> None:
    """Both the errors that reach a client, and the problems of HTTP itself."""
    raised = set()
    for room in ("command_api", "console", "query_api", "shared"):
        for file in (ROOT / room).rglob("*.py"):
            raised |= set(re.findall(r'(?:Refused|problem)\(\s*"([a-z-]+)"', file.read_text()))
    assert {"precondition-required", "method-not-allowed", "internal"} <= raised
    own = {error.code for error in _errors(Rejected)}
    assert (raised | own) - set(PROBLEM_TYPES) == set()


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """In the docstring of its module, with each class under the one that it comes from."""
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    above = ["StarfoldError"]
    for indent, name in re.findall(r"^    ([│├└─ ]+)(\w+)  ", errors.__doc__, re.MULTILINE):
        level = len(indent) // 4
        drawn[name] = above[level - 1]
        above[level:] = [name]
    own = {one for one in _errors(StarfoldError) if one.__module__ == errors.__name__}
    assert drawn == {one.__name__: one.__base__.__name__ for one in own if one.__base__}


def _errors(base: type[StarfoldError]) -> list[type[StarfoldError]]:
    return [one for child in base.__subclasses__() for one in (child, *_errors(child))]


def test_files_that_documents_name_exist() -> None:
    """Decisions count too: they name a file that has moved by its new name.

    A guide has its reader create some files.
    """
    named = {
        (document.name, path)
        for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for path in re.findall(r"`([a-z_]+/[a-z_/.]+\.(?:py|sql|lua|sh))`", document.read_text())
        if f" file={path}\n" not in document.read_text()
    }
    assert [one for one in sorted(named) if not (ROOT / one[1]).exists()] == []


def test_links_lead_somewhere() -> None:
    """To a file that exists, and to a heading in it."""
    broken = [
        f"{document.name}: {target}{anchor}"
        for document in _documents()
        for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]+)?\)", document.read_text())
        if not _leads_somewhere(document.parent / target if target else document, anchor)
    ]
    assert broken == []


def _leads_somewhere(file: Path, anchor: str) -> bool:
    if not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return anchor[1:] in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_the_speed_in_short_is_that_which_was_measured() -> None:
    """In the section that it names, and the README and the chart show the same."""
    benchmarks = (ROOT / "docs/benchmarks.md").read_text()
    shown = figures(benchmarks)
    assert len(shown) == 6
    assert figures((ROOT / "README.md").read_text()) == shown
    assert CHART.read_text() == chart(shown), "run `python -m bench.chart`"
    named = re.findall(r"newest figures, from \[(.+)\]", benchmarks)[0]
    measured = re.split(rf"^### .*{named}$", benchmarks, flags=re.MULTILINE)[1].split("\n### ")[0]
    numbers = {float(one) for one in re.findall(r"\d+\.\d+", measured)}
    assert {float(one.ratio) for one in shown} <= numbers


def _status(record: Path) -> tuple[str, str]:
    """The date of a decision, and what has become of it."""
    date, status = re.findall(
        r"^\*\*Status\.\*\* (\S+)\. (.+?)\n\n", record.read_text(), re.MULTILINE | re.DOTALL
    )[0]
    return date, " ".join(status.split())


def test_the_list_of_decisions_is_complete() -> None:
    """Every record with its title, date and status; a number without a record is explained."""
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    numbers = []
    for record in sorted(folder.glob("[0-9]*.md")):
        text = record.read_text()
        number, title = re.findall(r"^# (\d+)\. (.+)$", text, re.MULTILINE)[0]
        date, status = _status(record)
        word = re.findall(r"^(?:Accepted|Amended|Replaced)", status)[0].lower()
        line = f"| [{number}]({record.name}) | {title} | {date} | {word}"
        assert line in index, f"docs/decisions/README.md lacks: {line}"
        assert "Alternatives" in text, record.name
        assert record.name.startswith(f"{int(number):04}-")
        numbers.append(int(number))
    explained = index[index.rindex("|") :]
    spans = re.findall(r"(\d+)(?: to (\d+))?", explained)
    absent = {n for first, last in spans for n in range(int(first), int(last or first) + 1)}
    assert absent.isdisjoint(numbers)
    assert absent | set(numbers) == set(range(1, max(numbers) + 1))


def test_a_decision_and_the_one_that_changes_it_link_to_each_other() -> None:
    folder = ROOT / "docs/decisions"
    for record in folder.glob("[0-9]*.md"):
        for other in re.findall(r"\]\((\d{4}-[^)]+)\)", _status(record)[1]):
            assert record.name in _status(folder / other)[1], f"{other}: no link to {record.name}"


def _documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("document", _documents(), ids=lambda one: str(one.relative_to(ROOT)))
def test_no_line_of_prose_is_longer_than_100_columns(document: Path) -> None:
    """But for tables, code, and what cannot be broken."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert [line for line in long if " " in line.strip().lstrip("-*0123456789. ")] == []
