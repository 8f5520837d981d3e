"""Generate a Python client from both documents, and use it.

It has few files, its types are right, and it makes the round trip of a rating.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from openapi_python_client import generate, strings
from openapi_python_client.config import Config, ConfigFile, MetaType

from tests.support.api import PASSWORD, Api

MODEL_FILES_MAX = 62
PACKAGES = {"command": "starfold_commands", "query": "starfold_reads"}

# Written for the types of the generated client, which are checked with it.
ROUND_TRIP = """
import sys
from typing import cast
from uuid import UUID

from starfold_commands import AuthenticatedClient, Client
from starfold_commands.api.ratings import rate_movie
from starfold_commands.api.sessions import log_in
from starfold_commands.api.users import sign_up
from starfold_commands.models import LogInBody, RatingAnswer, RatingBody, SessionAnswer
from starfold_commands.models import SignUpBody, UserAnswer
from starfold_reads import AuthenticatedClient as Reader
from starfold_reads.api.movies import get_movie
from starfold_reads.api.users import get_user_rating
from starfold_reads.models import Movie, Problem, RatedMovie

command_url, query_url, email, password, movie = sys.argv[1:]
movie_id = UUID(movie)
nobody = Client(base_url=command_url)

# The generator has no type for a credential that may be left out.
signed_up = sign_up.sync(
    client=cast(AuthenticatedClient, nobody),
    body=SignUpBody(display_name="Ann", email=email, password=password),
)
assert isinstance(signed_up, UserAnswer), signed_up
session = log_in.sync(client=nobody, body=LogInBody(email=email, password=password))
assert isinstance(session, SessionAnswer), session

ann = AuthenticatedClient(base_url=command_url, token=session.access_token)
for score, expected in ((4.0, (201, "created")), (4.5, (200, "changed"))):
    rated = rate_movie.sync_detailed(movie_id, client=ann, body=RatingBody(score=score))
    assert isinstance(rated.parsed, RatingAnswer), rated
    assert (rated.status_code, rated.parsed.status.value) == expected
position = int(rated.headers["Starfold-Position"])

reader = Reader(base_url=query_url, token=session.access_token)
shown = get_movie.sync(movie_id, client=reader, starfold_at_least=position)
assert isinstance(shown, Movie), shown
assert (shown.ratings.count, shown.ratings.average, shown.cast_) == (1, 4.5, ["Al Pacino"])
own = get_user_rating.sync(signed_up.user_id, movie_id, client=reader, starfold_at_least=position)
assert isinstance(own, RatedMovie), own
assert own.score == 4.5
absent = get_movie.sync(signed_up.user_id, client=reader)
assert isinstance(absent, Problem) and absent.status == 404, absent
"""


@pytest.fixture
def client(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A movie's `cast` hides the function of that name, which the generated code calls.
    monkeypatch.setattr(strings, "RESERVED_WORDS", {*strings.RESERVED_WORDS, "cast"})
    for side, package in PACKAGES.items():
        document = tmp_path / f"{side}.json"
        document.write_bytes(getattr(api, side).get("/openapi.json").content)
        config = Config.from_sources(
            ConfigFile(package_name_override=package, post_hooks=[]),
            MetaType.NONE,
            document,
            "utf-8",
            overwrite=False,
            output_path=tmp_path / package,
        )
        assert list(generate(config=config)) == [], "nothing is left out"
    (tmp_path / "round_trip.py").write_text(ROUND_TRIP)
    return tmp_path


def test_a_generated_client_is_small_typed_and_makes_a_round_trip(api: Api, client: Path) -> None:
    for package in PACKAGES.values():
        models = list((client / package / "models").glob("*.py"))
        assert 20 < len(models) <= MODEL_FILES_MAX
    checked = _python(client, "-m", "mypy", "--strict", "round_trip.py", *PACKAGES.values())
    assert checked.returncode == 0, checked.stdout
    movie_id = api.movie("Heat", cast=["Al Pacino"])
    urls = (str(api.command.base_url), str(api.query.base_url))
    made = _python(client, "round_trip.py", *urls, "generated@x.org", PASSWORD, movie_id)
    assert made.returncode == 0, made.stderr


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
