"""What the query API's documentation says of an answer is what comes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from query_api.http import operation_shapes, shapes
from tests.support.api import Api

PREFIX = "#/components/schemas/"


@pytest.fixture(scope="module")
def described(api: Api) -> dict[str, Any]:
    answer: dict[str, Any] = api.query.get("/openapi.json").json()
    return answer


def documented(described: dict[str, Any]) -> dict[str, tuple[type[BaseModel], Any]]:
    """The shape and the example of each path that has a shape."""
    found = {}
    for path, methods in described["paths"].items():
        content = methods["get"]["responses"]["200"]["content"].get("application/json", {})
        name = content.get("schema", {}).get("$ref", "")
        if name:
            of = operation_shapes if methods["get"]["tags"] == ["operations"] else shapes
            found[path] = (getattr(of, name.removeprefix(PREFIX)), content["example"])
    return found


def test_every_example_and_every_answer_is_of_its_shape(
    api: Api, described: dict[str, Any]
) -> None:
    ann, erased = api.sign_up(name="Ann"), api.sign_up()
    movie_id = api.movie("Heat", genres=["Crime"], imdb_id="tt0113277")
    unrated = api.movie("Heat 2")
    for user in (ann, erased):
        api.rate(user, movie_id, 4.5, review="The diner scene.")
    api.note(api.command.delete("/v1/users/me", headers=erased.headers))
    of_shape = documented(described)
    texts = {"/v1/stream", "/metrics"}
    assert set(of_shape) == set(described["paths"]) - texts
    operator = api.sign_up(role="operator")
    seen = set()
    for path, (shape, example) in of_shape.items():
        shape.model_validate(example)
        for user_id in (ann.user_id, erased.user_id):
            for movie in (movie_id, unrated):
                caller = operator if path == "/v1/projections" else ann
                ids = {"user_id": user_id, "movie_id": movie, "id": "tt0113277"}
                answer = api.get(path.format(**ids, catalogue="imdb"), caller)
                if answer.status_code == 200:
                    shape.model_validate_json(answer.content)
                    seen.add(path)
    assert seen == set(of_shape)


def test_an_erased_user_is_shown_as_erased_among_a_movies_raters(api: Api) -> None:
    ann, erased, movie_id = api.sign_up(name="Ann"), api.sign_up(), api.movie()
    for user in (ann, erased):
        api.rate(user, movie_id, 3, review="So.")
    api.note(api.command.delete("/v1/users/me", headers=erased.headers))
    shown = api.read(f"/v1/movies/{movie_id}/ratings")["items"]
    assert [(one["erased"], one["display_name"], one["review"]) for one in shown] == [
        (True, None, None),
        (False, "Ann", "So."),
    ]


def test_no_default_is_documented_that_would_be_refused(api: Api) -> None:
    described = api.command.get("/openapi.json").json()["components"]["schemas"]
    fields = described["MovieChangesBody"]["properties"]
    assert {"title", "year"} <= set(fields)
    assert not [name for name, field in fields.items() if "default" in field]


def test_a_credential_can_be_given_in_the_documentation(api: Api) -> None:
    for client in (api.query, api.command):
        described = client.get("/openapi.json").json()
        assert described["components"]["securitySchemes"]["access_token"]["scheme"] == "bearer"
        member = described["paths"]["/v1/users/me"]
        assert all({"access_token": []} in one["security"] for one in member.values())
