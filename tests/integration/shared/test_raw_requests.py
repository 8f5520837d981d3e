"""Whatever a client writes into a target or a header, the answer is well-formed and no 500."""

from __future__ import annotations

from urllib.parse import quote_from_bytes
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import Api, User
from tests.support.web.raw_requests import RawAnswer, ask

MOVIE = UUID("01900000-0000-7000-8000-000000000001")
PROFILE = settings(
    derandomize=True,
    database=None,
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What parsers of numbers, days, ids and texts stumble over.
NASTY = [
    b"",
    b" ",
    b"\n",
    b"\r\n",
    b"\0",
    b"\t1",
    b"1\n",
    b"\x0b",
    b"\x85",
    b"\xff",
    b"\xc2\xa0",
    b"9" * 4_301,
    b"9" * 19,
    b"-1",
    b"+1",
    b"1_0",
    b" 10",
    b"10.0",
    b"1e3",
    b"0x10",
    b"0" * 30,
    "\uff11\uff10".encode(),
    "²".encode(),
    "٣".encode(),
    b"NaN",
    b"inf",
    b"-inf",
    b"1e400",
    b"null",
    b"0",
    b"20240131",
    b"2024-01-31T00:00:00",
    b"0000-00-00",
    b"9999-12-31",
    b"2024-1-1",
    b"1.5",
    b"true",
    b"{}",
    b"[]",
    b"%",
    b"%00",
    b"%zz",
    b"../..",
    b"x" * 3_000,
    "\u202e\ud7ff".encode(),
    str(MOVIE).encode(),
    MOVIE.hex.encode(),
    b"urn:uuid:" + str(MOVIE).encode(),
    b"*",
    b'W/"x"',
]
VALUES = st.sampled_from(NASTY) | st.binary(max_size=12)
QUERY_PATHS = [
    "/v1/movies",
    "/v1/movies/{}",
    "/v1/movies/{}/ratings",
    "/v1/movies/{}/stats",
    "/v1/movies/{}/history",
    "/v1/users/{}",
    "/v1/users/me",
    "/v1/users/{}/ratings",
    "/v1/users/{}/ratings/{}",
    "/v1/projections",
    "/ready",
    "/nothing/{}",
]
QUERY_NAMES = [
    "limit",
    "cursor",
    "sort",
    "q",
    "genre",
    "director",
    "year_min",
    "year_max",
    "as_of",
    "after",
    "movies",
    "unknown",
]
COMMAND_PATHS = [
    "/v1/movies/{}/rating",
    "/v1/movies/{}",
    "/v1/movies",
    "/v1/users/{}",
    "/v1/users/me",
    "/v1/ratings",
    "/v1/ratings/batch",
    "/v1/sessions",
    "/v1/sessions/current",
    "/v1/users",
    "/v1/users/{}/role",
    "/v1/sessions/refresh",
    "/nothing/{}",
]
HEADERS = [
    b"starfold-at-least",
    b"if-none-match",
    b"if-match",
    b"idempotency-key",
    b"x-request-id",
    b"authorization",
    b"accept-encoding",
    b"accept",
    b"content-type",
    b"last-event-id",
    b"range",
]


@pytest.fixture(scope="module")
def member(api: Api) -> User:
    return api.sign_up()


def encoded(value: bytes, *, twice: bool) -> str:
    """Percent-encoded, or as it is where a target may hold it."""
    once = quote_from_bytes(value, safe="")
    return once if twice or not value.isalnum() else value.decode("latin-1")


def in_header(value: bytes) -> bytes:
    """Without what ends a field: that is no header of ours then."""
    return value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").strip()


@st.composite
def targets(draw: st.DrawFn, paths: list[str], names: list[str]) -> str:
    path = draw(st.sampled_from(paths))
    while "{}" in path:
        part = draw(st.just(str(MOVIE).encode()) | VALUES)
        path = path.replace("{}", encoded(part, twice=draw(st.booleans())), 1)
    path += draw(
        st.sampled_from(["", "", "", "%0a", "%00", "/", "%20", "%0d%0aX:%20y", "%e2%80%a8"])
    )
    given_names = draw(st.lists(st.sampled_from(names), max_size=3)) if names else []
    query = "&".join(f"{name}={encoded(draw(VALUES), twice=True)}" for name in given_names)
    return f"{path}?{query}" if query else path


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    chosen = draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    return b"".join(b"%b: %b\r\n" % (name, in_header(draw(VALUES))) for name in chosen)


def require_sound(answer: RawAnswer) -> None:
    assert answer.status < 500 or answer.status == 503, (answer.status, answer.body)
    for value in answer.headers.values():
        assert value.isprintable(), value
    if answer.status >= 400:
        assert answer.headers["content-type"] in (
            "application/problem+json",
            "text/plain; charset=utf-8",
        )


@PROFILE
@given(target=targets(QUERY_PATHS, QUERY_NAMES), more=fields())
def test_no_read_makes_a_fault_of_ours(api: Api, target: str, more: bytes) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target.encode("latin-1"), more)
    require_sound(ask(str(api.query.base_url), request))


@PROFILE
@given(
    target=targets(COMMAND_PATHS, []),
    more=fields(),
    method=st.sampled_from([b"PUT", b"POST", b"PATCH", b"DELETE", b"GET"]),
    body=st.sampled_from(
        [b'{"score": 4}', b"{", b"", b'{"score": 1e999}', b'{"score":' + b"9" * 5_000 + b"}"]
    ),
)
def test_no_command_makes_a_fault_of_ours(
    api: Api, member: User, target: str, more: bytes, method: bytes, body: bytes
) -> None:
    known = (
        b"authorization: Bearer %b\r\ncontent-type: application/json\r\n" % member.token.encode()
    )
    head = b"%b %b HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n" % (
        method,
        target.encode("latin-1"),
        len(body),
    )
    fields_of_ours = b"" if b"authorization" in more or b"content-type" in more else known
    require_sound(ask(str(api.command.base_url), head + fields_of_ours + more + b"\r\n" + body))


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        *(
            ("/v1/movies", "limit", value)
            for value in ("1_0", "\uff11\uff10", "10.0", "+5", " 5", "9" * 400)
        ),
        *(("/v1/movies", "year_min", value) for value in ("1_979", "1979.0", "inf", "²")),
        *(("/v1/movies", name, "a\x1fb") for name in ("q", "genre", "director")),
        *(("/v1/movies", name, "a\nb") for name in ("q", "genre", "director", "limit", "sort")),
        *(
            (f"/v1/movies/{MOVIE}/stats", "as_of", v)
            for v in ("0", "20240131", "1e3", "2024-01-31\n")
        ),
        *(("/v1/stream", "after", value) for value in ("1_0", "-1", "9" * 30, "٣")),
        ("/v1/stream", "movies", "0" * 15 + "_" + "0" * 16),
        ("/v1/stream", "movies", "{" + str(MOVIE) + "}"),
    ],
)
def test_a_parameter_is_what_the_contract_says_and_nothing_else(
    api: Api, path: str, name: str, value: str
) -> None:
    answer = api.query.get(path, params={name: value})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == f"/query/{name}"


@pytest.mark.parametrize(
    "wanted",
    ["9" * 4_301, "9" * 20, "9223372036854775808", "1_0", "-1", "+1", "0x1", "1.0", "1e3", ""],
)
@pytest.mark.parametrize("path", ["/v1/movies", f"/v1/movies/{MOVIE}", "/v1/users/me"])
def test_a_position_is_bounded_before_it_is_read(api: Api, path: str, wanted: str) -> None:
    answer = api.query.get(path, headers={"Starfold-At-Least": wanted})
    assert answer.status_code in (401, 422), answer.text


@pytest.mark.parametrize("event_id", ["9" * 4_301, "9" * 20, "1_0", "-1", "x"])
def test_an_event_id_is_bounded_before_it_is_read(api: Api, event_id: str) -> None:
    answer = api.query.get("/v1/stream", headers={"Last-Event-ID": event_id})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("end", ["%0a", "%0d%0a", "%00", "%09", "%7f", "%c2%85", "%e2%80%a8"])
def test_a_path_with_a_control_character_is_no_path(api: Api, member: User, end: str) -> None:
    for path in ("/v1/movies", f"/v1/movies/{MOVIE}", f"/v1/users/{member.user_id}", "/health"):
        request = f"GET {path}{end} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        answer = ask(str(api.query.base_url), request)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.headers["x-request-id"]
    movie_id = api.movie()
    put = (
        f"PUT /v1/movies/{movie_id}/rating{end} HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\n"
        f"content-type: application/json\r\nauthorization: Bearer {member.token}\r\n\r\n"
        '{"score": 4}'
    )
    assert ask(str(api.command.base_url), put.encode()).status == 404
    assert api.get(f"/v1/movies/{movie_id}").json()["ratings"]["count"] == 0
