"""The rules of the house: what may import what, and how large its rooms may grow."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMPORT_LINTER = PYPROJECT["tool"]["importlinter"]
PACKAGES: list[str] = IMPORT_LINTER["root_packages"]
CONTRACTS: list[dict[str, Any]] = IMPORT_LINTER["contracts"]

SERVICES = [
    "command_api",
    "console",
    "ops",
    "pages",
    "projector",
    "query_api",
    "shared",
    "starfold_client",
    "web",
]
MODULES_MAX = 12
LEVELS_MAX = 8

Import = tuple[str, str]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_an_import_against_a_contract_fails_the_build(
    contract: dict[str, Any], tmp_path: Path
) -> None:
    importer, imported = violation(contract)
    for package in PACKAGES:
        shutil.copytree(folder_of(package), tmp_path / package, ignore=only_python)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with module_file(tmp_path, importer).open("a") as module:
        module.write(f"\nimport {imported}\n")
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 1, linted.stdout
    assert f"{contract['name']} BROKEN" in linted.stdout, linted.stdout


@pytest.mark.parametrize("package", SERVICES)
def test_a_folder_has_at_most_twelve_modules(package: str) -> None:
    modules = Counter(
        str(module.parent.relative_to(ROOT))
        for module in folder_of(package).rglob("*.py")
        if module.name != "__init__.py"
    )
    assert {folder: count for folder, count in modules.items() if count > MODULES_MAX} == {}


@pytest.mark.parametrize("package", SERVICES)
def test_the_rooms_of_a_service_have_at_most_eight_levels_and_no_circle(package: str) -> None:
    below = _rooms_below(package)
    levels: dict[str, int] = {}
    while len(levels) < len(below):
        # A room whose own rooms have their levels; none is left where there is a circle.
        ready = [one for one in below if one not in levels and below[one] <= levels.keys()]
        assert ready, f"a circle among {sorted(below.keys() - levels.keys())}"
        levels |= {one: 1 + max(map(levels.__getitem__, below[one]), default=0) for one in ready}
    assert max(levels.values(), default=0) <= LEVELS_MAX


def _rooms_below(package: str) -> dict[str, set[str]]:
    """Return the folders and modules of a package, and the ones that each imports."""
    graph = grimp.build_graph(package)
    rooms = {room: {room, *graph.find_descendants(room)} for room in graph.find_children(package)}
    return {
        room: {
            other
            for other, theirs in rooms.items()
            if other != room
            and any(theirs & graph.find_modules_directly_imported_by(one) for one in modules)
        }
        for room, modules in rooms.items()
    }


def violation(contract: dict[str, Any]) -> Import:
    """Return an import that a contract forbids, as its own options say."""
    ignored = set(contract.get("ignore_imports", []))
    return next(
        (importer, imported)
        for importer, imported in _forbidden(contract)
        if f"{importer} -> {imported}" not in ignored
    )


def _forbidden(contract: dict[str, Any]) -> Iterator[Import]:
    match contract["type"]:
        case "forbidden":
            forbidden = [_plain(module) for module in contract["forbidden_modules"]]
            yield from product(map(_plain, contract["source_modules"]), forbidden)
        case "independence":
            first, second, *_ = map(_plain, contract["modules"])
            yield first, second
        case "layers":
            prefix = f"{_plain(contract['containers'][0])}." if "containers" in contract else ""
            highest, *_, lowest = contract["layers"]
            yield prefix + _layer_module(lowest), prefix + _layer_module(highest)
        case other:
            raise AssertionError(f"write down what breaks a contract of the type {other}")


def folder_of(package: str) -> Path:
    """Return the folder of a package: the client's is in a project of its own."""
    return ROOT / "client" / package if package == "starfold_client" else ROOT / package


def module_file(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def only_python(folder: str, names: list[str]) -> list[str]:
    """Name what is no Python source, for `copytree` to leave out."""
    return [n for n in names if not n.endswith(".py") and not Path(folder, n).is_dir()]


def _plain(module: str) -> str:
    """Return a module that an expression with wildcards at its end matches, or holds."""
    return module.removesuffix(".**").removesuffix(".*")


def _layer_module(layer: str) -> str:
    """Return the first module of a layer, which may be optional and have siblings."""
    return layer.replace(":", "|").split("|")[0].strip(" ()")
