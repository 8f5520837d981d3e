"""Four command API processes on one log, with 32 clients at once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar
from uuid import uuid4

import httpx
import pytest

from shared.log.events import MovieCreated, RatingSubmitted
from tests.conftest import wait_ready
from tests.support.api import PASSWORD, POSITION, Api
from tests.support.log import Entry, assert_unbroken, rating_of, read_log
from tests.support.processes import start_processes
from tests.support.servers import Servers
from tests.support.system import System

PROCESSES = 4
CLIENTS = 32
RATINGS_EACH = 12
USERS, MOVIES = 6, 5

Result = TypeVar("Result")


class Four(NamedTuple):
    """A client of each process; the first one reads too."""

    system: System
    apis: Sequence[Api]

    @property
    def api(self) -> Api:
        return self.apis[0]

    def log(self) -> list[Entry]:
        return read_log(self.system.event_store(), self.system.key_wrap())

    def by_clients(
        self, work: Callable[[int, Api], Result], processes: int = PROCESSES
    ) -> list[Result]:
        """What `CLIENTS` made of their work at the same time, each on one process."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            started = [pool.submit(work, n, self.apis[n % processes]) for n in range(CLIENTS)]
            return [one.result() for one in started]


@pytest.fixture(scope="module")
def four(servers: Servers) -> Iterator[Four]:
    system = System(servers)
    key = system.service_key()
    query = system.start_query_api()
    system.start_projector()
    apis = [Api(one.url, query.url, key) for one in start_processes(system, PROCESSES)]
    wait_ready(apis[0])
    yield Four(system, apis)
    for api in apis:
        api.__exit__(None, None, None)
    system.close()


class TestConcurrency:
    @pytest.mark.parametrize("processes", [1, PROCESSES])
    def test_32_clients_on_one_rating_lose_no_update(self, four: Four, processes: int) -> None:
        """Each opinion differs from every other, so each is recorded, and where its answer says."""
        ann, movie_id = four.api.sign_up(), four.api.movie()

        def rate_often(client: int, api: Api) -> list[tuple[str, httpx.Response]]:
            reviews = [f"{client}, {nth}" for nth in range(RATINGS_EACH)]
            return [(said, api.rate(ann, movie_id, 3.5, review=said)) for said in reviews]

        answered = [pair for own in four.by_clients(rate_often, processes) for pair in own]
        statuses = Counter(answer.status_code for _, answer in answered)
        assert statuses == {201: 1, 200: len(answered) - 1}
        log = four.log()
        assert_unbroken(log)
        stream_id = rating_of(ann.user_id, movie_id)
        recorded = {int(one.position): one.event for one in log if one.stream_id == stream_id}
        assert len(recorded) == len(answered)
        for said, answer in answered:
            event = recorded[int(answer.headers[POSITION])]
            assert isinstance(event, RatingSubmitted)
            assert event.review == said
        last = list(recorded.values())[-1]
        four.api.position = max(recorded)
        shown = four.api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")
        assert isinstance(last, RatingSubmitted)
        assert shown["review"] == last.review

    def test_mixed_commands_leave_an_unbroken_log_and_exact_read_models(self, four: Four) -> None:
        mixed = Mixed(four)
        statuses = Counter(status for own in four.by_clients(mixed.work) for status in own)
        assert set(statuses) <= {200, 201, 204}
        log = four.log()
        assert_unbroken(log)
        standing = mixed.standing(log)
        for movie_id in mixed.movies:
            scores = [half for (_, movie), half in standing.items() if movie == movie_id]
            histogram = four.api.read(f"/v1/movies/{movie_id}")["ratings"]["histogram"]
            assert histogram == [scores.count(half) for half in range(1, 11)]
        for user in mixed.users:
            scores = [half for (rater, _), half in standing.items() if rater == user.user_id]
            histogram = four.api.read(f"/v1/users/{user.user_id}")["ratings"]["histogram"]
            assert histogram == [scores.count(half) for half in range(1, 11)]

    def test_of_many_sign_ups_with_one_address_one_succeeds(self, four: Four) -> None:
        """The others are refused by the rule, and not by their contention."""

        def sign_up(client: int, api: Api) -> tuple[int, str]:
            email = "Same@example.org" if client % 2 else "same@EXAMPLE.org"
            body = {"email": email, "password": PASSWORD, "display_name": f"Ann {client}"}
            answer = api.command.post("/v1/users", json=body)
            return answer.status_code, answer.json().get("detail", "")

        refused = (409, "this e-mail address is taken")
        assert Counter(four.by_clients(sign_up)) == {(201, ""): 1, refused: CLIENTS - 1}

    def test_of_many_movies_with_one_imdb_id_one_is_made(self, four: Four) -> None:
        def create(client: int, api: Api) -> int:
            body = {"title": f"Same {client}", "year": 1979, "imdb_id": "tt0079944"}
            return api.command.post("/v1/movies", json=body, headers=api.service).status_code

        assert Counter(four.by_clients(create)) == {201: 1, 409: CLIENTS - 1}

    def test_of_many_corrections_of_one_version_one_is_made(self, four: Four) -> None:
        movie_id = four.api.movie()

        def correct(client: int, api: Api) -> int:
            headers = api.service | {"If-Match": '"1"'}
            path, body = f"/v1/movies/{movie_id}", {"year": 1950 + client}
            return api.command.patch(path, json=body, headers=headers).status_code

        assert Counter(four.by_clients(correct)) == {204: 1, 412: CLIENTS - 1}

    def test_retries_on_any_process_have_one_effect(self, four: Four) -> None:
        """Without an external id each request creates another movie: only the key prevents it."""
        keys = [str(uuid4()) for _ in range(24)]

        def create_all(client: int, api: Api) -> list[tuple[str, int, bytes, str]]:
            answers = []
            for key in random.Random(client).sample(keys, len(keys)):
                headers = api.service | {"Idempotency-Key": key}
                body = {"title": f"Retried {key}", "year": 1979}
                answer = api.command.post("/v1/movies", json=body, headers=headers)
                position = answer.headers[POSITION]
                answers.append((key, answer.status_code, answer.content, position))
            return answers

        answers = {answer for own in four.by_clients(create_all) for answer in own}
        assert len(answers) == len(keys)
        assert {status for _, status, _, _ in answers} == {201}
        events = [entry.event for entry in four.log()]
        titles = [event.details.title for event in events if isinstance(event, MovieCreated)]
        assert sorted(t for t in titles if t.startswith("Retried")) == sorted(
            f"Retried {key}" for key in keys
        )


class Mixed:
    """Whatever a client may do, over few users and movies, so that they meet."""

    def __init__(self, four: Four) -> None:
        self.users = [four.api.sign_up() for _ in range(USERS)]
        self.movies = [four.api.movie() for _ in range(MOVIES)]

    def work(self, client: int, api: Api) -> list[int]:
        draw = random.Random(client)
        answers = [self._command(draw, api) for _ in range(RATINGS_EACH)]
        return [api.note(answer).status_code for answer in answers]

    def standing(self, log: Sequence[Entry]) -> dict[tuple[str, str], int]:
        """The half stars that stand, by user and movie."""
        pairs = {rating_of(u.user_id, m): (u.user_id, m) for u in self.users for m in self.movies}
        standing: dict[tuple[str, str], int] = {}
        for entry in log:
            pair = pairs.get(entry.stream_id)
            if pair is not None and isinstance(entry.event, RatingSubmitted):
                standing[pair] = entry.event.half_stars
            elif pair is not None:
                del standing[pair]
        return standing

    def _command(self, draw: random.Random, api: Api) -> httpx.Response:
        user, movie_id = draw.choice(self.users), draw.choice(self.movies)
        match draw.randrange(6):
            case 0:
                return api.withdraw(user, movie_id)
            case 1:
                body = {"display_name": f"Ann {draw.random()}"}
                return api.command.patch("/v1/users/me", json=body, headers=user.headers)
            case 2:
                rows = [{"movie_id": one, "score": self._score(draw)} for one in self.movies]
                answer = api.post("/v1/ratings/batch", {"ratings": rows}, user.headers)
                done = {row["status"] for row in answer.json()["results"]}
                assert done <= {"created", "changed", "unchanged"}
                return answer
            case _:
                return api.rate(user, movie_id, self._score(draw))

    def _score(self, draw: random.Random) -> float:
        return draw.randint(1, 10) / 2
