"""The steps of a rotation: each is taken once, in order, and no key is lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from ops.commands import keys
from ops.errors import OperatorError
from ops.home.folder import Home, Secrets
from ops.home.rotation import TOKENS_EXPIRED_AFTER, Kind, keys_in_use, promoted, rotated

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.fixture
def own(tmp_path: Path) -> Secrets:
    home = Home(tmp_path)
    home.secrets()
    home.replace_secrets(home.secrets())
    return home.secrets()


def test_the_sealing_key_moves_to_the_second_place_and_is_kept_at_the_end(own: Secrets) -> None:
    prepared = rotated(own, "sealing", "prepare")
    assert prepared.sealing_key == own.sealing_key
    new = prepared.second_sealing_key
    assert new not in ("", own.sealing_key)
    swapped = rotated(prepared, "sealing", "promote")
    assert (swapped.sealing_key, swapped.second_sealing_key) == (new, own.sealing_key)
    finished = rotated(swapped, "sealing", "finish")
    assert (finished.sealing_key, finished.second_sealing_key) == (new, "")
    assert finished.retired_sealing_keys == own.sealing_key
    again = rotated(promoted(finished, "sealing"), "sealing", "finish")
    assert again.retired_sealing_keys.split() == [own.sealing_key, new]


def test_the_token_key_signs_only_once_it_is_promoted(own: Secrets) -> None:
    prepared = rotated(own, "token", "prepare", now=NOW)
    assert prepared.token_private_key == own.token_private_key
    assert prepared.token_public_key == own.token_public_key
    swapped = rotated(prepared, "token", "promote", now=NOW)
    assert swapped.token_public_key == prepared.second_token_public_key
    assert swapped.second_token_public_key == own.token_public_key
    assert swapped.token_private_key == prepared.next_token_private_key
    with pytest.raises(OperatorError, match="valid until 12:16:00 UTC"):
        rotated(swapped, "token", "finish", now=NOW + timedelta(minutes=15))
    finished = rotated(swapped, "token", "finish", now=NOW + TOKENS_EXPIRED_AFTER)
    assert finished.second_token_public_key == finished.next_token_private_key == ""
    assert finished.token_private_key == swapped.token_private_key


@pytest.mark.parametrize("kind", ["sealing", "token"])
def test_a_step_that_was_taken_is_not_taken_again_and_none_is_left_out(
    own: Secrets, kind: Kind
) -> None:
    assert rotated(own, kind, "finish") == own
    with pytest.raises(OperatorError, match="is not under way"):
        rotated(own, kind, "promote")
    prepared = rotated(own, kind, "prepare")
    assert rotated(prepared, kind, "prepare") == prepared
    with pytest.raises(OperatorError, match="is prepared"):
        rotated(prepared, kind, "finish")
    swapped = rotated(prepared, kind, "promote")
    assert rotated(swapped, kind, "promote") == swapped == promoted(swapped, kind)
    with pytest.raises(OperatorError, match="is promoted"):
        rotated(swapped, kind, "prepare")


def test_services_restart_for_every_step_but_for_a_sealing_key_that_is_dropped(
    own: Secrets,
) -> None:
    steps = [own]
    for kind, step in (
        ("sealing", "prepare"),
        ("sealing", "promote"),
        ("token", "prepare"),
        ("token", "promote"),
    ):
        steps.append(rotated(steps[-1], kind, step))  # type: ignore[arg-type]
    assert len({keys_in_use(one) for one in steps}) == len(steps)
    last = steps[-1]
    assert keys_in_use(rotated(last, "sealing", "finish")) == keys_in_use(last)


def test_a_token_rotation_goes_on_where_it_ended_before_the_services_had_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time until the old key is dropped begins once the services sign with the new one."""
    monkeypatch.setattr(keys, "RESTARTED_WITHIN_S", 0)
    home = Home(tmp_path)
    before = home.secrets()

    def services_restart() -> None:
        home.keys_in_use.write_text(keys_in_use(home.secrets()))

    services_restart()
    for _ in range(2):
        home.keys_wanted.unlink(missing_ok=True)
        with pytest.raises(OperatorError, match="repeat this command"):
            keys.rotate_token(home)
        assert home.keys_wanted.read_text() == keys_in_use(home.secrets())
        assert home.secrets().tokens_promoted_at == ""
    services_restart()
    keys.rotate_token(home)
    own = home.secrets()
    assert own.second_token_public_key == before.token_public_key
    with pytest.raises(OperatorError, match="valid until"):
        keys.rotate_token(home)
    home.replace_secrets(replace(own, tokens_promoted_at=NOW.isoformat()))
    with pytest.raises(OperatorError, match="repeat this command"):
        keys.rotate_token(home)
    services_restart()
    keys.rotate_token(home)
    ended = home.secrets()
    assert (ended.tokens_rotation, ended.second_token_public_key) == ("", "")
    assert ended.token_private_key == own.token_private_key
