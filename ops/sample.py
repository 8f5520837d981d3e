"""Fetch the MovieLens 100K files and import them into a running Starfold: `python -m ops.sample`.

The files come inside a wheel of a recommender library, from the package index that pip uses. Their
licence forbids redistribution, so they are stored in the home only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from ops.cli import INTERRUPTED
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.imports.importer import Order, run
from shared.errors import Misconfigured
from shared.process.logs import configure_logging
from shared.process.settings import Settings, settings_from_environment

NAME = "ml-100k"
PACKAGE = "recbole==1.2.1"
FOLDER_IN_WHEEL = f"recbole/dataset_example/{NAME}/"
SUFFIXES = ("inter", "item", "user")


def sample(home: Annotated[Path, typer.Option("--home")] = Path(".starfold")) -> None:
    """Fetch the files once, then import them."""
    try:
        configure_logging(settings_from_environment(Settings), process="sample")
        local = Home(home)
        run(local, Order("movielens", fetched(local.path / NAME)), None)
    except (OperatorError, Misconfigured) as error:
        sys.exit(f"starfold: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def fetched(folder: Path) -> Path:
    """Return the folder of the files; raise `OperatorError` if they cannot be downloaded."""
    if all((folder / f"{NAME}.{suffix}").exists() for suffix in SUFFIXES):
        return folder
    if not folder.parent.exists():
        raise OperatorError(f"there is no Starfold in {folder.parent}: start it with `make run`")
    with tempfile.TemporaryDirectory(dir=folder.parent) as drawer:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            drawer,
            PACKAGE,
        ]
        downloaded = subprocess.run(pip, check=False)
        wheels = list(Path(drawer).glob("*.whl"))
        if downloaded.returncode != 0 or not wheels:
            raise OperatorError(f"pip could not download {PACKAGE}, which holds the ratings")
        _unpack(wheels[0], folder)
    return folder


def _unpack(wheel: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for suffix in SUFFIXES:
            name = f"{NAME}.{suffix}"
            (folder / name).write_bytes(archive.read(FOLDER_IN_WHEEL + name))


if __name__ == "__main__":
    typer.run(sample)
