"""Clients of both APIs, as a test speaks: sign up, make a movie, rate, read."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Self

import httpx

POSITION = "Starfold-Position"
AT_LEAST = "Starfold-At-Least"
PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


class User:
    """A signed-up user and their access token."""

    def __init__(self, user_id: str, email: str, token: str) -> None:
        self.user_id = user_id
        self.email = email
        self.token = token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Api:
    """Both APIs. Remembers the highest position that a command answered with, and reads there."""

    def __init__(self, command_url: str, query_url: str, service_key: str) -> None:
        self.service = {"Authorization": f"Bearer {service_key}"}
        self.command = httpx.Client(base_url=command_url, timeout=30)
        self.query = httpx.Client(base_url=query_url, timeout=30)
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.command.close()
        self.query.close()

    def sign_up(self, email: str | None = None, name: str = "Ann", role: str | None = None) -> User:
        email = email or f"user{next(_numbers)}@example.org"
        body = {"email": email, "password": PASSWORD, "display_name": name}
        user_id = self.expect(201, self.note(self.post("/v1/users", body)))["user_id"]
        if role is not None:
            answer = self.command.put(
                f"/v1/users/{user_id}/role", json={"role": role}, headers=self.service
            )
            self.expect(204, answer)
        return User(user_id, email, self.log_in(email)["access_token"])

    def log_in(self, email: str, password: str = PASSWORD) -> Any:
        body = {"email": email, "password": password}
        return self.expect(201, self.post("/v1/sessions", body))

    def movie(self, title: str = "Stalker", year: int = 1979, **fields: Any) -> str:
        answer = self.post("/v1/movies", {"title": title, "year": year, **fields}, self.service)
        movie_id: str = self.expect(201, answer)["movie_id"]
        return movie_id

    def rate(self, user: User, movie_id: str, score: float, **fields: Any) -> httpx.Response:
        return self.note(
            self.command.put(
                f"/v1/movies/{movie_id}/rating",
                json={"score": score, **fields},
                headers=user.headers,
            )
        )

    def withdraw(self, user: User, movie_id: str) -> httpx.Response:
        return self.note(self.command.delete(f"/v1/movies/{movie_id}/rating", headers=user.headers))

    def post(
        self, path: str, body: object, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self.note(self.command.post(path, json=body, headers=headers or {}))

    def get(self, path: str, user: User | None = None, **parameters: Any) -> httpx.Response:
        """A read that sees every command of this client."""
        headers = {AT_LEAST: str(self.position)} | (user.headers if user else {})
        return self.query.get(path, params=parameters, headers=headers)

    def read(self, path: str, user: User | None = None, **parameters: Any) -> Any:
        return self.expect(200, self.get(path, user, **parameters))

    def note(self, response: httpx.Response) -> httpx.Response:
        self.position = max(self.position, int(response.headers.get(POSITION, 0)))
        return response

    def expect(self, status: int, response: httpx.Response) -> Any:
        assert response.status_code == status, response.text
        self.note(response)
        return response.json() if response.content else None


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The problem details of a refusal; fails for anything else."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"].startswith("urn:starfold:problem:")
    assert found["status"] == answer.status_code
    return found
