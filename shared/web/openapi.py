"""OpenAPI 3.1 from operations: what parses a request documents it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.web.answer import JSON
from shared.web.operation import Header, Operation
from shared.web.problems import PROBLEM_SCHEMA

REF = "#/components/schemas/{model}"

Schema = dict[str, Any]
Key = tuple[type[BaseModel], JsonSchemaMode]


def described(info: Mapping[str, str], operations: Sequence[Operation]) -> Schema:
    """Return the document of an API."""
    schemas, definitions = models_json_schema(list(_models(operations)), ref_template=REF)
    paths: dict[str, Schema] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": dict(info),
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "Problem": PROBLEM_SCHEMA},
            # Operations take a credential by themselves: their descriptions say which.
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"bearer": []}],
    }


def _models(operations: Iterable[Operation]) -> Iterable[Key]:
    seen: dict[Key, None] = {}
    for one in operations:
        if one.body is not None:
            seen[one.body.model, "validation"] = None
        for answer in one.answers.values():
            if "model" in answer:
                seen[answer["model"], "serialization"] = None
    return seen


def _operation(one: Operation, schemas: Mapping[Any, Schema]) -> Schema:
    described: Schema = {
        "tags": [one.tag],
        "operationId": one.name,
        "summary": one.name.replace("_", " ").capitalize(),
        "description": one.description,
        "responses": {
            str(status): _answer(answer, schemas) for status, answer in one.answers.items()
        },
    }
    parameters = list(_parameters(one))
    if parameters:
        described["parameters"] = parameters
    if one.body is not None:
        content = {JSON: {"schema": schemas[one.body.model, "validation"]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _answer(answer: Mapping[str, Any], schemas: Mapping[Any, Schema]) -> Schema:
    described = {name: value for name, value in answer.items() if name != "model"}
    if "model" in answer:
        content = dict(described.get("content", {}))
        schema = {"schema": schemas[answer["model"], "serialization"]}
        described["content"] = {**content, JSON: {**content.get(JSON, {}), **schema}}
    return described


def _parameters(one: Operation) -> Iterable[Schema]:
    fields = one.parameters.model_json_schema(ref_template=REF)
    for name, field in one.parameters.model_fields.items():
        schema = _without_null(fields["properties"][name])
        parameter: Schema = {"name": name, "in": "query", "required": field.is_required()}
        header = next((mark for mark in field.metadata if isinstance(mark, Header)), None)
        if header is not None:
            parameter |= {"name": header.name, "in": "header"}
        elif f"{{{name}}}" in one.path:
            parameter |= {"in": "path"}
        if field.description is not None:
            parameter["description"] = field.description
            schema.pop("description", None)
        yield {**parameter, "schema": schema}


def _without_null(schema: Schema) -> Schema:
    """What is left out is null to the code; no client sends a null."""
    schema = {name: value for name, value in schema.items() if name != "title"}
    if schema.get("default", "") is None:
        del schema["default"]
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema = {**choices[0], **schema}
    return schema
