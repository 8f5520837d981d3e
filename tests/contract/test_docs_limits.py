"""Limits, statuses and arguments: the documents state those that the code has, and no others.

A constant `…_MAX` of a module in `AT_THE_EDGE` is a line of `LIMITS`, or bounds only what the
service keeps for itself (`INTERNAL`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings
from typer.core import TyperArgument, TyperGroup, TyperOption

import command_api.app
import query_api.app
from command_api.bodies.fields import YEARS_AHEAD_MAX
from command_api.settings import CommandSettings
from ops.cli import app as cli
from query_api.settings import QuerySettings
from shared.ids import POSITION_MAX
from shared.web.application import Service
from shared.web.operation import Operation
from tests.contract.test_docs import HTTP, OPERATING, SECRETS, SETTINGS

COMMANDS = CommandSettings(**SECRETS)
READS = QuerySettings(**SECRETS)
APPLICATIONS = [
    (command_api.app.create_app(COMMANDS), COMMANDS.body_bytes_max),
    (query_api.app.create_app(READS), query_api.app.BODY_BYTES_MAX),
]

# What each line of the table is held against: constants by module, settings by their defaults.
LIMITS = {
    "requests and rows a minute, of a member; of a service key; of an address": (
        "settings:rate_limit_member",
        "settings:rate_limit_service",
        "settings:rate_limit_anonymous",
    ),
    "reads a minute, of the subject of an access token; of an address": (
        "settings:read_limit_caller",
        "settings:read_limit_address",
    ),
    "failed log-ins in five minutes, of an address for one account; for any": (
        "settings:log_in_failures_per_account",
        "settings:log_in_failures_per_address",
    ),
    "errors that an address is sent, in a second; at once": (
        "command_api.identity.refusal_pace:A_SECOND_MAX",
        "command_api.identity.refusal_pace:AT_ONCE_MAX",
    ),
    "seconds that the answer of an error waits": ("command_api.identity.refusal_pace:DELAY_MAX_S",),
    "log-ins of one address that wait, and sign-ups; both of all addresses": (
        "command_api.identity.passwords:WAITING_PER_ADDRESS_MAX",
        "command_api.identity.passwords:WAITING_MAX",
    ),
    "batches in progress, of one caller; of all": (
        "command_api.bulk.room:BULK_REQUESTS_PER_CALLER_MAX",
        "command_api.bulk.room:BULK_REQUESTS_MAX",
    ),
    "bytes of batches that have not come whole, of one caller; of all": (
        "command_api.bulk.room:COMING_BYTES_PER_CALLER_MAX",
        "command_api.bulk.room:COMING_BYTES_MAX",
    ),
    "bytes of a file to import; bytes that it unpacks to; its rows": (
        "command_api.bodies.models:IMPORT_BYTES_MAX",
        "ops.imports.member_file:UNPACKED_BYTES_MAX",
        "ops.imports.member_file:ROWS_MAX",
    ),
    "seconds to read it; attempts": (
        "ops.imports.member_file:READ_WITHIN_S",
        "ops.imports.inbox:ATTEMPTS_MAX",
    ),
    "files to import that wait, of all members; their bytes": (
        "command_api.imports.shelf:WAITING_MAX",
        "command_api.imports.shelf:WAITING_BYTES_MAX",
    ),
    "imports that are kept, of a member; days": (
        "command_api.imports.shelf:KEPT_PER_MEMBER",
        "command_api.imports.shelf:KEPT_FOR_DAYS",
    ),
    "reports and choices of imports in progress, of all users": (
        "command_api.imports.shelf:REPORTS_MAX",
    ),
    "films to choose for in an answer, choices in a request": (
        "command_api.imports.shelf:CHOICES_SHOWN",
        "command_api.bodies.models:CHOICES_MAX",
    ),
    "exports in progress, of all users; bytes of a file for Letterboxd": (
        "command_api.privacy.export:EXPORTS_MAX",
        "command_api.privacy.rating_files:LETTERBOXD_BYTES_MAX",
    ),
    "bytes of one row of a batch of ratings; of movies; of users": (
        "command_api.bodies.models:RATING_BYTES_MAX",
        "command_api.bodies.models:MOVIE_BYTES_MAX",
        "command_api.bodies.models:EXTERNAL_USER_BYTES_MAX",
    ),
    "members of one object; items of one list": (
        "command_api.bodies.bounded_json:MEMBERS_MAX",
        "command_api.bodies.bounded_json:ITEMS_MAX",
    ),
    "lists and objects of one body or row; inside one another": (
        "command_api.bodies.bounded_json:CONTAINERS_MAX",
        "command_api.bodies.bounded_json:DEPTH_MAX",
    ),
    "combining marks in a row, in any text": ("command_api.bodies.fields:COMBINING_IN_A_ROW_MAX",),
    "errors listed in a 422; of one row; of all rows of a batch; the others are counted": (
        "shared.web.problems:VALIDATION_ERRORS_MAX",
        "command_api.bulk.requests:ERRORS_A_ROW_MAX",
        "command_api.bulk.requests:ERRORS_A_BODY_MAX",
    ),
    "characters shown of a name that the client sent; of a `detail` in `errors`": (
        "shared.web.problems:POINTER_PART_CHARS_MAX",
        "shared.web.problems:DETAIL_CHARS_MAX",
    ),
    "names shown in a `pointer`": ("shared.web.problems:POINTER_PARTS_MAX",),
    "bytes of request line and fields; fields": (
        "shared.web.serving.protocol:HEAD_BYTES_MAX",
        "shared.web.serving.protocol:FIELDS_MAX",
    ),
    "seconds until a request has come whole; in which a client takes too little of an answer": (
        "shared.web.serving.protocol:REQUEST_WITHIN_S",
        "shared.web.serving.protocol:STALLED_MAX_S",
    ),
    "seconds that a request for recently rated movies waits": (
        "query_api.views.trending:WAIT_MAX_S",
    ),
    "mails that an address requests in five minutes": ("settings:mail_requests_per_address",),
    "mails of one purpose to one user; the seconds for which they count": (
        "command_api.identity.mails:MAILS_A_USER_MAX",
        "command_api.identity.mails:MAILS_WITHIN_S",
    ),
    "sessions listed; characters of a `user_agent`": (
        "command_api.identity.sessions:LISTED_MAX",
        "command_api.identity.sessions:USER_AGENT_CHARS_MAX",
    ),
    "such lists of sessions that one request of an operator ends": (
        "command_api.http.sessions:ENDING_ROUNDS_MAX",
    ),
    "characters of an API key; bytes of an access token": (
        "command_api.identity.authentication:API_KEY_CHARS_MAX",
        "shared.web.tokens:TOKEN_BYTES_MAX",
    ),
    "seconds that a `rated_at` is ahead; that the `iat` and `nbf` of a token are": (
        "command_api.deciding.rating:CLOCK_AHEAD_MAX",
        "shared.web.tokens:LEEWAY_S",
    ),
    "open streams, of one caller; of a process": (
        "settings:streams_per_caller_max",
        "settings:streams_max",
    ),
    "ids in `movies` of a stream, in `ids` of a list": (
        "query_api.http.parameters:MOVIES_MAX",
        "query_api.http.parameters:MOVIES_MAX",
    ),
    "reads that wait for a position, of one caller; of all": (
        "settings:waiters_per_caller_max",
        "query_api.redis_reads.freshness:WAITERS_MAX",
    ),
    "seconds that a read waits for a position": ("query_api.redis_reads.freshness:WAIT_MAX_S",),
    "long searches under way; words of `q` that are looked for": (
        "query_api.catalogue.search:LONG_SEARCHES_MAX",
        "query_api.catalogue.search:WORDS_MAX",
    ),
    "comparisons of words, and titles, in which a search looks for typos": (
        "query_api.catalogue.typos:COMPARED_MAX",
        "query_api.catalogue.typos:CANDIDATES_MAX",
    ),
    "ratings that are sorted by `score` or `title`; of a profile with `genres`": (
        "query_api.views.sort_keys:SORTED_MAX",
        "query_api.views.profiles:RATINGS_MAX",
    ),
    "positions of a user's ratings in the order of change": (
        "query_api.views.changed_ratings:POSITIONS_MAX",
    ),
    "genres of a profile; its favourites": (
        "query_api.views.taste:GENRES_MAX",
        "query_api.views.taste:FAVOURITES_MAX",
    ),
    "characters of a cursor": ("query_api.views.cursors:CURSOR_CHARS_MAX",),
}
AT_THE_EDGE = (
    "command_api.bodies",
    "command_api.bulk",
    "command_api.http",
    "command_api.identity",
    "command_api.imports",
    "command_api.privacy",
    "query_api.http",
    "query_api.views",
    "query_api.catalogue.search",
    "query_api.redis_reads.freshness",
    "shared.web",
    "shared.web.serving",
)
# Limits of fields and parameters, which the documents of OpenAPI state.
IN_SCHEMAS = {
    "command_api.bodies.fields",
    "command_api.bodies.idempotency_key",
    "command_api.bodies.models",
    "query_api.http.parameters",
    "shared.web.parameter_types",
}
INTERNAL = {
    "command_api.bodies.json_body:ON_LOOP_BYTES_MAX",
    "command_api.bulk.requests:SPLIT_ON_LOOP_BYTES_MAX",
    "command_api.bulk.requests:TURNS_WAITING_MAX",
    "command_api.identity.authentication:KEYS_CACHED_MAX",
    "command_api.identity.authentication:UNKNOWN_KEYS_CACHED_MAX",
    "command_api.identity.callers:PASSED_MAX",
    "command_api.identity.passwords:HASHING_THREADS_MAX",
    "command_api.identity.passwords:NICENESS_MAX",
    "command_api.identity.refusal_pace:ADDRESSES_MAX",
    "query_api.catalogue.search:SORT_CANDIDATES_MAX",
    "query_api.redis_reads.freshness:DIGITS_MAX",
    "query_api.redis_reads.freshness:SILENT_MAX_S",
    "query_api.views.profiles:CACHED_MAX",
    "shared.web.routes:FOUND_MAX",
    "shared.web.serving.protocol:FRAMING_BYTES_MAX",
    "shared.web.serving.protocol:LINGER_BYTES_MAX",
    "shared.web.serving.protocol:LINGER_MAX_S",
    "shared.web.serving.server:WORKER_SILENT_MAX_S",
    "shared.web.token_buckets:BUCKETS_MAX",
    "shared.web.tokens:VERIFIED_TOKENS_MAX",
}


def _modules() -> Iterator[str]:
    for name in AT_THE_EDGE:
        module = import_module(name)
        yield name
        for one in iter_modules(getattr(module, "__path__", [])):
            yield f"{name}.{one.name}"


def _own_limits(module: str) -> Iterator[str]:
    """The constants that a module itself defines."""
    file = import_module(module).__file__
    assert file is not None
    for name in re.findall(
        r"^([A-Z][A-Z_]*_MAX(?:_S)?)\b.*=", Path(file).read_text(), re.MULTILINE
    ):
        yield f"{module}:{name}"


def test_every_limit_at_the_edge_is_documented_or_internal() -> None:
    own = {one for name in _modules() if name not in IN_SCHEMAS for one in _own_limits(name)}
    documented = {one for limits in LIMITS.values() for one in limits}
    assert own - documented - INTERNAL == set()
    assert INTERNAL - own == set()


def _value(limit: str) -> str:
    place, name = limit.split(":")
    if place == "settings":
        value = getattr(COMMANDS, name) if hasattr(COMMANDS, name) else getattr(READS, name)
    else:
        value = getattr(import_module(place), name)
    return f"{value.total_seconds() if isinstance(value, timedelta) else value:,.10g}"


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of `docs/http.md`."""
    section = HTTP.split(f"\n### {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_limits_are_those_of_the_code() -> None:
    expected = [[what, "; ".join(map(_value, limits))] for what, limits in LIMITS.items()]
    assert _rows("Limits of callers, bodies and reads") == expected


def _operations() -> Iterator[tuple[str, Operation, dict[str, Any], int]]:
    for application, usual_max in APPLICATIONS:
        paths = application.openapi()["paths"]
        for one in application.operations:
            documented = paths[one.path][one.method.lower()]
            yield f"`{one.method} {one.path}`", one, documented, usual_max


def test_the_body_and_the_answers_of_every_route_are_documented() -> None:
    expected = []
    for route, operation, documented, usual_max in _operations():
        body = operation.body
        size = f"{operation.body_bytes_max(usual_max):,}" if body else ""
        rows = getattr(body.models[0], "ROWS_MAX", None) if body and body.models else None
        cells = [route, size, f"{rows:,}" if rows else "", " ".join(documented["responses"])]
        if cells not in expected:
            expected.append(cells)
    assert _rows("Bodies and answers of each route") == expected


def test_the_limits_of_every_field_and_parameter_are_documented() -> None:
    expected: dict[str, set[str]] = defaultdict(set)
    for application, _ in APPLICATIONS:
        for name, schema in _fields(application):
            for limit in _stated(schema):
                expected[limit].add(f"`{name}`")
    documented = {limit: set(names.split(", ")) for limit, names in _rows("Limits of fields")}
    assert documented == expected


def _fields(application: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    document = application.openapi()
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Body"):
            yield from schema["properties"].items()
    for _, operation, documented, _ in _operations():
        if operation in application.operations:
            for one in documented["parameters"]:
                parameter = document["components"]["parameters"].get(
                    one.get("$ref", "").rpartition("/")[2], one
                )
                yield parameter["name"], parameter["schema"]


def _stated(schema: dict[str, Any]) -> Iterator[str]:
    """What one of the alternatives of a field's schema limits, in words."""
    for one in [schema, *schema.get("anyOf", [])]:
        for least, most, of in (
            ("minLength", "maxLength", " characters"),
            ("minItems", "maxItems", " items"),
            ("minimum", "maximum", ""),
        ):
            if most in one:
                steps = f" in steps of {one['multipleOf']}" if "multipleOf" in one else ""
                yield f"{one.get(least, 0):g} to {_most(one[most])}{of}{steps}"
        if "enum" in one:
            yield "one of " + ", ".join(f"`{value}`" for value in one["enum"])
        if isinstance(one.get("items"), dict):
            yield from (f"each {limit}" for limit in _stated(one["items"]))


def _most(value: float) -> str:
    if value == datetime.now(UTC).year + YEARS_AHEAD_MAX:
        return f"the year in {YEARS_AHEAD_MAX} years"
    return "2^63 - 1" if value == POSITION_MAX else f"{value:,.10g}"


def _commands(command: Any, words: str = "starfold") -> Iterator[tuple[str, set[str]]]:
    """Each command with its arguments and options, but for `--home`, which every one has."""
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _commands(below, f"{words} {name}")
        return
    parameters = set()
    for one in command.params:
        if isinstance(one, TyperArgument):
            parameters.add(str(one.name).upper())
        elif isinstance(one, TyperOption):
            # What is done by default is only ever taken away: `--no-audit`.
            parameters |= set(one.secondary_opts or one.opts)
    yield words, parameters - {"--home"}


def test_every_command_is_documented_with_its_arguments_and_options() -> None:
    table = OPERATING.split("| command | what it does |")[1].split("\n\n")[0]
    documented = {}
    for usage in re.findall(r"^\| `(.+?)` \| ", table, re.MULTILINE):
        words = re.findall(r"^[a-z]+(?: [a-z][a-z-]*)*(?= |$)", usage)[0]
        options = re.findall(r"--[a-z-]+", usage)
        arguments = re.findall(r"(?: |\[)([A-Z_]+)", re.sub(r"--[a-z-]+ [A-Z]\S*", "", usage))
        documented[words] = {*options, *arguments}
    assert documented == dict(_commands(typer.main.get_command(cli)))


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_defaults_of_the_settings_are_documented(settings: type[BaseSettings]) -> None:
    """Numbers, words and switches, in the line of the setting."""
    for name, field in settings.model_fields.items():
        rows = re.findall(rf"^\| .*`STARFOLD_{name.upper()}`.*$", OPERATING, re.MULTILINE)
        default = field.default
        if isinstance(default, bool):
            default = str(default).lower()
        if isinstance(default, int | float):
            default = f"{default:.10g}"
        if isinstance(default, str) and default:
            stated = re.compile(rf"(?<![\w.]){re.escape(default)}(?!\w)")
            assert any(map(stated.search, rows)), f"no row of {name} states {default}"
