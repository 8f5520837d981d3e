"""Idempotency-Key: the same request again gets the first answer, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.api import PASSWORD, POSITION, Api, User
from tests.support.system import System

SCORES = [n / 2 for n in range(1, 11)]


@pytest.fixture(scope="module")
def two(servers: Any) -> Iterator[tuple[System, Api, Api]]:
    """Two processes' worth of command APIs on one log."""
    shared = System(servers)
    key = shared.service_key()
    urls = [shared.start_command_api().url for _ in range(2)]
    with Api(urls[0], urls[0], key) as one, Api(urls[1], urls[1], key) as other:
        yield shared, one, other
    shared.close()


@pytest.fixture
def writer(two: tuple[System, Api, Api]) -> Api:
    return two[1]


def rate(api: Api, user: User, movie_id: str, score: float, key: str, **more: Any) -> Any:
    return api.command.put(
        f"/v1/movies/{movie_id}/rating",
        json={"score": score, **more},
        headers=user.headers | {"Idempotency-Key": key},
    )


def the_same(first: httpx.Response, again: httpx.Response) -> bool:
    return (first.status_code, first.content, first.headers.get(POSITION)) == (
        again.status_code,
        again.content,
        again.headers.get(POSITION),
    )


def head(api: Api) -> int:
    position: int = api.command.get("/ready").json()["position"]
    return position


class TestRoutes:
    def test_a_retry_gets_the_first_answer_and_changes_nothing(self, writer: Api) -> None:
        """Also when another opinion came in between, which a repeat must not undo."""
        ann, movie_id, key = writer.sign_up(), writer.movie(), str(uuid4())
        first = rate(writer, ann, movie_id, 4, key)
        assert first.status_code == 201
        writer.rate(ann, movie_id, 2)
        before = head(writer)
        assert the_same(first, rate(writer, ann, movie_id, 4, key))
        assert head(writer) == before

    def test_a_request_that_changed_nothing_is_kept_too(self, writer: Api) -> None:
        ann, movie_id, key = writer.sign_up(), writer.movie(), str(uuid4())
        stood = writer.rate(ann, movie_id, 4)
        first = rate(writer, ann, movie_id, 4, key)
        assert first.json() == {"status": "unchanged"}
        assert first.headers[POSITION] == stood.headers[POSITION]
        writer.rate(ann, movie_id, 1)
        before = head(writer)
        assert the_same(first, rate(writer, ann, movie_id, 4, key))
        assert head(writer) == before

    def test_another_process_knows_it(self, two: tuple[System, Api, Api]) -> None:
        _, one, other = two
        ann, movie_id, key = one.sign_up(), one.movie(), str(uuid4())
        assert the_same(rate(one, ann, movie_id, 3, key), rate(other, ann, movie_id, 3, key))

    @pytest.mark.parametrize(
        "change", [{"score": 3.5}, {"score": 3, "review": "Slow."}, {"score": 3.0, "review": None}]
    )
    def test_another_request_under_the_key_is_a_422(
        self, writer: Api, change: dict[str, Any]
    ) -> None:
        ann, movie_id, key = writer.sign_up(), writer.movie(), str(uuid4())
        assert rate(writer, ann, movie_id, 3, key).status_code == 201
        before = head(writer)
        for answer in (
            rate(writer, ann, movie_id, key=key, **change),
            rate(writer, ann, writer.movie(), 3, key),
        ):
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:starfold:problem:idempotency-key-reused"
        assert head(writer) == before + 1, "only the other movie was made"

    def test_another_users_key_is_another_key(self, writer: Api) -> None:
        ann, ben, movie_id, key = writer.sign_up(), writer.sign_up(), writer.movie(), str(uuid4())
        assert rate(writer, ann, movie_id, 3, key).status_code == 201
        assert rate(writer, ben, movie_id, 5, key).status_code == 201

    def test_a_request_without_a_body_has_a_key_too(self, writer: Api) -> None:
        """A withdrawal that is repeated does not take back what was rated in between."""
        ann, movie_id = writer.sign_up(), writer.movie()
        keyed = ann.headers | {"Idempotency-Key": str(uuid4())}
        writer.rate(ann, movie_id, 4)
        first = writer.command.delete(f"/v1/movies/{movie_id}/rating", headers=keyed)
        assert first.status_code == 204
        writer.rate(ann, movie_id, 2)
        before = head(writer)
        again = writer.command.delete(f"/v1/movies/{movie_id}/rating", headers=keyed)
        assert the_same(first, again)
        assert head(writer) == before

    def test_a_movie_is_made_once(self, writer: Api) -> None:
        headers = writer.service | {"Idempotency-Key": '"quoted"'}
        body = {"title": "Mirror", "year": 1975}
        first = writer.post("/v1/movies", body, headers)
        assert first.status_code == 201
        assert the_same(first, writer.post("/v1/movies", body, headers))
        bare = writer.service | {"Idempotency-Key": headers["Idempotency-Key"].strip('"')}
        assert the_same(first, writer.post("/v1/movies", body, bare))

    def test_a_corrected_movie_is_not_stale_to_the_retry(self, writer: Api) -> None:
        movie_id = writer.movie()
        path, headers = f"/v1/movies/{movie_id}", writer.service | {"If-Match": '"1"'}
        keyed = headers | {"Idempotency-Key": str(uuid4())}
        body = {"year": 1980}
        first = writer.command.patch(path, json=body, headers=keyed)
        assert first.status_code == 204
        assert writer.command.patch(path, json=body, headers=headers).status_code == 412
        assert the_same(first, writer.command.patch(path, json=body, headers=keyed))

    def test_a_profile_and_a_withdrawal_take_a_key(self, writer: Api) -> None:
        ann, movie_id = writer.sign_up(), writer.movie()
        writer.rate(ann, movie_id, 4)
        headers = [ann.headers | {"Idempotency-Key": str(uuid4())} for _ in range(2)]

        def send() -> list[httpx.Response]:
            return [
                writer.command.patch(
                    "/v1/users/me", json={"display_name": "Anna"}, headers=headers[0]
                ),
                writer.command.delete(f"/v1/movies/{movie_id}/rating", headers=headers[1]),
            ]

        first = send()
        writer.rate(ann, movie_id, 5)
        writer.command.patch("/v1/users/me", json={"display_name": "Ann"}, headers=ann.headers)
        before = head(writer)
        assert all(the_same(*pair) for pair in zip(first, send(), strict=True))
        assert head(writer) == before

    def test_what_was_refused_may_be_sent_again(self, writer: Api) -> None:
        """Nothing was recorded, so no answer is kept: the command is decided again."""
        ann, key = writer.sign_up(), str(uuid4())
        keyed = ann.headers | {"Idempotency-Key": key}
        body = {"title": "Mirror", "year": 1975}
        assert writer.post("/v1/movies", body, keyed).status_code == 403
        role = f"/v1/users/{ann.user_id}/role"
        writer.command.put(role, json={"role": "curator"}, headers=writer.service)
        assert writer.post("/v1/movies", body, keyed).status_code == 201

    def test_who_may_not_send_it_any_more_gets_no_first_answer(self, writer: Api) -> None:
        ann, key = writer.sign_up(role="curator"), str(uuid4())
        keyed = ann.headers | {"Idempotency-Key": key}
        body = {"title": "Mirror", "year": 1975}
        assert writer.post("/v1/movies", body, keyed).status_code == 201
        role = f"/v1/users/{ann.user_id}/role"
        writer.command.put(role, json={"role": "member"}, headers=writer.service)
        assert writer.post("/v1/movies", body, keyed).status_code == 403
        writer.command.delete("/v1/sessions/current", headers=ann.headers)
        assert writer.post("/v1/movies", body, keyed).status_code == 401

    @pytest.mark.parametrize("key", ["", '""', "two words", "x" * 256])
    def test_what_is_no_key_is_refused(self, writer: Api, key: str) -> None:
        ann, movie_id = writer.sign_up(), writer.movie()
        answer = writer.command.put(
            f"/v1/movies/{movie_id}/rating",
            json={"score": 4},
            headers=ann.headers | {"Idempotency-Key": key},
        )
        assert answer.status_code == 422

    def test_1000_retries_of_100_keys_have_100_effects(self, two: tuple[System, Api, Api]) -> None:
        """Concurrently and on two processes; each retry is answered like its first."""
        _, one, other = two
        ann, movie_id = one.sign_up(), one.movie()
        keys = [(str(uuid4()), SCORES[n % len(SCORES)]) for n in range(100)]
        before = head(one)

        def send(n: int) -> tuple[str, int, bytes, str]:
            key, score = keys[n % len(keys)]
            answer = rate((one, other)[n % 2], ann, movie_id, score, key)
            return key, answer.status_code, answer.content, answer.headers[POSITION]

        with ThreadPoolExecutor(16) as pool:
            answers = set(pool.map(send, [n * 7 for n in range(1_000)]))
        assert len(answers) == len(keys)
        assert {status for _, status, _, _ in answers} <= {200, 201}
        assert head(one) - before <= len(keys)

    def test_what_cannot_be_kept_takes_no_key(self, writer: Api) -> None:
        """A log-in's tokens, what a password was, the answers of somebody who is gone."""
        ann = writer.sign_up()
        headers = ann.headers | {"Idempotency-Key": str(uuid4())}
        before = head(writer)
        for method, path, body in (
            ("POST", "/v1/sessions", {"email": ann.email, "password": PASSWORD}),
            ("POST", "/v1/sessions/refresh", {"refresh_token": "x"}),
            ("PUT", "/v1/users/me/password", {"old": PASSWORD, "new": PASSWORD[::-1]}),
            ("DELETE", "/v1/users/me", None),
            ("DELETE", f"/v1/users/{ann.user_id}", None),
        ):
            answer = writer.command.request(method, path, json=body, headers=headers)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["pointer"] == "/header/idempotency-key"
        assert head(writer) == before
        read = writer.command.get("/v1/users/me/export", headers=headers)
        assert read.status_code == 200, "a read may be repeated anyway"

    def test_a_role_a_log_out_and_an_erasure_take_a_key(self, writer: Api) -> None:
        ann, ben = writer.sign_up(), writer.sign_up()
        role = f"/v1/users/{ann.user_id}/role"
        for method, path, body, caller in (
            ("PUT", role, {"role": "curator"}, writer.service),
            ("DELETE", "/v1/sessions/current", None, ben.headers),
            ("DELETE", f"/v1/users/{ben.user_id}", None, writer.service),
        ):
            headers = caller | {"Idempotency-Key": str(uuid4())}
            first = writer.command.request(method, path, json=body, headers=headers)
            assert first.status_code == 204, first.text
            if path == role:
                writer.command.put(path, json={"role": "member"}, headers=caller)
            before = head(writer)
            assert the_same(first, writer.command.request(method, path, json=body, headers=headers))
            assert head(writer) == before


class TestSignUp:
    """Nobody is logged in yet: the key is the address's."""

    def sign_up(self, api: Api, key: str | None, **changes: Any) -> httpx.Response:
        body = {"email": "kim@example.org", "password": PASSWORD, "display_name": "Kim", **changes}
        return api.post("/v1/users", body, {} if key is None else {"Idempotency-Key": key})

    def test_a_repeat_gets_the_first_users_id(self, two: tuple[System, Api, Api]) -> None:
        _, one, other = two
        key, email = str(uuid4()), f"{uuid4().hex}@example.org"
        first = self.sign_up(one, key, email=email)
        assert first.status_code == 201
        assert the_same(first, self.sign_up(other, key, email=email.upper()))
        assert self.sign_up(one, None, email=email).status_code == 409
        assert self.sign_up(one, str(uuid4()), email=email).status_code == 409
        reused = self.sign_up(one, key, email=email, display_name="Somebody")
        assert reused.json()["type"] == "urn:starfold:problem:idempotency-key-reused"

    def test_another_address_is_another_key(self, writer: Api) -> None:
        key = str(uuid4())
        made = {
            self.sign_up(writer, key, email=f"{uuid4().hex}@example.org").json()["user_id"]
            for _ in range(2)
        }
        assert len(made) == 2

    def test_nothing_of_the_password_is_kept(self, two: tuple[System, Api, Api]) -> None:
        _, one, _ = two
        key, email = str(uuid4()), f"{uuid4().hex}@example.org"
        first = self.sign_up(one, key, email=email)
        other = self.sign_up(one, key, email=email, password="another pass phrase")
        assert the_same(first, other)

    def test_who_is_erased_may_sign_up_again_with_the_same_key(self, writer: Api) -> None:
        key, email = str(uuid4()), f"{uuid4().hex}@example.org"
        first = self.sign_up(writer, key, email=email).json()["user_id"]
        session = writer.post("/v1/sessions", {"email": email, "password": PASSWORD}).json()
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        assert writer.command.delete("/v1/users/me", headers=bearer).status_code == 204
        assert self.sign_up(writer, key, email=email).json()["user_id"] != first


class TestBulkRequests:
    """Each row is done once, wherever the first attempt ended."""

    def send(
        self, api: Api, key: str, rows: list[dict[str, Any]], kind: str = "movies"
    ) -> list[dict[str, Any]]:
        headers = api.service | {"Idempotency-Key": key}
        answer = api.post(f"/v1/{kind}/batch", {kind: rows}, headers)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def test_a_repeat_makes_nothing_and_gets_the_same_ids(
        self, two: tuple[System, Api, Api]
    ) -> None:
        """Also where the first attempt ended after some rows: no key of the others is kept then."""
        shared, one, other = two
        rows = [{"title": f"Film {n}", "year": 1980} for n in range(250)]
        rows.insert(7, {"title": "", "year": 1980})
        key, before = str(uuid4()), head(one)
        first = self.send(one, key, rows)
        with shared.owner() as owner:
            owner.execute("DELETE FROM idempotency_keys WHERE position > %s", [before + 119])
        whole = self.send(other, key, rows)
        assert whole[:120] == first[:120]
        assert head(one) == before + 250 + (250 - 119)
        assert self.send(one, key, rows) == whole
        assert head(one) == before + 250 + (250 - 119)
        assert len({row["movie_id"] for row in whole if "movie_id" in row}) == 250

    def test_ratings_keep_their_first_status(self, writer: Api) -> None:
        user = writer.post(
            "/v1/users", {"external_id": str(uuid4()), "display_name": "X"}, writer.service
        ).json()["user_id"]
        rows = [{"user_id": user, "movie_id": writer.movie(), "score": 4} for _ in range(3)]
        key = str(uuid4())
        first = self.send(writer, key, rows, "ratings")
        assert [row["status"] for row in first] == ["created"] * 3
        assert self.send(writer, key, rows, "ratings") == first
        again = self.send(writer, str(uuid4()), rows, "ratings")
        assert [row["status"] for row in again] == ["unchanged"] * 3

    @pytest.mark.parametrize("change", ["a row", "a row more", "a row less", "a refused row"])
    def test_another_request_under_the_key_is_a_422_and_records_nothing(
        self, two: tuple[System, Api, Api], change: str
    ) -> None:
        """Not even a row that the first request did not have, or that was refused in it."""
        _, one, other = two
        rows = [{"title": f"Film {n}", "year": 1980 + n} for n in range(300)]
        rows[7]["title"] = ""
        key = str(uuid4())
        self.send(one, key, rows)
        before = head(one)
        changed = {
            "a row": [*rows[:-1], rows[-1] | {"year": 1970}],
            "a row more": [*rows, {"title": "Film", "year": 1970}],
            "a row less": rows[:-1],
            "a refused row": [*rows[:7], rows[7] | {"title": "Film 7"}, *rows[8:]],
        }[change]
        headers = one.service | {"Idempotency-Key": key}
        for api in (one, other):
            answer = api.post("/v1/movies/batch", {"movies": changed}, headers)
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:starfold:problem:idempotency-key-reused"
        assert head(one) == before

    def test_two_requests_at_once_under_one_key_are_one(self, two: tuple[System, Api, Api]) -> None:
        """On two processes: the rows of one are recorded, and none of the other's."""
        _, one, other = two
        key, before = str(uuid4()), head(one)

        def send(n: int) -> int:
            rows = [{"title": f"Film {n}", "year": 1900 + row} for row in range(100)]
            headers = one.service | {"Idempotency-Key": key}
            return (one, other)[n].post("/v1/movies/batch", {"movies": rows}, headers).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(send, range(2))) == [200, 422]
        assert head(one) == before + 100

    def test_a_request_of_which_no_row_was_recorded_leaves_the_key_free(self, writer: Api) -> None:
        key = str(uuid4())
        rows = [{"movie_id": str(uuid4()), "user_id": str(uuid4()), "score": 4}]
        (refused,) = self.send(writer, key, rows, "ratings")
        assert refused["status"] == "rejected"
        (again,) = self.send(writer, key, [{**rows[0], "score": 3}], "ratings")
        assert again["problem"]["type"] == refused["problem"]["type"]

    def test_a_malformed_key_is_one_error(self, writer: Api) -> None:
        headers = writer.service | {"Idempotency-Key": "with space"}
        body = {"movies": [{"title": "Film", "year": 1980}]}
        assert writer.post("/v1/movies/batch", body, headers).status_code == 422
