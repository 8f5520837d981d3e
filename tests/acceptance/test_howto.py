"""The guides of `docs/howto`, followed to the letter in a copy of the repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.guide import GUIDES, ROOT, Follower, before

LIMITS = "tests/contract/test_docs_limits.py"


@pytest.fixture
def follower() -> Iterator[Follower]:
    with Follower() as made:
        yield made


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_leads_to_what_it_promises(follower: Follower, guide: str) -> None:
    """Each from a fresh copy, after the guide that it builds on."""
    for earlier in before(guide)[:-1]:
        follower.follow(earlier, commands=False)
    follower.follow(guide)


def test_what_the_guides_make_passes_the_checks(follower: Follower) -> None:
    """All of them one after the other, so that none is in the way of another."""
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", follower.folder / ".mypy_cache")
    followed: list[str] = []
    for guide in GUIDES:
        for one in before(guide):
            if one not in followed:
                follower.follow(one, commands=False)
                followed.append(one)
    changed = sorted(path for path in follower.changed if path.endswith(".py"))
    for command in (
        ("ruff", "check", *changed),
        ("ruff", "format", "--check", *changed),
        ("mypy", *changed),
        ("lint-imports",),
        ("python", "-m", "pytest", "tests/contract/test_docs.py", LIMITS),
    ):
        done = follower.run(f".venv/bin/{command[0]}", *command[1:])
        assert done.returncode == 0, f"{command}\n{done.stdout}"
