"""The workflows of the code host: what they use, and what a release publishes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda one: one.stem)
def test_each_action_is_pinned_by_its_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one), one


def test_a_release_has_a_wheel_of_the_client() -> None:
    """The wheel has every folder of the package, and its types."""
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    commands = "\n".join(step.get("run", "") for step in release["jobs"]["client"]["steps"])
    assert "pip wheel --no-deps --no-index --no-build-isolation" in commands
    assert "client/pyproject.toml" in commands
    project = tomllib.loads((ROOT / "client/pyproject.toml").read_text())
    folders = {
        ".".join(file.parent.relative_to(ROOT / "client").parts)
        for file in (ROOT / "client/starfold_client").rglob("*.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == folders
    assert project["tool"]["setuptools"]["package-data"] == {"starfold_client": ["py.typed"]}


def test_a_release_has_images_for_both_processors_with_their_origin() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = release["jobs"]["image"]["steps"]
    (build,) = (one["with"] for one in steps if "build-push-action" in one.get("uses", ""))
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    assert build["push"] is True
