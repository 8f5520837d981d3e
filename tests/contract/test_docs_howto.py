"""The guides of `docs/howto` fit the code; `tests/acceptance/test_howto.py` does what they say."""

from __future__ import annotations

import re

import pytest

from tests.support.guide import GUIDES, ROOT, Follower, before, blocks


@pytest.mark.parametrize("guide", GUIDES)
def test_every_block_of_a_guide_applies(guide: str) -> None:
    with Follower() as follower:
        for one in before(guide):
            follower.follow(one, commands=False)


def test_the_migration_of_the_guide_has_the_next_number() -> None:
    made = [one.information for one in blocks("migration") if one.language == "sql"]
    known = sorted(file.name for file in (ROOT / "shared/log/migrations").iterdir())
    (number,) = re.findall(r"/(\d+)_\w+\.sql$", "\n".join(made))
    assert int(number) == int(known[-1][:4]) + 1, f"docs/howto/migration.md: after {known[-1]}"


def test_every_guide_is_listed() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (ROOT / "docs/howto/README.md").read_text())
    assert sorted(listed) == GUIDES


def test_a_block_that_fits_nowhere_is_named() -> None:
    with Follower() as follower:
        rules = follower.folder / "shared/log/upcasts.py"
        rules.write_text(rules.read_text().replace("UPCASTS: Upcasts", "UPCASTS_NOW: Upcasts"))
        follower.follow("event", commands=False)
        with pytest.raises(AssertionError, match=r"docs/howto/upcast\.md, the block at line \d+"):
            follower.follow("upcast", commands=False)
