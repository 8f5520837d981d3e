"""Finding the operations of a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.web.operation import Operation


class Found(NamedTuple):
    """The operations of a path by method, and the values in the path."""

    methods: Mapping[str, Operation]
    values: Mapping[str, str]


class _Shape(NamedTuple):
    """The operations of a path with parameters, by method, and the parameters' names."""

    methods: Mapping[str, Operation]
    names: tuple[str, ...]


# Paths with parameters whose operations are remembered, about 700 bytes each.
FOUND_MAX = 20_000

_NO_SHAPES: Mapping[tuple[int, ...], Mapping[str, _Shape]] = {}


class Routes:
    """Operations by path; paths without parameters take precedence."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        by_path: dict[str, dict[str, Operation]] = {}
        for one in operations:
            by_path.setdefault(one.path, {})[one.method] = one
        self._exact = {path: Found(by, {}) for path, by in by_path.items() if "{" not in path}
        # By the number of slashes, then by the places of the parameters, then by the path without
        # the names of the parameters.
        self._shapes: dict[int, dict[tuple[int, ...], dict[str, _Shape]]] = {}
        for path, methods in by_path.items():
            if path not in self._exact:
                parts = path.split("/")
                places = tuple(place for place, part in enumerate(parts) if part[:1] == "{")
                names = tuple(parts[place][1:-1] for place in places)
                shapes = self._shapes.setdefault(path.count("/"), {}).setdefault(places, {})
                shapes[_without(parts, places)] = _Shape(methods, names)
        self._found: dict[str, Found] = {}

    def find(self, path: str) -> Found | None:
        found = self._exact.get(path) or self._found.get(path)
        if found is None:
            found = self._search(path)
            if found is not None:
                if len(self._found) >= FOUND_MAX:
                    self._found.clear()
                self._found[path] = found
        return found

    def _search(self, path: str) -> Found | None:
        for places, shapes in self._shapes.get(path.count("/"), _NO_SHAPES).items():
            parts = path.split("/")
            values = [parts[place] for place in places]
            shape = shapes.get(_without(parts, places))
            if shape is not None and all(values) and path.isprintable():
                return Found(shape.methods, dict(zip(shape.names, values, strict=True)))
        return None


def _without(parts: list[str], places: tuple[int, ...]) -> str:
    """Return a path with `{}` in place of its parameters."""
    for place in places:
        parts[place] = "{}"
    return "/".join(parts)
