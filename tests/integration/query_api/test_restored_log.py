"""Restore a database from an older backup, and replay as documented.

The query API follows without a restart, whatever the order of the replays.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from projector.audit.auditor import Audit
from projector.wiring import Wiring
from shared.ids import MovieId, Position, UserId
from shared.read_model.keys import CHANGES, MOVIES, PROFILES
from tests.support.api import AT_LEAST, POSITION
from tests.support.builders import a_movie, a_rating, a_user
from tests.support.commits import commit
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import built
from tests.support.system import System, eventually


def rewind(system: System, to: Position) -> None:
    """The log as a backup has it, whose positions are given again."""
    owner = system.owner()
    owner.execute("DELETE FROM events WHERE notification_id > %s", [to])
    sequence = "pg_get_serial_sequence('events', 'notification_id')"
    owner.execute(f"SELECT setval({sequence}, %s)", [to])  # A constant.


def all_stopped(wiring: Wiring) -> bool:
    live = [one for one in wiring.generations.all() if one.state == "active"]
    return all(one.stopped is not None for one in live)


def replay(wiring: Wiring, projection: str) -> None:
    """As `starfold replay` does: build, let a projector follow it, switch."""
    generation = built(wiring, projection)

    def followed() -> bool:
        found = wiring.generations.get(projection, generation.number)
        return found is not None and found.stopped is None

    eventually(followed)
    assert wiring.generations.switch(projection, generation.number)
    wiring.generations.publish(wiring.store)


# Fewer than were lost, so that the old log's positions are ahead of the new one's; or more.
@pytest.mark.parametrize("commands", [10, 120])
@pytest.mark.parametrize(
    "order", [(MOVIES, PROFILES, CHANGES), (CHANGES, PROFILES, MOVIES), (MOVIES, CHANGES, PROFILES)]
)
def test_after_a_restore_and_replays_every_read_is_of_the_restored_log(
    system: System, order: tuple[str, ...], commands: int
) -> None:
    wiring, history = system.projector_wiring(), History(system)
    history.go_on(60)
    backup = wiring.reader.head()
    lost_movies = [MovieId(history.made(a_movie())) for _ in range(3)]
    lost_user = UserId(history.made(a_user()))
    commit(history.committer, *(a_rating(lost_user, movie, 9) for movie in history.movies))
    history.go_on(60)
    system.start_projector()
    url = system.start_query_api().url
    with httpx.Client(base_url=url, timeout=30) as api:
        eventually(lambda: api.get("/ready").status_code == 200)
        wait_until_applied(wiring)
        assert len(listed(api, at_least=wiring.reader.head())) == len(history.movies) + 3
        rewind(system, backup)
        # Other events at the positions that are gone.
        new_movies = [MovieId(history.made(a_movie())) for _ in range(2)]
        history.movies += new_movies
        history.go_on(commands)
        eventually(lambda: all_stopped(wiring))
        for projection in order:
            replay(wiring, projection)
        commit(history.committer, a_rating(history.users[0], new_movies[0], 10))
        wait_until_applied(wiring)
        head = wiring.reader.head()
        # The index of the old log is ahead of this position, until it is loaded again.
        eventually(lambda: set(listed(api, at_least=0)) == set(map(str, history.movies)))
        eventually(lambda: api.get("/v1/movies", headers={AT_LEAST: str(head)}).status_code == 200)
        require_of_the_log(api, history, head)
        for gone in lost_movies:
            assert api.get(f"/v1/movies/{gone}").status_code == 404
        assert api.get(f"/v1/users/{lost_user}").status_code == 404
        assert api.get("/ready").status_code == 200
    audit = Audit(wiring.reader, wiring.store)
    for projection in order:
        assert audit.verify(active(wiring, projection)).passed


def require_of_the_log(api: httpx.Client, history: History, head: int) -> None:
    """Every list shows what the films' and users' own documents show, and nothing else."""
    found = listed(api, at_least=head)
    assert set(found) == {str(movie) for movie in history.movies}
    for movie, item in found.items():
        single = api.get(f"/v1/movies/{movie}", headers={AT_LEAST: str(head)}).json()
        for name in ("count", "average", "weighted_average"):
            assert item["ratings"][name] == single["ratings"][name]
    for sort in ("weighted", "average", "count", "newest", "title"):
        page = api.get(f"/v1/movies?limit=100&sort={sort}").json()
        assert {one["movie_id"] for one in page["items"]} == set(found)
    for user in history.users:
        page = api.get(f"/v1/users/{user}/ratings?limit=100", headers={AT_LEAST: str(head)})
        if page.status_code == 404:  # Private.
            continue
        for item in page.json()["items"]:
            assert item["movie_average"] == found[item["movie_id"]]["ratings"]["average"]
        profile = api.get(f"/v1/users/{user}", headers={AT_LEAST: str(head)}).json()
        assert profile["ratings"]["count"] == len(page.json()["items"])


def listed(api: httpx.Client, *, at_least: int) -> dict[str, Any]:
    page = api.get("/v1/movies?limit=100", headers={AT_LEAST: str(at_least)})
    assert page.status_code == 200, page.text
    assert int(page.headers[POSITION]) >= at_least
    return {one["movie_id"]: one for one in page.json()["items"]}
