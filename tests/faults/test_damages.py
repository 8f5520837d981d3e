"""Valkey's files and values are damaged at random: Starfold starts, is never wrong, and heals.

`STARFOLD_DAMAGES` says how many there are, 200 without it.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import redis

from ops.local.valkey_files import SNAPSHOT
from tests.faults.load import Load
from tests.faults.oracle import Oracle
from tests.support.faults.process_tree import kill_all
from tests.support.local_starfold import Local

DAMAGES = int(os.environ.get("STARFOLD_DAMAGES", "200"))
SEED = int(os.environ.get("STARFOLD_DAMAGES_SEED", "21"))
ROWS_MIN = 3_000
HEALED_WITHIN_S = 60.0
BLOCK_BYTES_MAX = 4_096
# In ten damages: values of the running system, files of the running one, files of the stopped one.
KINDS = ["value"] * 5 + ["file"] * 3 + ["stopped"] * 2
LISTS = [
    "/v1/movies?sort=count&limit=100",
    "/v1/movies?sort=weighted&limit=20",
    "/v1/movies?q=film&limit=50",
]


@pytest.fixture
def oracle(local: Local) -> Iterator[Oracle]:
    with Load(local, seed=8) as load:
        while load.rows < ROWS_MIN:
            assert load.failed is None, load.failed
            time.sleep(0.1)
    with local.client() as client:
        head = client.command_ready().position
        client.caller.note(head)
        for movie in load.movies:
            scores = [s for (_, rated), s in load.acknowledged.items() if rated == movie]
            assert client.get_movie(movie).ratings.count == len(scores)
    paths = [
        *(
            f"/v1/movies/{movie}{part}"
            for movie in load.movies
            for part in ("", "/ratings", "/stats", "/history")
        ),
        *(
            f"/v1/users/{user}{part}"
            for user in load.users
            for part in ("", "/ratings", "/ratings?changed_since=0&limit=100")
        ),
        *LISTS,
    ]
    made = Oracle(local, paths, head)
    yield made
    made.close()


def _damage_file(file: Path, draw: random.Random) -> str:
    """A bit, a block of zeros or of anything, or a cut; returns which."""
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    kind = draw.choice(["bit", "byte", "block", "zeros", "cut", "empty"])
    match kind:
        case "bit":
            content[at] ^= 1 << draw.randrange(8)
        case "byte":
            content[at] = (content[at] + draw.randrange(1, 256)) % 256
        case "block":
            length = draw.randrange(1, BLOCK_BYTES_MAX)
            content[at : at + length] = draw.randbytes(length)
        case "zeros":
            length = draw.randrange(1, BLOCK_BYTES_MAX)
            content[at : at + length] = bytes(length)
        case "cut":
            del content[at:]
        case _:
            content.clear()
    file.write_bytes(content)
    return kind


def _damage_value(client: Any, draw: random.Random) -> str:
    """A byte or a block of a string, or a field of a hash; returns of which kind of key."""
    while True:
        key = draw.choice(sorted(client.scan_iter(match="sf:*", count=10_000)))
        match client.type(key):
            case b"string" if client.strlen(key):
                at = draw.randrange(client.strlen(key))
                length = draw.choice([1, 1, 1, 16])
                client.setrange(key, at, draw.randbytes(length))
            case b"hash":
                field = draw.choice(sorted(client.hkeys(key)))
                client.hset(key, field, draw.randbytes(12))
            case _:
                continue
        name: str = key.decode(errors="replace").rpartition("}:")[2]
        return name.partition(":")[0] if not name.startswith("sf:") else name


def _kill_valkey(local: Local) -> None:
    process = local.supervised("valkey-server")
    if process is not None:
        kill_all([process])


def _hurt(local: Local, kind: str, draw: random.Random) -> str:
    """Do one damage; returns what it was."""
    snapshot = local.home.valkey_data / SNAPSHOT
    if kind == "stopped":
        local.stop()
        what = _damage_file(snapshot, draw) if snapshot.exists() else "no file"
        local.up()
        return what
    client: Any = redis.Redis.from_url(local.home.redis_url())
    try:
        if kind == "value":
            return _damage_value(client, draw)
        client.save()
        what = _damage_file(snapshot, draw)
    finally:
        client.close()
    _kill_valkey(local)
    return what


@pytest.mark.timeout(3_600)
def test_every_damage_heals_and_none_is_served(local: Local, oracle: Oracle) -> None:
    draw = random.Random(SEED)
    seconds: dict[str, list[float]] = {"value": [], "file": [], "stopped": []}
    never: list[str] = []
    wrong_after = ""
    done: Counter[str] = Counter()
    for number in range(DAMAGES):
        kind = KINDS[number % len(KINDS)]
        started = time.monotonic()
        what = _hurt(local, kind, draw)
        done[f"{kind}: {what}"] += 1
        healed = oracle.seconds_until_right(HEALED_WITHIN_S)
        if oracle.wrong and not wrong_after:
            wrong_after = f"{number} {kind}: {what}"
        if healed is None:
            never.append(f"{number} {kind}: {what}")
        else:
            seconds[kind].append(time.monotonic() - started)
    status = local.run("status")
    # What nobody reads is damaged still.
    repaired = local.run("verify", "--repair")
    verified = local.run("verify")
    print(f"first wrong answer after: {wrong_after or 'none'}")
    print(f"\n{DAMAGES} damages: {dict(sorted(done.items()))}")
    print(f"answers: {dict(oracle.answers)}; not healed within {HEALED_WITHIN_S:.0f} s: {never}")
    for kind, all_of_them in seconds.items():
        if all_of_them:
            print(
                f"{kind}: right again after {median(all_of_them):.1f} s (median),"
                f" {max(all_of_them):.1f} s (maximum), the start and the reading included"
            )
    print(f"verify --repair: {repaired.stdout.strip().splitlines()[-3:]}")
    print(status.stdout)
    assert oracle.wrong == [], "\n".join(oracle.wrong[:20])
    assert never == []
    assert "set aside at" in status.stdout
    assert verified.returncode == 0, verified.stdout
