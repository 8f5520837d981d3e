"""What every OpenAPI document holds to: references that resolve, nothing twice, nothing unused."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openapi_spec_validator
import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker

import command_api.app
import query_api.app
from command_api.settings import CommandSettings
from query_api.settings import QuerySettings
from shared.web.openapi import LICENCE
from tests.contract.test_docs import CONSOLE, SECRETS
from tests.contract.test_house import PYPROJECT
from tests.support import openapi_files

Document = dict[str, Any]

COMMANDS = command_api.app.create_app(CommandSettings(**SECRETS)).openapi()
READS = query_api.app.create_app(QuerySettings(**SECRETS)).openapi()
OPERATORS = CONSOLE.openapi()
ALL = pytest.mark.parametrize(
    "document", [COMMANDS, READS, OPERATORS], ids=["commands", "reads", "operators"]
)
PROBLEM = {"$ref": "#/components/schemas/Problem"}
# What a schema may say (JSON Schema 2020-12, as far as these documents use it).
KEYWORDS = {
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
}


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(document: Document, value: Any) -> Any:
    """What a reference leads to; any other value as it is."""
    while isinstance(value, dict) and "$ref" in value:
        reference: str = value["$ref"]
        value = document
        for part in reference.removeprefix("#/").split("/"):
            value = value[part]
    return value


def schemas_in(document: Document) -> Iterator[Document]:
    """Every schema of the document, and those inside it."""

    def inside(schema: Document) -> Iterator[Document]:
        yield schema
        inner = [*schema.get("properties", {}).values(), schema.get("items")]
        for one in [*inner, *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            if one:
                yield from inside(one)

    def found(value: Any) -> Iterator[Document]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "schema":
                    yield from inside(inner)
                else:
                    yield from found(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from found(inner)

    for schema in document["components"]["schemas"].values():
        yield from inside(schema)
    yield from found({name: value for name, value in document.items() if name != "info"})


def require_valid(document: Document, value: object, schema: Document) -> None:
    whole = {**schema, "components": document["components"]}
    OAS31Validator(whole, format_checker=oas31_format_checker).validate(value)


def answers(document: Document, operation: Document) -> dict[str, Document]:
    return {status: resolved(document, answer) for status, answer in operation["responses"].items()}


@ALL
def test_every_component_is_used_and_every_reference_leads_to_one(document: Document) -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        if kind != "securitySchemes"
        for name in named
    }
    assert set(references(document)) == components


@ALL
def test_the_document_is_openapi(document: Document) -> None:
    openapi_spec_validator.validate(document)
    schemas = list(schemas_in(document))
    assert len(schemas) > 50
    for schema in schemas:
        assert set(schema) <= KEYWORDS, schema
        re.compile(schema.get("pattern", ""))


@pytest.mark.parametrize("name", ["command.json", "operator-api.json", "query.json"])
def test_the_files_are_the_documents(name: str) -> None:
    """Clients are generated and compared without a running server."""
    text = (openapi_files.FOLDER / name).read_text()
    assert text == openapi_files.documents()[name], f"run `{openapi_files.COMMAND}`"


@ALL
def test_examples_are_of_their_schema(document: Document) -> None:
    examined = 0
    for schema in schemas_in(document):
        for example in schema.get("examples", []):
            require_valid(document, example, schema)
            examined += 1
    for _, operation in operations(document):
        for answer in answers(document, operation).values():
            for content in answer.get("content", {}).values():
                if "schema" in content and "example" in content:
                    require_valid(document, content["example"], content["schema"])
                    examined += 1
    assert examined > 2


if (sys.platform, platform.machine()) == ("linux", "x86_64"):  # Where the linter is published.
    from vacuum import lint

    @ALL
    def test_a_linters_recommended_rules_find_no_error(document: Document) -> None:
        found = lint(json.dumps(document), ruleset="extends: [[spectral:oas, recommended]]")
        assert found
        assert [one for one in found if one.rule_severity == "error"] == []


@ALL
def test_every_refusal_is_the_same_problem_by_reference(document: Document) -> None:
    assert "urn:starfold" not in str(document["paths"])
    for name, operation in operations(document):
        for status, answer in answers(document, operation).items():
            if status >= "400":
                assert answer["content"] == {"application/problem+json": {"schema": PROBLEM}}, name


@ALL
def test_every_operation_has_a_name_of_its_own_a_tag_and_words(document: Document) -> None:
    names = Counter(one["operationId"] for _, one in operations(document))
    assert set(names.values()) == {1}
    tags = [tag["name"] for tag in document["tags"]]
    assert all(tag["description"] for tag in document["tags"])
    assert {tag for _, one in operations(document) for tag in one["tags"]} == set(tags)
    for name, one in operations(document):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one["operationId"]), name
        assert one["summary"], name
        assert one["description"], name
        assert len(one["tags"]) == 1, name
        for answer in one["responses"].values():
            assert resolved(document, answer)["description"], name


@ALL
def test_every_parameter_is_described_and_those_of_a_path_are_its_own(document: Document) -> None:
    for name, one in operations(document):
        parameters = [resolved(document, parameter) for parameter in one["parameters"]]
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", name)), name
        assert all(one["required"] for one in parameters if one["in"] == "path"), name
        keys = Counter((one["in"], one["name"].lower()) for one in parameters)
        assert set(keys.values()) <= {1}, name


@ALL
def test_a_credential_is_named_by_the_operation_and_its_lack_is_documented(
    document: Document,
) -> None:
    schemes = document["components"]["securitySchemes"]
    used = {name for _, one in operations(document) for each in one["security"] for name in each}
    assert used == set(schemes)
    for name, one in operations(document):
        credentials = one["security"]
        assert ("401" in one["responses"]) >= any(credentials), name
        assert ("403" in one["responses"]) >= (bool(credentials) and {} not in credentials), name


@ALL
def test_the_document_says_where_the_api_is_and_how_it_is_licensed(document: Document) -> None:
    assert document["servers"]
    assert document["info"]["license"] == LICENCE
    assert LICENCE["name"] == PYPROJECT["project"]["license"]


def test_who_may_call_is_documented_by_operation() -> None:
    security = {one["operationId"]: one["security"] for _, one in operations(COMMANDS)}
    assert security["log_in"] == []
    assert security["rate_movie"] == [{"access_token": []}]
    assert security["create_movie"] == [
        {"access_token": ["curator"]},
        {"access_token": ["operator"]},
        {"service_key": ["movies"]},
    ]
    assert security["create_external_users"] == [{"service_key": ["users"]}]
    assert {} in security["sign_up"]
    reads = {one["operationId"]: one["security"] for _, one in operations(READS)}
    assert reads["list_projections"] == [{"access_token": ["operator"]}]
    assert reads["get_movie"] == [{}, {"access_token": []}]
    assert reads["metrics"] == [{}, {"metrics_token": []}]


def test_statuses_and_headers_follow_from_the_operation() -> None:
    commands = {one["operationId"]: answers(COMMANDS, one) for _, one in operations(COMMANDS)}
    reads = {one["operationId"]: answers(READS, one) for _, one in operations(READS)}
    expected = "200 201 301 400 401 403 404 409 410 412 413 415 422 429 503"
    assert " ".join(commands["rate_movie"]) == expected
    assert {"412", "428"} <= set(commands["change_movie"])
    assert " ".join(reads["get_movie"]) == "200 301 304 400 401 404 410 422 429 503"
    assert {"Starfold-Position", "Starfold-Newest", "ETag"} <= set(
        reads["list_movies"]["304"]["headers"]
    )
    assert "Starfold-Position" in reads["get_movie"]["404"]["headers"]
    for operation in (commands["rate_movie"], reads["get_movie"]):
        for status, answer in operation.items():
            assert {"X-Request-ID", "RateLimit", "RateLimit-Policy"} <= set(answer["headers"])
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))


def test_one_of_two_bodies_is_documented_as_that() -> None:
    bodies = {
        one["operationId"]: one["requestBody"]["content"].get("application/json", {}).get("schema")
        for _, one in operations(COMMANDS)
        if "requestBody" in one
    }
    for name, either in (
        ("sign_up", ("SignUpBody", "ExternalUserBody")),
        ("log_in", ("LogInBody", "KeyLogInBody")),
    ):
        assert bodies[name] == {
            "oneOf": [{"$ref": f"#/components/schemas/{one}"} for one in either]
        }


def test_rows_of_a_batch_are_documented_as_what_each_is() -> None:
    schemas = COMMANDS["components"]["schemas"]
    assert schemas["RatingsBody"]["properties"]["ratings"]["items"] == {
        "$ref": "#/components/schemas/MovieRatingBody"
    }
    assert schemas["MoviesBody"]["properties"]["movies"]["maxItems"] == 1_000


def test_a_position_that_is_sent_is_a_number() -> None:
    for _, one in operations(READS):
        for parameter in one["parameters"]:
            if parameter.get("name") == "Starfold-At-Least":
                assert parameter["schema"]["type"] == "integer"
                assert parameter["schema"]["maximum"] == 2**63 - 1
