"""Valkey's files: whatever is in them, it starts, and what was damaged is kept and named."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from ops.home.folder import Home
from ops.home.set_aside import SET_ASIDE_MAX, all_set_aside
from ops.local.servers import valkey_spec
from ops.local.valkey_files import SNAPSHOT, check_snapshot
from tests.support.servers import Server
from tests.support.system import eventually

ROOT = Path(__file__).parents[3]
KEYS = 200
DAMAGES = 60


class Valkey(Server):
    """A Valkey in a home of its own, with some values of each type."""

    def __init__(self, home: Home) -> None:
        super().__init__(valkey_spec(home))
        self.home = home
        self.snapshot = home.valkey_data / SNAPSHOT

    def ask(self, do: Callable[[Any], object]) -> Any:
        client = redis.Redis.from_url(self.home.redis_url())
        try:
            return do(client)
        finally:
            client.close()

    def fill(self) -> None:
        def fill(client: Any) -> None:
            for number in range(KEYS):
                client.set(f"document:{number}", f'{{"number":{number}}}' * 20)
                client.zadd("set", {f"member {number}": number})
                client.hset("hash", f"field {number}", "a review")
                client.xadd("stream", {"movie": f"{number}"})

        self.ask(fill)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    folder = Path(tempfile.mkdtemp(prefix="sf-valkey-"))
    home = Home(folder / "home")
    home.create()
    one = Valkey(home)
    one.start()
    one.fill()
    try:
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


def _flip(content: bytearray, draw: random.Random) -> bytearray:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def _block(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content))
    content[at : at + 512] = draw.choice([bytes(512), draw.randbytes(512)])
    return content


def _cut(content: bytearray, draw: random.Random) -> bytearray:
    return content[: draw.randrange(len(content))]


def test_a_stop_keeps_everything(valkey: Valkey) -> None:
    valkey.stop()
    valkey.start()
    assert valkey.ask(lambda client: client.dbsize()) == KEYS + 3
    assert all_set_aside(valkey.home) == []


def test_every_damage_to_a_snapshot_is_noticed(valkey: Valkey) -> None:
    valkey.stop()
    sound = valkey.snapshot.read_bytes()
    binary = Path(valkey_spec(valkey.home).argv[0])
    assert check_snapshot(binary, valkey.snapshot) is None
    draw = random.Random(13)
    damaged = valkey.home.path / "damaged.rdb"
    for number in range(DAMAGES):
        content = [_flip, _block, _cut][number % 3](bytearray(sound), draw)
        damaged.write_bytes(content)
        assert bytes(content) == sound or check_snapshot(binary, damaged) is not None
    # Valkey itself checks nothing where the version is old or the checksum is zero.
    for weak in (b"REDIS0001" + sound[9:], sound[:-8] + bytes(8)):
        damaged.write_bytes(weak)
        assert check_snapshot(binary, damaged) is not None


@pytest.mark.parametrize("damage", [_flip, _block, _cut])
def test_it_starts_empty_from_a_damaged_snapshot_which_is_kept_and_named(
    valkey: Valkey, damage: Callable[[bytearray, random.Random], bytearray]
) -> None:
    valkey.stop()
    content = damage(bytearray(valkey.snapshot.read_bytes()), random.Random(5))
    valkey.snapshot.write_bytes(content)
    valkey.start()
    assert valkey.ask(lambda client: client.dbsize()) == 0
    (kept,) = all_set_aside(valkey.home)
    assert (kept.path / SNAPSHOT).read_bytes() == content
    assert kept.reason


def test_it_starts_again_by_itself_after_a_kill_with_its_file_damaged(valkey: Valkey) -> None:
    valkey.ask(lambda client: client.save())
    valkey.snapshot.write_bytes(b"nonsense" * 100)
    valkey.kill()
    valkey.start()
    assert valkey.ask(lambda client: client.dbsize()) == 0
    assert len(all_set_aside(valkey.home)) == 1


def test_a_killed_one_goes_back_to_its_last_snapshot(valkey: Valkey) -> None:
    valkey.ask(lambda client: client.save())
    valkey.ask(lambda client: client.set("later", "x"))
    valkey.kill()
    valkey.start()
    assert valkey.ask(lambda client: client.get("document:7")) is not None
    assert valkey.ask(lambda client: client.get("later")) is None


def test_the_files_of_a_release_that_kept_an_append_only_file_are_dropped(
    valkey: Valkey,
) -> None:
    valkey.stop()
    append_only = valkey.home.valkey_data / "appendonlydir"
    append_only.mkdir()
    (append_only / "appendonly.aof.1.incr.aof").write_bytes(b"*2\r\n$6\r\nSELEC")
    valkey.start()
    assert not append_only.exists()


def test_its_configuration_may_be_damaged_too(valkey: Valkey) -> None:
    valkey.stop()
    (valkey.home.valkey_data / "valkey.conf").write_bytes(b"\0\0 nonsense")
    valkey.start()
    assert valkey.ask(lambda client: client.dbsize()) == KEYS + 3


def test_its_folder_may_be_gone(valkey: Valkey) -> None:
    valkey.stop()
    shutil.rmtree(valkey.home.valkey_data)
    valkey.start()
    assert valkey.ask(lambda client: client.dbsize()) == 0


def test_a_snapshot_that_cannot_be_written_stops_no_writes(valkey: Valkey) -> None:
    valkey.snapshot.unlink(missing_ok=True)
    valkey.snapshot.mkdir()
    valkey.ask(lambda client: client.bgsave())

    def refused(client: Any) -> bool:
        return bool(client.info("persistence")["rdb_last_bgsave_status"] == "err")

    eventually(lambda: valkey.ask(refused))
    assert valkey.ask(lambda client: client.set("written", "all the same"))
    # A server that cannot write its snapshot does not stop on request.
    valkey.snapshot.rmdir()


class TestWhatIsSetAside:
    def test_is_bounded_in_number(self, valkey: Valkey) -> None:
        for _ in range(SET_ASIDE_MAX + 2):
            valkey.stop()
            valkey.snapshot.write_bytes(b"nonsense")
            valkey.start()
        assert len(all_set_aside(valkey.home)) == SET_ASIDE_MAX

    def test_is_deleted_after_an_erasure(self, valkey: Valkey) -> None:
        """It holds whom the read models held, also who was erased since."""
        valkey.stop()
        valkey.snapshot.write_bytes(b"nonsense")
        valkey.start()
        assert len(all_set_aside(valkey.home)) == 1
        valkey.home.erasure_ledger.touch()
        valkey.stop()
        valkey.start()
        assert all_set_aside(valkey.home) == []

    def test_is_deleted_after_a_week(self, valkey: Valkey) -> None:
        old = datetime.now(UTC) - timedelta(days=8)
        folder = valkey.home.set_aside / f"{old:%Y%m%dT%H%M%S.%fZ}"
        folder.mkdir(parents=True)
        (folder / "reason").write_text("long ago")
        valkey.stop()
        valkey.start()
        assert all_set_aside(valkey.home) == []


def test_in_compose_a_damaged_snapshot_is_set_aside_too(valkey: Valkey) -> None:
    valkey.stop()
    sound = valkey.snapshot.read_bytes()
    folder = valkey.home.path / "data"
    folder.mkdir()
    snapshot = folder / SNAPSHOT
    snapshot.write_bytes(sound)
    _start_as_in_compose(valkey, folder)
    assert snapshot.read_bytes() == sound
    assert not (folder / "set-aside").exists()
    snapshot.write_bytes(_flip(bytearray(sound), random.Random(3)))
    (folder / "appendonlydir").mkdir()
    _start_as_in_compose(valkey, folder)
    assert not snapshot.exists()
    assert len(list((folder / "set-aside").iterdir())) == 1
    assert not (folder / "appendonlydir").exists()


def _start_as_in_compose(valkey: Valkey, folder: Path) -> None:
    """Run the start script of the compose file's Redis, whose server is replaced by `true`."""
    service = (ROOT / "docker-compose.yml").read_text().partition("\n  redis:\n")[2]
    script = service.partition("- |\n")[2].partition("    ports:")[0].partition("    volumes:")[0]
    programs = folder.with_name("programs")
    programs.mkdir(exist_ok=True)
    checker = programs / "redis-check-rdb"
    checker.unlink(missing_ok=True)
    checker.symlink_to(valkey_spec(valkey.home).argv[0])
    script = script.replace("$$", "$").replace("/data", str(folder))
    subprocess.run(
        ["sh", "-c", script.replace("exec redis-server", "exec true")],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        check=True,
        timeout=60,
    )
