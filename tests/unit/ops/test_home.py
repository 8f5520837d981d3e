"""Folders that may become a home, and where a home's sockets are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.home.access import access_of, owner_settings
from ops.home.folder import Home, write_private


def _mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_a_folder_with_other_content_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("Dear")
    with pytest.raises(OperatorError, match="not Starfold's"):
        Home(folder).create()
    assert _mode(folder) == 0o755
    assert os.listdir(folder) == ["letter.txt"]  # noqa: PTH208  # Names are what is compared.


def test_an_empty_folder_and_a_home_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    for _ in range(2):
        home = Home(folder)
        home.create()
        assert _mode(folder) == 0o700
        home.secrets()
        (folder / "postgres.log").touch()


@pytest.mark.parametrize("name", ["a,b", "it's", 'say "so"', "back\\slash", "line\nbreak"])
def test_sockets_are_elsewhere_where_the_path_has_a_meaning_of_its_own(
    tmp_path: Path, name: str
) -> None:
    home = Home(tmp_path / name)
    home.create()
    sockets = home.sockets()
    assert not sockets.is_relative_to(home.path)
    assert _mode(sockets) == 0o700
    assert Home(tmp_path / name).sockets() == sockets
    sockets.rmdir()


def test_two_writers_of_a_file_do_not_share_a_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sync = tmp_path / "secrets.json", os.fsync

    def sync_beside_another_writer(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_private(file, b"second")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_beside_another_writer)
    write_private(file, b"first")
    assert file.read_bytes() == b"first"
    assert _mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_one_rotation_at_a_time(tmp_path: Path) -> None:
    with (
        Home(tmp_path).rotation(),
        pytest.raises(OperatorError, match="another rotation"),
        Home(tmp_path).rotation(),
    ):
        pass
    with Home(tmp_path).rotation():
        pass


@pytest.mark.parametrize(
    ("settings", "instead"),
    [(access_of, "STARFOLD_COMMAND_URL, STARFOLD_QUERY_URL"), (owner_settings, "STARFOLD_OWNER")],
)
def test_without_a_home_the_settings_that_replace_it_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Callable[[Home], object],
    instead: str,
) -> None:
    for name in ("STARFOLD_DATABASE_URL", "STARFOLD_OWNER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OperatorError, match=f"there is no Starfold in .*, or set {instead}"):
        settings(Home(tmp_path))
