"""Values of forms, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.datastructures import FormData

from starfold_client.errors import FieldProblem


class FormErrors(Exception):
    """Values that a form has to ask for again, by the names of its fields."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


def text(form: FormData, name: str) -> str:
    """Return a field's text; a missing field and a file are empty."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def missing(filled: Mapping[str, str], demands: Mapping[str, str]) -> dict[str, str]:
    """Return the demand of each field that is empty."""
    return {name: demands[name] for name, value in filled.items() if not value}


def by_field(problems: Sequence[FieldProblem], names: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with each field; what concerns no field comes at the first one."""
    errors: dict[str, str] = {}
    for problem in problems:
        name = problem.pointer.rpartition("/")[2]
        errors.setdefault(name if name in names else names[0], problem.detail)
    return errors or {names[0]: "This cannot be accepted."}
