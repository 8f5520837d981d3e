"""The client has every route, parameter and field of both OpenAPI documents, and their limits."""

from __future__ import annotations

import inspect
import tomllib
import types
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
import pytest

import starfold_client
from command_api.bodies import models
from command_api.bulk.room import BULK_REQUESTS_PER_CALLER_MAX
from query_api.http.parameters import MOVIES_MAX
from shared.web.problems import PROBLEM_TYPES
from starfold_client import Starfold, answers, errors, live
from starfold_client.commands import BULK_REQUESTS_MAX, Commands
from starfold_client.exchange import REFRESH, Endpoint
from starfold_client.reads import Reads
from starfold_client.routes import BulkRoute, ListRoute, Route
from starfold_client.rows import MovieChanges, NewMovie, NewRating, NewUser
from tests.contract.test_house import PYPROJECT, ROOT
from tests.contract.test_openapi import COMMANDS, READS, Document, operations, resolved

# Routes that the client leaves to other programs.
LEFT_OUT = {
    "GET /health": "for load balancers and supervisors",
    "GET /metrics": "for Prometheus",
    "GET /.well-known/jwks.json": "for the libraries that verify access tokens",
}
# What the client itself sends with a request, besides the methods' parameters.
OWN_HEADERS = {"x-request-id", "if-none-match", "starfold-at-least", "last-event-id"}
# Lists with items of several kinds: the kind that no other route has.
OF_SEVERAL_KINDS = {
    Reads.get_movies: answers.LeftMovie,
    Reads.list_changed_movies: answers.LeftMovie,
    Reads.list_changed_user_ratings: answers.WithdrawnRating,
}
BOTH = {"command": COMMANDS, "query": READS}
ROWS = {"/v1/users/batch": NewUser, "/v1/movies/batch": NewMovie, "/v1/ratings/batch": NewRating}


def routes() -> dict[str, list[Route[..., Any] | BulkRoute[Any]]]:
    """Return the client's methods for each operation; two may share one."""
    found: dict[str, list[Route[..., Any] | BulkRoute[Any]]] = {}
    for member in [*vars(Commands).values(), *vars(Reads).values()]:
        if isinstance(member, Route | BulkRoute):
            found.setdefault(name_of(member.endpoint), []).append(member)
    return found


def name_of(endpoint: Endpoint[Any]) -> str:
    return f"{endpoint.api} {endpoint.method} {endpoint.path}"


def documented() -> Iterator[tuple[str, Document, Document]]:
    for api, document in BOTH.items():
        for name, operation in operations(document):
            if name not in LEFT_OUT:
                yield f"{api} {name}", document, operation


def test_the_client_has_every_route_that_is_not_left_out() -> None:
    """Add a method to the client for a new route, or the reason why there is none to LEFT_OUT."""
    own = {name_of(REFRESH), f"query GET {live.PATH}"}  # Without a method of its own.
    assert routes().keys() | own == {name for name, _, _ in documented()}


def test_methods_are_called_as_the_documents_call_operations() -> None:
    both = {"create_external_user": "sign_up", "log_in_service": "log_in"}
    both |= {"command_ready": "ready", "query_ready": "ready"}
    both |= {"get_movies": "list_movies", "list_changed_movies": "list_movies"}
    both |= {"list_changed_user_ratings": "list_user_ratings"}
    both |= {"export_ratings": "export_me"}
    for name, _, operation in documented():
        for route in routes().get(name, []):
            [method] = [
                method
                for owner in (Commands, Reads)
                for method, member in vars(owner).items()
                if member is route
            ]
            assert both.get(method, method) == operation["operationId"]


def test_methods_take_every_parameter_and_every_field_of_their_route() -> None:
    for name, document, operation in documented():
        if name in routes():
            taken = {one for route in routes()[name] for one in taken_by(route)}
            wanted = parameters_of(document, operation) | fields_of(document, operation)
            assert taken == wanted, name


def parameters_of(document: Document, operation: Document) -> set[str]:
    parameters = [resolved(document, one) for one in operation["parameters"]]
    return {
        one["name"].lower().replace("-", "_")
        for one in parameters
        if one["name"].lower() not in OWN_HEADERS
    }


def fields_of(document: Document, operation: Document) -> set[str]:
    """Return the names of the fields of the bodies that an operation takes."""
    if "requestBody" not in operation:
        return set()
    if "application/octet-stream" in operation["requestBody"]["content"]:
        return {"content"}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    bodies = schema.get("oneOf", [schema])
    return {name for body in bodies for name in resolved(document, body)["properties"]}


def taken_by(route: Route[..., Any] | BulkRoute[Any]) -> set[str]:
    """Return what a method takes; a struct stands for its fields."""
    if isinstance(route, BulkRoute):
        return {route.bulk.field, "idempotency_key"}
    taken: set[str] = set()
    kinds = {kind.__name__: kind for kind in (NewMovie, MovieChanges, NewRating)}
    for parameter in list(inspect.signature(route.build).parameters.values())[1:]:
        kind = kinds.get(parameter.annotation)
        taken |= {parameter.name} if kind is None else set(kind.__struct_fields__)
    return taken


def test_rows_have_every_field() -> None:
    for name, document, operation in documented():
        path = name.split()[-1]
        if path in ROWS:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            [rows] = resolved(document, schema)["properties"].values()
            fields = resolved(document, rows["items"])["properties"]
            assert set(ROWS[path].__struct_fields__) == set(fields), name


def test_answers_have_every_field_of_their_schema() -> None:
    """A field that may be null may be None, and one that may be absent has a default."""
    compared = 0
    for name, document, operation in documented():
        for route in routes().get(name, []):
            if route in OF_SEVERAL_KINDS:
                kind = OF_SEVERAL_KINDS[route]
                schema = document["components"]["schemas"][kind.__name__]
                compared += compare(kind, schema, document, name)
                continue
            if route is Commands.export_ratings:  # A file, of which nothing is decoded.
                continue
            kind, schema = shape_of(route), answer_schema(operation)
            assert (kind is None) == (schema is None), name
            if schema is not None:
                compared += compare(kind, schema, document, name)
    assert compared > 100


def answer_schema(operation: Document) -> Document | None:
    for status, answer in operation["responses"].items():
        if status < "300" and "application/json" in answer.get("content", {}):
            schema: Document = answer["content"]["application/json"]["schema"]
            return schema
    return None


def shape_of(route: Route[..., Any] | BulkRoute[Any]) -> Any:
    """Return the type that a route's answer is decoded as; None if it has no body."""
    decoder = getattr(route.endpoint.decode, "__self__", None)
    return decoder.type if isinstance(decoder, msgspec.json.Decoder) else None


def compare(kind: Any, schema: Document, document: Document, where: str) -> int:
    """Compare a type with a schema; return the number of fields."""
    schema = resolved(document, schema)
    choices = [resolved(document, one) for one in schema.get("anyOf", [schema])]
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    # A list of movies has items of three kinds, but of one kind only without `ids`.
    if len(choices) == 2 and choices[1].get("type") == "null":
        assert type(None) in kinds, where
    schema = choices[0]
    [kind] = [one for one in kinds if one is not type(None)]
    if get_origin(kind) is list:
        return compare(get_args(kind)[0], schema["items"], document, f"{where}[]")
    struct = get_origin(kind) or kind
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        assert "properties" not in schema, where
        return 1
    fields = {one.name: one for one in msgspec.structs.fields(kind)}
    known = schema["properties"].keys()
    # Lists that are not counted have pages of the same type.
    assert fields.keys() - {"count"} == known - {"count"}, where
    assert known <= fields.keys(), where
    for name, inner in schema["properties"].items():
        assert fields[name].required <= (name in schema.get("required", ())), f"{where}.{name}"
        compare(fields[name].type, inner, document, f"{where}.{name}")
    return len(fields)


def test_each_type_of_problem_has_an_error_of_its_own() -> None:
    assert errors.Problem.classes.keys() == PROBLEM_TYPES.keys()
    for code, problem in PROBLEM_TYPES.items():
        retried = issubclass(errors.Problem.classes[code], errors.TryLater)
        assert retried == (problem.status in (429, 503)), code


def test_bulk_requests_are_as_large_as_the_api_takes() -> None:
    limits = {
        "users": (models.BULK_CREATIONS_MAX, models.BULK_USERS_BYTES_MAX),
        "movies": (models.BULK_CREATIONS_MAX, models.BULK_BYTES_MAX),
        "ratings": (models.RATINGS_MAX, models.BULK_BYTES_MAX),
    }
    bulks = [member.bulk for member in vars(Commands).values() if isinstance(member, BulkRoute)]
    assert {bulk.field: (bulk.rows_max, bulk.bytes_max) for bulk in bulks} == limits
    assert BULK_REQUESTS_MAX == BULK_REQUESTS_PER_CALLER_MAX
    assert f"at most {MOVIES_MAX}" in (Starfold.stream.__doc__ or "")


def test_lists_are_the_routes_with_a_cursor() -> None:
    for name, document, operation in documented():
        has_list = any(isinstance(route, ListRoute) for route in routes().get(name, []))
        assert has_list == ("cursor" in parameters_of(document, operation)), name


def test_the_client_has_the_version_of_the_services() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert project["version"] == PYPROJECT["project"]["version"]
    wanted = {one.partition(">")[0]: one for one in PYPROJECT["project"]["dependencies"]}
    assert all(wanted[one.partition(">")[0]] == one for one in project["dependencies"])
    assert starfold_client.__all__ == sorted(starfold_client.__all__)


@pytest.mark.parametrize("name", [name for name in vars(answers) if name[0].isupper()])
def test_fields_that_a_client_does_not_know_are_ignored(name: str) -> None:
    kind = getattr(answers, name)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        assert kind.__struct_config__.forbid_unknown_fields is False
