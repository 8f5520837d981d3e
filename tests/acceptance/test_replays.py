"""Replays of a local Starfold that is read, was killed, or gets Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import redis

from starfold_client import NewMovie
from tests.support.local_starfold import Local, starfold
from tests.support.scenarios.expected_statistics import differences
from tests.support.scenarios.synthetic_movielens import write_movielens
from tests.support.system import eventually

DAY_S = 86_400


def test_nothing_acknowledged_is_lost_when_everything_is_killed(local: Local, folder: Path) -> None:
    """During an import, with Redis's data deleted too; then every projection is replayed."""
    first = write_movielens(folder / "first", seed=1)
    second = write_movielens(folder / "second", seed=2, later_s=DAY_S)
    local.up()
    assert local.run("import", "movielens", str(first)).returncode == 0
    with local.client() as client:
        assert differences(client, first) == []

    running = subprocess.Popen(
        starfold("import", "movielens", str(second), "--home", str(local.home.path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with local.client() as client:
        before = client.command_ready().position
        while client.command_ready().position == before:
            assert running.poll() is None
    local.kill_everything()
    shutil.rmtree(local.home.valkey_data)
    local.up()
    assert running.wait(60) == 0, "the import has patience with a restart"

    again = local.run("import", "movielens", str(second))
    assert again.returncode == 0
    assert "ratings unchanged 2,400" in " ".join(again.stdout.replace("│", " ").split())
    with local.client() as client:
        assert differences(client, second) == []
    for projection in ("movies", "profiles", "changes"):
        replayed = _replay_under_reads(local, projection)
        assert replayed.returncode == 0, replayed.stderr
    with local.client() as client:
        assert differences(client, second) == []


def _replay_under_reads(local: Local, projection: str) -> subprocess.CompletedProcess[str]:
    """No read fails, and none steps back, while a projection is replayed and switched."""
    movies = f"http://127.0.0.1:{local.query_port}/v1/movies"
    some = httpx.get(movies, params={"sort": "count", "limit": 5}).json()["items"]
    seen: list[Any] = []
    done = threading.Event()

    def read_on() -> None:
        with httpx.Client() as client:
            while not done.is_set():
                for movie in some:
                    answer = client.get(f"{movies}/{movie['movie_id']}")
                    stated = answer.json().get("ratings", {}).get("count")
                    position = int(answer.headers.get("Starfold-Position", -1))
                    seen.append((answer.status_code, stated == movie["ratings"]["count"], position))

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        return local.run("replay", projection)
    finally:
        done.set()
        reader.join()
        assert len(seen) > 100
        assert {(status, same) for status, same, _ in seen} == {(200, True)}
        positions = [position for _, _, position in seen]
        assert positions == sorted(positions)


def test_a_cancelled_replay_leaves_nothing(local: Local) -> None:
    """By Ctrl-C, or by `starfold purge` where nobody waits for it."""
    local.up()
    movies = [NewMovie(title=f"Film {n}", year=1975, external_id=f"film:{n}") for n in range(20)]
    with local.client() as client:
        assert {result.status for _, result in client.create_movies(movies)} == {"created"}
    slow = ("replay", "movies", "--throttle", "1")
    with redis.Redis.from_url(local.home.redis_url()) as connection:

        def keys(generation: int) -> list[bytes]:
            return list(connection.scan_iter(f"sf:{{movies:{generation}:*", count=1_000))

        command = starfold(*slow, "--home", str(local.home.path))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            eventually(lambda: keys(2))
            waiting.send_signal(signal.SIGINT)
            said, _ = waiting.communicate(timeout=30)
        assert (waiting.returncode, said) == (130, "generation 2 of movies is purged\n")
        assert keys(2) == []
        assert local.run(*slow, "--detach").returncode == 0
        # The worker has given the first one up.
        eventually(lambda: keys(3))
        assert local.run("purge", "movies", "3").returncode == 0
        assert keys(3) == []
        replayed = local.run("replay", "movies")
        assert replayed.returncode == 0, replayed.stderr
        assert (keys(2), keys(3)) == ([], [])
