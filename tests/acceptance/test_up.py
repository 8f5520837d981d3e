"""`starfold up` as an operator meets it: starts, stops, kills, imports, replays."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import psutil
import pytest
import redis

from ops.home.client import client_of
from projector.projections import DEFINITIONS
from starfold_client import NewMovie
from tests.support.faults.process_tree import wait_gone
from tests.support.local_starfold import Local, mode_of, starfold
from tests.support.ports import free_port
from tests.support.scenarios.expected_statistics import differences
from tests.support.scenarios.synthetic_movielens import write_movielens
from tests.support.system import eventually

GONE_WITHIN_S = 2.0
DAY_S = 86_400


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for the servers' sockets."""
    made = Path(tempfile.mkdtemp(prefix="sf-up-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def kept() -> Iterator[Local]:
    folder = Path(tempfile.mkdtemp(prefix="sf-up-"))
    one = Local(folder / "home", with_pages=True)
    yield one
    one.close()
    shutil.rmtree(folder)


@pytest.fixture
def running(kept: Local) -> Local:
    """A Starfold that is running, for tests that leave its home whole. A first start takes 4 s."""
    if not kept.is_running:
        kept.up()
    return kept


@pytest.fixture
def local(folder: Path) -> Iterator[Local]:
    one = Local(folder / "home")
    yield one
    one.close()


def test_variables_of_proxies_and_of_libpq_change_nothing(folder: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    local = Local(
        folder / "home",
        environment={
            **dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], nowhere),
            **dict.fromkeys(["http_proxy", "https_proxy", "all_proxy"], nowhere),
            **dict.fromkeys(["PGHOST", "PGHOSTADDR", "PGUSER", "PGDATABASE"], "nowhere"),
            **dict.fromkeys(["PGPASSWORD", "PGSERVICE", "PGPASSFILE", "PGSSLMODE"], "nowhere"),
            "PGPORT": "9",
            "PGOPTIONS": "-c search_path=nowhere",
            "PGCONNECT_TIMEOUT": "x",
            "PGCLIENTENCODING": "nowhere",
            "PGTARGETSESSIONATTRS": "read-only",
        },
    )
    try:
        local.up()
        assert local.run("token").stdout.count(".") == 2
        assert local.run("users", "list").returncode == 0
    finally:
        local.close()


def test_the_first_start_makes_an_operator_and_loads_the_catalogue(folder: Path) -> None:
    local = Local(folder / "home", catalogue="default")
    try:
        local.up()
        assert mode_of(local.home.operator_file) == 0o600
        assert mode_of(local.home.path) == 0o700
        operator = msgspec.json.decode(local.home.operator_file.read_bytes())
        assert set(operator) == {"email", "password", "api_key"}

        token = local.run("token").stdout.strip()
        me = httpx.get(
            f"http://127.0.0.1:{local.query_port}/v1/users/me",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert me.json()["display_name"] == "Operator"

        imported = local.run("import", "movielens", str(write_movielens(folder / "ml", seed=1)))
        assert imported.returncode == 0, imported.stderr
        assert "in the catalogue" in imported.stdout
        with local.client() as client:
            godfather = client.list_movies(q="the godfather", year_max=1972).items[0]
            assert godfather.title == "The Godfather"
            assert godfather.ratings.count > 0
            assert differences(client, folder / "ml") == []
        assert local.printed.count('"movie_rejected"') == 2, "two films are there twice"

        secrets = [operator["password"], operator["api_key"], token]
        # What belongs to rotations is empty without one.
        stored = msgspec.json.decode((local.home.path / "secrets.json").read_bytes())
        secrets += filter(None, stored.values())
        logs = local.printed + (local.home.path / "postgres.log").read_text()
        assert not any(secret in logs for secret in secrets if secret)
    finally:
        local.close()


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


def test_the_status_is_watched_until_ctrl_c(running: Local) -> None:
    command = starfold("status", "--watch", "--home", str(running.home.path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        shown = [_status_shown(watching.stdout) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert shown == 2 * [sorted(DEFINITIONS)]


def _status_shown(lines: Iterator[str]) -> list[str]:
    """Read one round of the status and return its projections, in order of their names.

    Recent repairs and files set aside, each a line, may precede the table.
    """
    assert next(lines).startswith("log at position ")
    next(line for line in lines if line.startswith("projection\t"))
    return sorted(next(lines).split("\t")[0] for _ in DEFINITIONS)


def test_the_pages_are_served_and_the_line_that_says_ready_names_them(running: Local) -> None:
    url = f"http://127.0.0.1:{running.web_port}"
    (line,) = [one for one in running.printed.splitlines() if one.startswith("ready: ")]
    console = f"http://127.0.0.1:{running.console_port}"
    assert line.endswith(f", pages {url}, console {console}")
    assert httpx.get(console).headers["location"] == "/login?next=%2F"
    page = httpx.get(url)
    assert page.status_code == httpx.codes.OK
    assert "<h1>Films</h1>" in page.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_with_status_0(running: Local, number: signal.Signals) -> None:
    children = running.descendants()
    assert running.stop(number) == 0
    assert wait_gone(children, 0) == []


def test_children_end_soon_after_their_supervisor_and_the_next_start_works(running: Local) -> None:
    children = running.descendants()
    running.process.kill()
    running.process.wait()
    assert wait_gone(children, GONE_WITHIN_S) == []
    running.up()


def test_a_killed_child_is_started_again(running: Local) -> None:
    for name in ("command_api", "query_api", "projector", "web", "console", "postgres", "valkey"):
        found = [child for child in running.descendants() if _runs_program(child, name)]
        assert found, name
        found[0].kill()
    ports = (
        running.command_port,
        running.query_port,
        running.web_port,
        running.console_port,
    )
    urls = [f"http://127.0.0.1:{port}/ready" for port in ports]
    give_up_at = time.monotonic() + 30
    while not all(_answers(url) for url in urls):
        assert time.monotonic() < give_up_at, running.printed
    movie = NewMovie(title="Mirror", year=1975, external_id="test:1")
    with running.client() as client:
        movie_id = client.create_movie(movie).movie_id
        assert client.get_movie(movie_id).title == "Mirror"


def test_both_keys_are_rotated_while_it_runs_even_if_a_rotation_is_killed(running: Local) -> None:
    """People stay logged in, and log in with passwords that the old key had sealed."""
    before = running.home.secrets()
    person = {"email": "ann@example.org", "password": "correct horse battery staple"}
    addresses = running.home.addresses()
    with client_of(addresses) as client:
        client.sign_up(**person, display_name="Ann")
        session = client.log_in(**person)
    killed = subprocess.Popen(
        starfold("keys", "rotate", "sealing", "--home", str(running.home.path)),
        stdout=subprocess.DEVNULL,
    )
    eventually(lambda: running.home.secrets().sealing_key != before.sealing_key)
    killed.kill()
    killed.wait()
    rotated = running.run("keys", "rotate", "sealing")
    assert rotated.returncode == 0, rotated.stderr
    assert "the sealing key wraps all of them" in rotated.stdout
    rotated = running.run("keys", "rotate", "token")
    assert rotated.returncode == 0, rotated.stderr
    own = running.home.secrets()
    assert own.retired_sealing_keys == before.sealing_key
    assert own.second_token_public_key == before.token_public_key
    with client_of(addresses) as visitor:
        ann = visitor.for_caller(session=session)
        assert ann.get_me().display_name == "Ann"
        ann.change_profile(display_name="Anna")
        assert ann.session == session, "the old token is still good"
        new = visitor.log_in(**person)
    kids = [jwt.get_unverified_header(one.access_token)["kid"] for one in (new, session)]
    published = httpx.get(f"{addresses.command_url}/.well-known/jwks.json").json()["keys"]
    assert [key["kid"] for key in published] == kids
    refused = running.run("keys", "rotate", "token")
    assert "valid until" in refused.stderr


def test_a_port_in_use_is_one_clear_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = _up_fails(folder / "home", command_port=port)
    assert refused == [f"starfold: port {port} on 127.0.0.1 cannot be used: Address already in use"]


def test_a_home_in_use_is_one_clear_line(running: Local) -> None:
    refused = _up_fails(running.home.path, command_port=free_port())
    assert refused == [f"starfold: the home {running.home.path} is in use by another `starfold up`"]


def test_a_deep_path_with_spaces_works(folder: Path) -> None:
    local = Local(folder / "a b" / Path(*["deep folder"] * 12) / "home")
    local.home.path.parent.mkdir(parents=True)
    try:
        local.up()
        assert local.stop() == 0
        local.up()
    finally:
        local.close()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("replay", "movies"), "there is no Starfold in"),
        (("token",), "there is no operator in"),
        (("import", "movielens", "/nonexistent"), "cannot be read"),
    ],
)
def test_a_command_without_a_starfold_is_one_clear_line(
    folder: Path, arguments: tuple[str, ...], line: str
) -> None:
    refused = Local(folder / "home").run(*arguments)
    assert refused.returncode == 1
    (printed,) = refused.stderr.strip().splitlines()
    assert line in printed


def _up_fails(home: Path, *, command_port: int) -> list[str]:
    """What `starfold up` says when it refuses to start."""
    refused = subprocess.run(
        starfold(
            "up",
            "--home",
            str(home),
            "--command-port",
            str(command_port),
            "--query-port",
            str(free_port()),
        ),
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode == 1
    return refused.stderr.strip().splitlines()


def _runs_program(process: psutil.Process, name: str) -> bool:
    """Whether it is that program itself and not its guardian."""
    try:
        words = process.cmdline()[:3]
    except psutil.NoSuchProcess:
        return False
    return any(word.rpartition("/")[2].startswith(name) for word in words)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        time.sleep(0.1)
        return False
