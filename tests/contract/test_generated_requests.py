"""Requests that schemathesis generates from the documents, as every kind of caller.

The APIs accept what is documented, refuse all else, and send documented answers only. The requests
are few and always the same; raise `EXAMPLES_MAX` to look for more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from command_api.identity.refusal_pace import RefusalPace
from console.acts import executor
from shared.ids import POSITION_MAX
from tests.conftest import wait_ready
from tests.contract.test_openapi import resolved
from tests.support.api import AT_LEAST, Api
from tests.support.servers import Servers
from tests.support.system import ALL_SCOPES, System

EXAMPLES_MAX = 2
CALLERS = ["anonymous", "member", "curator", "operator", "service"]
LONG_AGO = "2026-01-01T00:00:00Z"
BULK = ["/v1/users/batch", "/v1/movies/batch", "/v1/ratings/batch"]
ENDING = {("DELETE", "/v1/users/me"), ("DELETE", "/v1/sessions/current")}
# Their bodies take long to generate; a service and a curator send them nevertheless.
LARGE = ["/v1/movies", "/v1/movies/batch", "/v1/ratings/batch"]
# Headers that every answer may have, and of which no document speaks.
OF_HTTP = {
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "referrer-policy",
    "server",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
}
CONFIG: dict[str, Any] = {
    "seed": 1,
    "request-timeout": 20,
    "max-stream-events": 1,
    "generation": {
        "max-examples": EXAMPLES_MAX,
        "deterministic": True,
        "no-shrink": True,
        "database": "none",
    },
    "checks": {
        # 304 and 412 are answers to conditions, which are generated too; 301 and 410 to a movie
        # that another caller has merged or withdrawn.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "301", "304", "401", "403", "404", "409", "410", "412"]
        },
        "missing_required_header": {"expected-statuses": ["401", "403", "422", "428"]},
    },
    # A batch is accepted, whatever is wrong with one of its rows.
    "operations": [
        {
            "include-path": path,
            "checks": {"negative_data_rejection": {"expected-statuses": ["2xx", "4xx"]}},
        }
        for path in BULK
    ],
}


class Callers(NamedTuple):
    """`urls` has the URL of each of the three APIs, by the side that it serves."""

    api: Api
    tokens: dict[str, str]
    urls: dict[str, str]


@pytest.fixture(scope="module")
def callers(servers: Servers) -> Iterator[Callers]:
    system = System(servers)
    pace = pytest.MonkeyPatch()
    pace.setattr(RefusalPace, "delay_s", lambda _pace, _address: 0.0)  # It has tests of its own.
    # A request soon after two long acts is refused, rightly, and that is tested elsewhere too.
    pace.setattr(executor, "LONG_MAX", 100)
    limits = ("rate_limit_member", "rate_limit_service", "rate_limit_anonymous")
    failures = ("log_in_failures_per_account", "log_in_failures_per_address")
    changes = dict.fromkeys(limits, 0) | dict.fromkeys(failures, 1_000_000)
    command = system.start_command_api(**changes)
    query = system.start_query_api(read_limit_address=0, read_limit_caller=0)
    operators = system.start_console(command_url=command.url, **changes)
    system.start_projector()
    urls = {"command": command.url, "query": query.url, "operators": operators.url}
    with Api(command.url, query.url, system.service_key(ALL_SCOPES)) as api:
        wait_ready(api)
        member, movie_id = api.sign_up(), api.movie("Heat")
        api.rate(member, movie_id, 4.5, review="The diner scene.")
        tokens = {role: api.sign_up(role=role).token for role in ("curator", "operator")}
        tokens |= {"member": member.token, "service": api.service["Authorization"].split()[1]}
        api.read("/v1/movies")
        yield Callers(api, tokens, urls)
    system.close()
    pace.undo()


@pytest.fixture
def real_values(callers: Callers) -> Iterator[None]:
    """What no schema can say: values that are of this moment, or that the API itself gave."""

    @schemathesis.hook("before_call")
    def before_call(_context: Any, case: Any, _arguments: dict[str, Any]) -> None:
        headers, query = case.headers, case.query or {}
        position = str(headers.get(AT_LEAST, ""))
        if position.isdigit() and int(position) <= POSITION_MAX:
            headers.pop(AT_LEAST)  # One that is not there yet would be waited for.
        if not (case.meta and case.meta.generation.mode.is_positive):
            return
        if "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = str(uuid4())
        if "If-Match" in headers:
            headers["If-Match"] = "*"
        query.pop("cursor", None)
        if "as_of" in query:
            query["as_of"] = LONG_AGO[:10]
        if query.get("sort") == "match":
            query["q"] = "heat"
        if "rated_in_days" in query:
            query.pop("sort", None)
        # These two take no order and no filter beside them.
        for name in ("ids", "changed_since"):
            if len(query) > 1:
                query.pop(name, None)
        if "ids" in query:
            query["ids"] = str(uuid4())
        if case.path == "/v1/stream":
            headers.pop("Last-Event-ID", None)
            case.query = {"after": 0}  # So that an event comes at once.
        for row in (case.body, *_rows(case.body)):
            if isinstance(row, dict):
                real: dict[str, Any] = {"rated_at": LONG_AGO, "new": str(uuid4())}
                real["password"] = real["new"]
                row |= {name: value for name, value in real.items() if name in row}
        own = headers.get("Authorization", "").removeprefix("Bearer ")
        if (case.method, case.path) in ENDING and own in callers.tokens.values():
            headers["Authorization"] = callers.api.sign_up().headers["Authorization"]

    schemathesis.check(every_header_is_documented)
    yield
    schemathesis.hooks.unregister_all()
    CHECKS.unregister(every_header_is_documented.__name__)


def every_header_is_documented(_context: Any, response: Any, case: Any) -> None:
    document = case.operation.schema.raw_schema
    methods = document["paths"][case.operation.path]
    answer = methods[case.operation.method]["responses"].get(str(response.status_code))
    # A method that the path lacks is sent too.
    if answer is not None and response.request.method.lower() in methods:
        documented = {name.lower() for name in resolved(document, answer).get("headers", {})}
        assert set(response.headers) <= documented | OF_HTTP, sorted(response.headers)


def _rows(body: object) -> list[Any]:
    rows = body.get("ratings", []) if isinstance(body, dict) else []
    return rows if isinstance(rows, list) else []


def failures_of(
    callers: Callers, side: str, caller: str, phases: set[str], without: Sequence[str] = ()
) -> tuple[list[str], int]:
    """What the checks find, by operation, and how many requests were made."""
    config = CONFIG | {
        "phases": {
            phase: {"enabled": phase in phases}
            for phase in ("examples", "coverage", "fuzzing", "stateful")
        }
    }
    for path in without:
        config["operations"] = [*config["operations"], {"include-path": path, "enabled": False}]
    if caller in callers.tokens:
        config["headers"] = {"Authorization": f"Bearer {callers.tokens[caller]}"}
    schema = schemathesis.openapi.from_url(
        f"{callers.urls[side]}/openapi.json", config=SchemathesisConfig.from_dict(config)
    )
    found: list[str] = []
    requests = 0
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            requests += len(event.recorder.cases)
            found += [
                f"{event.recorder.label}: {check.failure_info.failure}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.failure_info is not None
            ]
    return found, requests


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.usefixtures("real_values")
@pytest.mark.parametrize(
    ("side", "caller"),
    [
        *product(["command", "query"], CALLERS),
        ("operators", "member"),
        ("operators", "operator"),
    ],
)
def test_what_is_documented_is_so_for_every_caller(
    callers: Callers, side: str, caller: str
) -> None:
    without = [] if side != "command" or caller in ("curator", "service") else LARGE
    found, requests = failures_of(callers, side, caller, {"examples", "fuzzing"}, without)
    assert found == []
    assert requests > 10


# The services' own threads draw jitter from `random` while a value is drawn.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.usefixtures("real_values")
@pytest.mark.parametrize("side", ["command", "query", "operators"])
def test_every_bound_of_a_value_is_as_documented(callers: Callers, side: str) -> None:
    """Also methods that a path lacks, and headers that are needed."""
    caller = "anonymous" if side == "query" else "service"
    found, requests = failures_of(
        callers, side, caller, {"coverage"}, LARGE if side == "command" else []
    )
    assert found == []
    assert requests > 200
