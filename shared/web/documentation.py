"""The table of operations as FastAPI documents it. FastAPI never answers one of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, get_type_hints

from fastapi import FastAPI, Response
from pydantic import BaseModel

from shared.web.operation import Operation


def document(app: FastAPI, operations: Iterable[Operation]) -> None:
    """Register each operation, for `/openapi.json` and for redirects of paths with a last slash."""
    for operation in operations:
        app.add_api_route(
            operation.path,
            _endpoint(operation),
            methods=[operation.method],
            status_code=operation.status,
            tags=list(operation.tags),
            responses=dict(operation.responses),
            **{"response_model": None, **operation.documented},
        )


def _endpoint(operation: Operation) -> Any:
    async def endpoint(**_values: object) -> Response:
        raise LookupError(f"{operation.path} is answered by the pipeline")

    endpoint.__name__ = operation.answer.__name__
    endpoint.__doc__ = operation.answer.__doc__
    parameters = list(_parameters(operation))
    # FastAPI reads the annotations from here.
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return endpoint


def _parameters(operation: Operation) -> Iterator[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    model: type[BaseModel] | None = operation.parameters
    if model is not None:
        hints = get_type_hints(model, include_extras=True)
        for name, field in model.model_fields.items():
            default = inspect.Parameter.empty if field.is_required() else field.default
            yield inspect.Parameter(name, kind, default=default, annotation=hints[name])
    if operation.body is not None:
        yield inspect.Parameter("body", kind, annotation=operation.body.model)
