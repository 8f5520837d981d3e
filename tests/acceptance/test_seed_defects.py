"""What went wrong in an earlier service of this kind, one test a line."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from command_api.http.bodies import MovieBody, MovieChangesBody
from tests.support.api import AT_LEAST, PASSWORD, Api, User
from tests.support.system import System, eventually

CLIENTS = 256
SOMEBODY = "01900000-0000-7000-8000-000000000000"
SECRETS = [
    *("STARFOLD_SEALING_KEY", "STARFOLD_RESERVATION_SECRET"),
    *("STARFOLD_TOKEN_PRIVATE_KEY", "STARFOLD_TOKEN_PUBLIC_KEY"),
]
# What a client may make of any field, as JSON.
NASTY = [
    *(b"null", b"true", b"-1", b"1e400", b"NaN", b"-Infinity", b"9" * 400, b"9" * 5_000, b"1e300"),
    *(b'""', b'" "', rb'"\u0000"', rb'"\ud800"', rb'"\uffff"', b'"\xff"', rb'"\u202e"'),
    *(b'"' + b"x" * 20_000 + b'"', b"[]", b"{}", b"[[]]", b"[null]", rb'["\ud800"]', b'"1979"'),
    *(b'"9999-12-31T23:59:59-23:59"', b'"0001-01-01T00:00:00+23:59"', b"-62135596801"),
    *('"İ@x.org"'.encode(), b'"a@b..c"', b'"2026-01-01T00:00:00"', f'"{SOMEBODY}"'.encode()),
]
# The same in a URL.
ASKED = [
    *("", " ", "\0", "null", "-1", "0", "1e400", "NaN", "9" * 400, "9999-12-31", "0000-00-00"),
    *("%", "%00", "'; DROP TABLE events; --", "../../x", "İ", "\u202e", "\uffff", "x" * 3_000),
    # What cursors were before they were sealed: a rank that is no number, an empty key.
    "kqZuZXdlc3SSy3_4AAAAAAAAxAF4",
    "kqV0aXRsZZA",
    SOMEBODY,
    "[]",
    "{}",
    "\r\nX: y",
]
PAGED = ["cursor", "limit"]


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The problem details of a refusal; fails for anything else."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"].startswith("urn:starfold:problem:")
    assert found["status"] == answer.status_code
    return found


def commits(api: Api) -> int:
    """Batches that this process has committed so far."""
    (line,) = [
        line
        for line in api.command.get("/metrics").text.splitlines()
        if line.startswith("starfold_batch_commands_count")
    ]
    return int(float(line.split()[1]))


def backends(owner: psycopg.Connection[Any]) -> set[int]:
    """The server's processes that work for command APIs."""
    rows = owner.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'starfold_command'")
    return {row[0] for row in rows}


def rows_read(owner: psycopg.Connection[Any], schema: str) -> int:
    """By whatever way, from all tables of the write side, so far."""
    row = owner.execute(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint"
        " FROM pg_stat_user_tables WHERE schemaname = %s",
        [schema],
    ).fetchone()
    assert row is not None
    read: int = row[0]
    return read


class TestWhoMayDoWhat:
    def test_nobody_edits_or_deletes_anybody_elses_rating(self, api: Api) -> None:
        ann, ben, movie_id = api.sign_up(), api.sign_up(), api.movie()
        api.rate(ann, movie_id, 5)
        body = {"movie_id": movie_id, "score": 1, "user_id": ann.user_id}
        assert problem(api.post("/v1/ratings", body, ben.headers))["status"] == 403
        assert api.withdraw(ben, movie_id).status_code == 204
        batch = api.post("/v1/ratings/batch", {"ratings": [body]}, ben.headers).json()
        assert batch["results"][0]["status"] == "rejected"
        assert api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")["score"] == 5

    @pytest.mark.parametrize("field", ["role", "is_admin", "user_id"])
    def test_sign_up_takes_no_role(self, api: Api, field: str) -> None:
        body = {"email": f"{field}@example.org", "password": PASSWORD, "display_name": "Eve"}
        assert problem(api.post("/v1/users", body | {field: "operator"}))["status"] == 422

    def test_a_member_may_not_add_movies_or_give_roles(self, api: Api) -> None:
        ann = api.sign_up()
        movie = {"title": "Mirror", "year": 1975}
        assert problem(api.post("/v1/movies", movie, ann.headers))["status"] == 403
        role = api.command.put(
            f"/v1/users/{ann.user_id}/role", json={"role": "operator"}, headers=ann.headers
        )
        assert problem(role)["status"] == 403

    def test_nobody_lists_users_or_sees_an_address(self, api: Api) -> None:
        ann = api.sign_up("secret-address@example.org")
        assert problem(api.query.get("/v1/users"))["status"] in (404, 405)
        assert "secret-address" not in api.get(f"/v1/users/{ann.user_id}").text


class TestAccounts:
    def test_log_in_works_and_an_unknown_address_is_a_401(self, api: Api) -> None:
        ann = api.sign_up()
        right = {"email": ann.email.upper(), "password": PASSWORD}
        assert api.post("/v1/sessions", right).status_code == 201
        for wrong in (
            {"email": ann.email, "password": "not the password"},
            {"email": "nobody@example.org", "password": PASSWORD},
        ):
            assert problem(api.post("/v1/sessions", wrong))["status"] == 401

    @pytest.mark.parametrize("password", ["", "short", "x" * 1_025, "nul\0" * 4])
    def test_a_bad_password_is_refused(self, api: Api, password: str) -> None:
        body = {"email": "pass@example.org", "password": password, "display_name": "Eve"}
        assert problem(api.post("/v1/users", body))["status"] == 422

    def test_a_password_over_72_bytes_works_to_its_last_byte(self, api: Api) -> None:
        long = "ü" * 100
        body = {"email": "long@example.org", "password": long, "display_name": "Lou"}
        assert api.post("/v1/users", body).status_code == 201
        for password, status in ((long, 201), (long[:-1] + "u", 401)):
            session = {"email": "long@example.org", "password": password}
            assert api.post("/v1/sessions", session).status_code == status

    def test_an_address_taken_in_another_case_is_a_409(self, api: Api) -> None:
        body = {"email": "Ann@x.org", "password": PASSWORD, "display_name": "Ann"}
        assert api.post("/v1/users", body).status_code == 201
        again = api.post("/v1/users", body | {"email": "ann@X.ORG"})
        assert problem(again)["status"] == 409

    def test_no_secret_has_a_default(self) -> None:
        """Nothing starts without secrets of full length, and it says which are missing."""
        for value in (None, "changeme", "c2hvcnQ="):
            settings = {} if value is None else dict.fromkeys(SECRETS, value)
            refused = subprocess.run(
                [sys.executable, "-m", "command_api"],
                env={"STARFOLD_DATABASE_URL": "host=/nonexistent", **settings},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert refused.returncode == 1
            (line,) = refused.stderr.splitlines()
            assert all(name in line for name in SECRETS)
            assert value is None or value not in line


class TestBadInput:
    @pytest.mark.parametrize("sort", ["title; DROP TABLE events", "-title", "", "popularity"])
    def test_an_unknown_order_is_refused(self, api: Api, sort: str) -> None:
        assert problem(api.get("/v1/movies", sort=sort))["status"] == 422

    @pytest.mark.parametrize("limit", ["0", "-1", "101", "many", "1e3"])
    def test_a_limit_out_of_range_is_refused(self, api: Api, limit: str) -> None:
        assert problem(api.get("/v1/movies", limit=limit))["status"] == 422

    @pytest.mark.parametrize("cursor", ["x", "gA", "////", "a" * 5_000, "\0", "kqV0aXRsZZA"])
    def test_a_forged_cursor_is_refused(self, api: Api, cursor: str) -> None:
        assert problem(api.get("/v1/movies", cursor=cursor, sort="title"))["status"] == 422

    def test_what_does_not_exist_is_a_404(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        for path in (
            *(f"/v1/movies/{SOMEBODY}", f"/v1/users/{SOMEBODY}", f"/v1/movies/{SOMEBODY}/ratings"),
            *(f"/v1/users/{ann.user_id}/ratings/{movie_id}", "/v1/nothing"),
        ):
            assert problem(api.get(path))["status"] == 404
        assert problem(api.rate(ann, SOMEBODY, 3))["status"] == 404
        assert problem(api.get("/v1/movies/17"))["status"] == 422

    @pytest.mark.parametrize("score", [3.3, 0, 5.5, -1, "5", None, True, 1e300, [5], {}])
    def test_a_score_is_half_a_star_to_five(self, api: Api, score: Any) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        answer = problem(api.rate(ann, movie_id, score))
        assert answer["status"] == 422
        assert answer["errors"][0]["pointer"] == "/score"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("title", value) for value in ("", " ", "x" * 301, "a\0b", 7, None)),
            *(("year", value) for value in (1887, 2100, "1979", 1979.5, None, 10**30)),
            *(("runtime_min", value) for value in (0, -5, 10**9, "90")),
            *(("genres", value) for value in ("Drama", [""], ["x" * 101], ["x"] * 101)),
            *(("description", value) for value in ("x" * 5_001, "a\0b")),
            *(("poster_url", value) for value in ("javascript:alert(1)", "x")),
            *(("imdb_id", value) for value in ("111", "tt", "tt1 OR 1=1")),
            ("colour", "red"),
        ],
    )
    def test_a_movie_out_of_its_limits_is_refused(self, api: Api, field: str, value: Any) -> None:
        body = {"title": "Mirror", "year": 1975} | {field: value}
        answer = problem(api.post("/v1/movies", body, api.service))
        assert answer["status"] == 422
        assert answer["errors"][0]["pointer"].startswith(f"/{field}")

    @pytest.mark.parametrize("review", ["x" * 10_001, "nul\0byte", 5])
    def test_a_review_has_limits(self, api: Api, review: Any) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        assert problem(api.rate(ann, movie_id, 3, review=review))["status"] == 422

    def test_a_title_of_300_characters_and_a_review_of_10_000_are_kept(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie("ö" * 300)
        assert api.rate(ann, movie_id, 3, review="ü" * 10_000).status_code == 201
        rating = api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")
        assert (rating["title"], rating["review"]) == ("ö" * 300, "ü" * 10_000)

    def test_a_rating_from_the_future_is_refused(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        answer = problem(api.rate(ann, movie_id, 3, rated_at="2999-01-01T00:00:00Z"))
        assert (answer["status"], answer["errors"][0]["pointer"]) == (422, "/rated_at")

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"score": 5', b"[" * 100_000]
    )
    def test_malformed_json_is_refused(self, api: Api, body: bytes) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        headers = {"content-type": "application/json"} | ann.headers
        answer = api.command.put(f"/v1/movies/{movie_id}/rating", content=body, headers=headers)
        assert problem(answer)["status"] in (400, 422)

    def test_a_huge_body_is_a_413(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        answer = api.rate(ann, movie_id, 3, review="x" * 10_000_000)
        assert problem(answer)["status"] == 413

    @pytest.mark.parametrize(
        "credential", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "sfk_1", "Bearer sfk_zz"]
    )
    def test_a_forged_credential_is_a_401(self, api: Api, credential: str) -> None:
        movie_id = api.movie()
        headers = {"Authorization": credential}
        for answer in (
            api.command.put(f"/v1/movies/{movie_id}/rating", json={"score": 5}, headers=headers),
            api.query.get("/v1/users/me", headers=headers),
        ):
            assert problem(answer)["status"] == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_a_token_whose_signature_was_changed_is_a_401(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        head, payload, signature = ann.token.split(".")
        forged = User(ann.user_id, ann.email, f"{head}.{payload}.{signature[::-1]}")
        assert problem(api.rate(forged, movie_id, 5))["status"] == 401

    @pytest.mark.parametrize(
        ("method", "path", "fields"),
        [
            ("POST", "/v1/users", ["email", "password", "display_name", "external_id"]),
            ("POST", "/v1/users/batch", ["users", "external_id", "display_name"]),
            ("PATCH", "/v1/users/me", ["display_name", "visibility"]),
            ("PUT", "/v1/users/me/password", ["old", "new"]),
            ("PUT", f"/v1/users/{SOMEBODY}/role", ["role"]),
            ("POST", "/v1/sessions", ["email", "password", "api_key"]),
            ("POST", "/v1/sessions/refresh", ["refresh_token"]),
            ("POST", "/v1/movies", sorted(MovieBody.model_fields)),
            ("POST", "/v1/movies/batch", ["movies", "title", "year", "imdb_id", "external_id"]),
            ("PATCH", "/v1/movies/{movie_id}", sorted(MovieChangesBody.model_fields)),
            ("PUT", "/v1/movies/{movie_id}/rating", ["score", "review", "rated_at"]),
            ("POST", "/v1/ratings", ["movie_id", "user_id", "score", "review", "rated_at"]),
            ("POST", "/v1/ratings/batch", ["ratings", "movie_id", "user_id", "score", "rated_at"]),
        ],
    )
    def test_nothing_that_a_client_sends_is_a_server_error(
        self, api: Api, method: str, path: str, fields: list[str]
    ) -> None:
        """Each field in turn, by itself and beside others that are right, also in a row of a
        batch.
        """
        ann, movie_id = api.sign_up(), api.movie()
        path = path.format(movie_id=movie_id)
        right = {"title": "M", "year": 1931, "score": 3, "movie_id": movie_id}
        others = {name: right[name] for name in fields if name in right}
        for field, value in itertools.product(fields, NASTY):
            beside = json.dumps({n: v for n, v in others.items() if n != field})[1:-1].encode()
            named = f'"{field}":'.encode()
            row = b"{%s%s%s}" % (beside and beside + b",", named, value)
            for body in (
                *(value, row, b"{%s%s}" % (named, value), b"{%s[%s]}" % (named, value)),
                b'{"%s":[%s]}' % (fields[0].encode(), row),
            ):
                for headers in (ann.headers, api.service):
                    answer = api.command.request(
                        *(method, path),
                        content=body,
                        headers=headers | {"Content-Type": "application/json", "If-Match": '"1"'},
                    )
                    assert answer.status_code < 500, (body[:200], answer.text)

    @pytest.mark.parametrize(
        ("path", "parameters"),
        [
            ("/v1/movies", ["sort", "genre", "director", "year_min", "year_max", "q", *PAGED]),
            ("/v1/movies/{movie_id}", []),
            ("/v1/movies/{movie_id}/ratings", ["sort", *PAGED]),
            ("/v1/movies/{movie_id}/stats", ["as_of"]),
            ("/v1/movies/{movie_id}/history", PAGED),
            ("/v1/users/{user_id}", []),
            ("/v1/users/{user_id}/ratings", ["sort", *PAGED]),
            ("/v1/users/{user_id}/ratings/{movie_id}", []),
        ],
    )
    def test_nothing_that_a_reader_asks_is_a_server_error(
        self, api: Api, path: str, parameters: list[str]
    ) -> None:
        """Neither in a parameter nor in the path nor in a header."""
        ids = {"movie_id": api.movie(), "user_id": api.sign_up().user_id}
        right = path.format_map(ids)
        for value in ASKED:
            for name in [*parameters, "offset", value[:50]]:
                answer = api.query.get(right, params={name: value})
                assert answer.status_code < 500, (name, value[:50], answer.text)
            for name in ids:
                wrong = path.format_map(ids | {name: quote(value[:200], safe="")})
                assert api.query.get(wrong).status_code < 500, wrong
            for header in (AT_LEAST, "If-None-Match", "Accept-Encoding", "X-Request-ID"):
                encoded = value.strip().encode()
                sent = {header.encode(): encoded} if value.isprintable() else {}
                assert api.query.get(right, headers=sent).status_code < 500

    def test_nothing_refused_was_written(self, api: Api) -> None:
        before = api.command.get("/ready").json()["position"]
        api.post("/v1/users", {"email": "x"})
        api.post("/v1/movies", {"title": ""}, api.service)
        api.post("/v1/ratings/batch", {"ratings": [{}, 7, None, {"score": 9}]}, api.service)
        assert api.command.get("/ready").json()["position"] == before


class TestLists:
    def test_pages_hold_every_movie_once_and_the_last_says_so(self, api: Api) -> None:
        made = {api.movie(f"Paged {n}", 1990, genres=["Paged"]) for n in range(25)}
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = api.read("/v1/movies", genre="Paged", limit=10, sort="title", **cursor)
            seen += [movie["movie_id"] for movie in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert len(seen) == 25
        assert set(seen) == made

    def test_all_filters_hold_together(self, api: Api) -> None:
        fields = {"genres": ["Heist"], "directors": ["Jane Doe"]}
        wanted = api.movie("The Filtered Job", 1999, **fields)
        api.movie("The Filtered Job", 1989, **fields)
        api.movie("The Filtered Job", 1999, genres=["Heist"])
        api.movie("The Filtered Job", 1999, directors=["Jane Doe"])
        api.movie("Another One", 1999, **fields)
        found = api.read(
            "/v1/movies", q="filt job", genre="heist", director="JANE DOE", year_min=1995,
            year_max=2000,
        )  # fmt: skip
        assert [movie["movie_id"] for movie in found["items"]] == [wanted]

    def test_a_percent_sign_is_no_wildcard(self, api: Api) -> None:
        api.movie("One Hundred Per Cent", 2001)
        assert api.read("/v1/movies", q="%")["items"] == []
        assert api.read("/v1/movies", q="hun%red")["items"] == []

    @pytest.mark.parametrize("name", ["sort_by", "offset", "Genre", "page", "", "as_of"])
    def test_a_parameter_that_would_be_ignored_is_refused(self, api: Api, name: str) -> None:
        user_id = api.sign_up().user_id
        for path in ("/v1/movies", f"/v1/movies/{api.movie()}", f"/v1/users/{user_id}/ratings"):
            assert problem(api.query.get(path, params={name: "title"}))["status"] == 422

    def test_every_order_is_obeyed(self, api: Api) -> None:
        ann = api.sign_up()
        low, high = api.movie("Sorted A", 1970), api.movie("Sorted B", 1980)
        api.rate(ann, low, 1)
        api.rate(ann, high, 5)
        for sort, first in (
            *(("weighted", high), ("average", high), ("newest", high), ("title", low)),
            ("count", low),
        ):
            items = api.read("/v1/movies", q="sorted", sort=sort)["items"]
            assert items[0]["movie_id"] == first, sort


class TestStatistics:
    def test_a_profile_covers_every_rating(self, api: Api) -> None:
        ann = api.sign_up()
        scores = [n % 10 / 2 + 0.5 for n in range(45)]
        rows = [
            {"movie_id": api.movie(f"Many {n}", 1960), "score": score}
            for n, score in enumerate(scores)
        ]
        api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers))
        ratings = api.read(f"/v1/users/{ann.user_id}")["ratings"]
        assert ratings["count"] == 45
        assert ratings["average"] == round(statistics.mean(scores), 4)

    def test_the_weighted_average_is_shown(self, api: Api) -> None:
        movie_id = api.movie()
        api.rate(api.sign_up(), movie_id, 5)
        ratings = api.read(f"/v1/movies/{movie_id}")["ratings"]
        assert ratings["weighted_average"] == round((5 + 25 * 3.5) / 26, 4)

    def test_an_average_is_not_rounded_in_storage(self, api: Api) -> None:
        movie_id = api.movie()
        for score in (3, 4, 3.5, 3.5):
            api.rate(api.sign_up(), movie_id, score)
        assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 3.5

    def test_a_read_after_a_write_shows_it_in_every_list_and_profile(self, api: Api) -> None:
        """No cache can be stale: a read waits for the position that its client has written."""
        ann, movie_id = api.sign_up(), api.movie("Fresh", 2011)
        for score in (0.5, 5, 2.5):
            api.rate(ann, movie_id, score)
            assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == score
            assert api.read("/v1/movies", q="fresh")["items"][0]["ratings"]["average"] == score
            assert api.read(f"/v1/users/{ann.user_id}")["ratings"]["average"] == score


class TestConcurrency:
    def test_concurrent_ratings_lose_no_update_and_count_a_user_once(self, api: Api) -> None:
        users, movie_id = [api.sign_up() for _ in range(8)], api.movie()

        def rate_often(user: User) -> None:
            for n in range(10):
                assert api.rate(user, movie_id, n / 2 + 0.5).status_code in (200, 201)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(rate_often, users * 2))
        ratings = api.read(f"/v1/movies/{movie_id}")["ratings"]
        assert ratings["count"] == len(users)
        assert sum(ratings["histogram"]) == len(users)

    def test_a_retry_rates_once(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        first, second = api.rate(ann, movie_id, 4), api.rate(ann, movie_id, 4)
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json()["status"] == "unchanged"
        assert second.headers["Starfold-Position"] == first.headers["Starfold-Position"]
        assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 1

    def test_one_bad_row_spoils_no_other(self, api: Api) -> None:
        ann, movie_id = api.sign_up(), api.movie()
        rows = [
            {"movie_id": movie_id, "score": 4},
            {"movie_id": movie_id, "score": 3.3},
            {"movie_id": SOMEBODY, "score": 3},
            {"score": 3},
            "nonsense",
            {"movie_id": movie_id, "score": 4.5},
        ]
        answer = api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers)
        results = api.expect(200, answer)["results"]
        assert [result["index"] for result in results] == list(range(6))
        assert [result["status"] for result in results] == [
            *("created", "rejected", "rejected", "rejected", "rejected", "changed")
        ]
        assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 4.5

    def test_256_clients_at_once_see_no_server_error(self, api: Api) -> None:
        movie_id = api.movie()
        ann = api.sign_up()

        async def ask() -> list[int]:
            limits = httpx.Limits(max_connections=CLIENTS)
            async with httpx.AsyncClient(limits=limits, timeout=30) as client:
                read = f"{api.query.base_url}/v1/movies/{movie_id}".replace("//v1", "/v1")
                write = f"{api.command.base_url}/v1/movies/{movie_id}/rating".replace("//v1", "/v1")
                asked = [client.get(read) for _ in range(CLIENTS)] + [
                    client.put(write, json={"score": n % 10 / 2 + 0.5}, headers=ann.headers)
                    for n in range(CLIENTS)
                ]
                return [answer.status_code for answer in await asyncio.gather(*asked)]

        assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 0
        assert set(asyncio.run(ask())) <= {200, 201}

    def test_a_bulk_import_shares_its_commits(self, api: Api) -> None:
        """800 rows, which took 45 seconds elsewhere, one by one."""
        ann, movie_id = api.sign_up(), api.movie()
        rows = [{"movie_id": movie_id, "score": n % 10 / 2 + 0.5} for n in range(800)]
        before = commits(api)
        results = api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers).json()["results"]
        assert {result["status"] for result in results} == {"created", "changed"}
        assert commits(api) - before <= 8


class TestCost:
    def test_connections_to_the_database_are_kept(self, system: System) -> None:
        command = system.start_command_api()
        with Api(command.url, command.url, system.service_key()) as api, system.owner() as owner:
            ann, movie_id = api.sign_up(), api.movie()
            api.rate(ann, movie_id, 1)
            before = backends(owner)
            for n in range(50):
                api.rate(ann, movie_id, n % 10 / 2 + 0.5)
            assert backends(owner) == before

    def test_a_write_reads_no_more_of_a_long_log_than_of_a_short_one(self, system: System) -> None:
        """And never a whole table, to make an average of it or for anything else."""
        key = system.service_key()

        def read_by_some_ratings() -> int:
            """Rows; the server knows of them once the connections that read them are gone."""
            with system.owner() as owner:
                others, before = backends(owner), rows_read(owner, system.schema)
                command = system.start_command_api()
                with Api(command.url, command.url, key) as api:
                    ann, movies = api.sign_up(), [api.movie() for _ in range(20)]
                    for movie_id, score in itertools.product(movies, (1, 5)):
                        api.rate(ann, movie_id, score)
                command.stop()
                eventually(lambda: backends(owner) <= others)
                return rows_read(owner, system.schema) - before

        short = read_by_some_ratings()
        command = system.start_command_api()
        with Api(command.url, command.url, key) as api:
            ann, movies = api.sign_up(), [api.movie() for _ in range(100)]
            for turn in range(100):
                rows = [{"movie_id": one, "score": turn % 10 / 2 + 0.5} for one in movies]
                api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers))
        command.stop()
        assert read_by_some_ratings() <= 1.05 * short


class TestOperations:
    def test_ready_and_health_tell_the_truth(self, api: Api) -> None:
        for client in (api.command, api.query):
            assert client.get("/health").status_code == 200
            assert client.get("/ready").status_code == 200

    def test_docs_load_nothing_from_elsewhere(self, api: Api) -> None:
        for client in (api.command, api.query):
            page = client.get("/docs")
            assert page.status_code == 200
            assert "//cdn" not in page.text
            for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
                assert asset in page.text
            assert client.get("/openapi.json").json()["openapi"].startswith("3.1")

    def test_metrics_are_counted(self, api: Api) -> None:
        for client in (api.command, api.query):
            assert "starfold_" in client.get("/metrics").text
