"""Clients that write on through crashes and remember what they were told, to hold the log against.

Every command says something that no other says, so that it is known again in the log: a movie's
title, a rating's review.
"""

from __future__ import annotations

import base64
import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

import httpx

from shared.ids import UserId
from shared.log.events import MovieCreated, RatingSubmitted
from shared.web.tokens import TokenIssuer
from starfold_client import NewMovie
from tests.support.api import POSITION
from tests.support.local_starfold import Local
from tests.support.log import Entry, assert_unbroken
from tests.support.system import POLL_S

WRITERS = 6
MOVIES = 20
ROWS = 10
ANSWERED_WITHIN_S = 90.0
# Kept of each writer, to be sent once more in the end.
REPEATED = 40
DONE = (httpx.codes.OK, httpx.codes.CREATED)
BUSY = (httpx.codes.SERVICE_UNAVAILABLE,)

_numbers = itertools.count(1)


class Request(NamedTuple):
    method: str
    path: str
    body: Any
    headers: dict[str, str]


class Writers:
    """Some writers at once, on one user's rating of one movie and on ratings of their own."""

    def __init__(self, local: Local) -> None:
        access = local.access()
        self.url = access.addresses.command_url
        self.service = {"Authorization": f"Bearer {access.api_key}"}
        private_key = base64.b64decode(local.home.secrets().token_private_key)
        self._issuer = TokenIssuer(private_key, issuer="starfold", audience="starfold")
        with local.client() as client:
            self.users = [
                str(client.create_external_user(str(uuid4()), "Ann").user_id)
                for _ in range(WRITERS + 1)
            ]
            self.movies = [
                str(client.create_movie(NewMovie(title=f"Film {n}", year=1970)).movie_id)
                for n in range(MOVIES)
            ]
        self.all = [Writer(self, user, seed) for seed, user in enumerate(self.users[1:])]

    def __enter__(self) -> Self:
        for writer in self.all:
            writer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for writer in self.all:
            writer.stop_asked.set()
        for writer in self.all:
            writer.join()

    @property
    def acknowledged(self) -> int:
        """Commands so far; raises what a writer has failed by."""
        for writer in self.all:
            if writer.failed is not None:
                raise writer.failed
        return sum(len(writer.acknowledged) for writer in self.all)

    def token(self, user_id: str) -> dict[str, str]:
        token = self._issuer.issue(UserId(UUID(user_id)), "member", now_s=time.time())
        return {"Authorization": f"Bearer {token}"}

    def assert_exactly_once(self, log: Sequence[Entry]) -> None:
        """What was acknowledged is there once, where the answer said; nothing is there twice."""
        assert_unbroken(log)
        said = [(said_in(entry), entry.position) for entry in log]
        times = Counter(name for name, _ in said if name is not None)
        places = dict(said)
        for writer in self.all:
            for name, position in writer.acknowledged.items():
                assert times[name] == 1, name
                assert position in (None, places[name]), name
            for name in writer.unacknowledged:
                assert times[name] <= 1, name

    def assert_answered_alike(self) -> None:
        """A retry of what was answered long ago gets that answer."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            for request, first in (pair for writer in self.all for pair in writer.answered):
                again = client.request(
                    request.method, request.path, json=request.body, headers=request.headers
                )
                assert (again.status_code, again.content) == (first.status_code, first.content)
                assert again.headers[POSITION] == first.headers[POSITION]


class Writer(threading.Thread):
    """Sends one command after another until it is asked to stop."""

    def __init__(self, writers: Writers, user_id: str, seed: int) -> None:
        super().__init__(name=f"writer-{seed}")
        self._writers = writers
        self._user_id = user_id
        self._random = random.Random(seed)
        self._client = httpx.Client(base_url=writers.url, timeout=60)
        self.stop_asked = threading.Event()
        self.failed: Exception | None = None
        # What was said, and the position that the answer stated; rows of a batch have none.
        self.acknowledged: dict[str, int | None] = {}
        # Sent once, and not answered.
        self.unacknowledged: list[str] = []
        self.answered: deque[tuple[Request, httpx.Response]] = deque(maxlen=REPEATED)

    def run(self) -> None:
        try:
            while not self.stop_asked.is_set():
                self._write()
        except Exception as error:  # noqa: BLE001  # The test raises it.
            self.failed = error
        finally:
            self._client.close()

    def _write(self) -> None:
        kinds = (self._make_a_movie, self._rate_with_all, self._rate_once, self._rate_many)
        self._random.choice(kinds)()

    def _make_a_movie(self) -> None:
        """With a key, without which a retry would make another one."""
        name = self._words()
        body = {"title": name, "year": 1970}
        headers = self._writers.service | {"Idempotency-Key": name}
        self._keyed(name, Request("POST", "/v1/movies", body, headers))

    def _rate_with_all(self) -> None:
        """The one rating that every writer changes: a retry must not undo what came between."""
        name, writers = self._words(), self._writers
        headers = writers.token(writers.users[0]) | {"Idempotency-Key": name}
        path = f"/v1/movies/{writers.movies[0]}/rating"
        self._keyed(name, Request("PUT", path, self._opinion(name), headers))

    def _rate_once(self) -> None:
        """Without a key, and never again if no answer comes."""
        name = self._words()
        path = f"/v1/movies/{self._random.choice(self._writers.movies)}/rating"
        headers = self._writers.token(self._user_id)
        answer = self._sent(Request("PUT", path, self._opinion(name), headers))
        if answer is None:
            self.unacknowledged.append(name)
        else:
            self.acknowledged[name] = int(answer.headers[POSITION])

    def _rate_many(self) -> None:
        """A batch needs no key: what is recorded already is unchanged."""
        rows = [
            {"movie_id": movie_id, **self._opinion(self._words())}
            for movie_id in self._random.sample(self._writers.movies, ROWS)
        ]
        body = {"ratings": [{"user_id": self._user_id, **row} for row in rows]}
        request = Request("POST", "/v1/ratings/batch", body, self._writers.service)
        results = self._until_answered(request).json()["results"]
        statuses = {result["status"] for result in results}
        assert statuses <= {"created", "changed", "unchanged"}, results
        self.acknowledged.update((row["review"], None) for row in rows)

    def _keyed(self, name: str, request: Request) -> None:
        answer = self._until_answered(request)
        self.acknowledged[name] = int(answer.headers[POSITION])
        self.answered.append((request, answer))

    def _until_answered(self, request: Request) -> httpx.Response:
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            answer = self._sent(request)
            if answer is not None:
                return answer
            assert time.monotonic() < give_up_at, f"{request} is not answered"
            time.sleep(POLL_S)

    def _sent(self, request: Request) -> httpx.Response | None:
        """None where nobody knows what came of it."""
        try:
            answer = self._client.request(
                request.method, request.path, json=request.body, headers=request.headers
            )
        except httpx.TransportError:
            return None
        if answer.status_code in BUSY:
            return None
        assert answer.status_code in DONE, f"{request}: {answer.status_code} {answer.text}"
        return answer

    def _opinion(self, name: str) -> dict[str, Any]:
        return {"score": self._random.randint(1, 10) / 2, "review": name}

    def _words(self) -> str:
        return f"{self.name}-{next(_numbers)}"


def said_in(entry: Entry) -> str | None:
    match entry.event:
        case MovieCreated() as event:
            return event.details.title
        case RatingSubmitted() as event:
            return event.review
        case _:
            return None
