"""`starfold up` as an operator meets it: starts, stops, one-line refusals."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import msgspec
import psutil
import pytest

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
