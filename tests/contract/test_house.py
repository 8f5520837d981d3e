"""The rules of the house: what may import what."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMPORT_LINTER = PYPROJECT["tool"]["importlinter"]
PACKAGES: list[str] = IMPORT_LINTER["root_packages"]
CONTRACTS: list[dict[str, Any]] = IMPORT_LINTER["contracts"]

Import = tuple[str, str]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_an_import_against_a_contract_fails_the_build(
    contract: dict[str, Any], tmp_path: Path
) -> None:
    importer, imported = violation(contract)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=only_python)
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
