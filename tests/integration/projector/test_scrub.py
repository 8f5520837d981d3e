"""Redis's own files after an erasure: rewritten once it was applied, and clean of the person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from command_api.commit.pending_command import Outcome
from command_api.deciding.user import EraseUser
from projector import scrubber as scrub
from projector.building.builder import Builder
from projector.building.upkeep import Upkeep, purge
from projector.following.follower import Follower
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.scrubber import Scrubbed, Scrubber
from shared.ids import UserId
from shared.read_model.keys import SCRUBBED_KEY
from tests.conftest import wait_ready
from tests.support.api import Api
from tests.support.builders import NOON, a_user
from tests.support.commits import commit
from tests.support.read_models import active, wait_until_applied
from tests.support.system import System, eventually
from tests.support.traces import (
    database_bytes,
    holds,
    opened_with_any_key,
    redis_bytes,
    redis_file_bytes,
)

EMAIL, NAME = "zephyrine.quagmire@nowhere.example", "Zephyrine Quagmire"
REVIEW, PASSWORD = "Seventeen melancholic giraffes.", "an unguessable wombat"
# Redis keeps a snapshot, and writes it when the scrubber says so.
NEVER_BY_ITSELF = "3600 100000000"
TRACES = ("zephyrine", "quagmire", "melancholic giraffes", "unguessable wombat")


class TestNoByteIsLeft:
    def test_of_an_erased_person_also_after_a_replay(self, system: System) -> None:
        """E-mail, name, review, password and its hash: in no table, no Redis key, no Redis file."""
        command, query = system.start_command_api(), system.start_query_api()
        system.start_projector(scrub_every_s=0)
        # A compressed file would hide what it holds from the search.
        system.redis.config_set("rdbcompression", "no")
        system.redis.config_set("save", NEVER_BY_ITSELF)
        with (
            Api(command.url, query.url, system.service_key()) as api,
            system.owner() as owner,
        ):
            wait_ready(api)
            token, movie_id = _lived(api)
            hashes = {t for t in opened_with_any_key(system, owner) if t.startswith("$argon2")}
            assert hashes
            personal = (NAME, REVIEW)
            system.redis.save()
            assert all(holds(redis_bytes(system), trace) for trace in personal)
            eventually(lambda: all(holds(redis_file_bytes(system), trace) for trace in personal))
            assert {EMAIL, NAME, REVIEW} <= opened_with_any_key(system, owner)

            api.expect(204, api.command.delete("/v1/users/me", headers=token))
            eventually(lambda: _scrubbed_to(system) == api.position)
            _assert_clean(system, owner, hashes)
            assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 1

            wiring = system.projector_wiring()
            before = active(wiring, "profiles")
            after = _begun(wiring)
            Builder(wiring.reader, wiring.store, wiring.generations).build(
                "profiles", after.number, 0
            )
            assert wiring.generations.switch_when_ready("profiles", after.number)
            eventually(lambda: active(wiring, "profiles").number == after.number)
            purge(wiring.generations, wiring.store, before)
            wait_until_applied(wiring)
            _assert_clean(system, owner, hashes)


def _lived(api: Api) -> tuple[dict[str, str], str]:
    """Somebody signs up, rates with a review, and is renamed: their headers, and the movie."""
    body = {"email": EMAIL, "password": PASSWORD, "display_name": NAME}
    user_id = api.expect(201, api.post("/v1/users", body))["user_id"]
    credentials = {"email": EMAIL, "password": PASSWORD}
    session = api.expect(201, api.post("/v1/sessions", credentials))
    token = {"Authorization": f"Bearer {session['access_token']}"}
    movie_id = api.movie()
    rating = {"movie_id": movie_id, "score": 4.5, "review": REVIEW}
    api.expect(201, api.post("/v1/ratings", rating, token))
    renamed = {"display_name": NAME.upper()}
    api.expect(204, api.command.patch("/v1/users/me", json=renamed, headers=token))
    assert api.read(f"/v1/users/{user_id}")["display_name"] == NAME.upper()
    return token, movie_id


def _assert_clean(system: System, owner: Any, hashes: set[str]) -> None:
    # The server drops the files that it replaced a moment after it says that it has.
    eventually(lambda: not any(holds(redis_file_bytes(system), trace) for trace in TRACES))
    everything = {
        "the database": database_bytes(owner, system.schema),
        "what its keys open": "\n".join(opened_with_any_key(system, owner)).encode(),
        "Redis": redis_bytes(system),
        "Redis's files": redis_file_bytes(system),
    }
    for place, kept in everything.items():
        found = [trace for trace in (*TRACES, *hashes) if holds(kept, trace)]
        assert found == [], f"{found} is in {place}"


def _scrubbed_to(system: System) -> int:
    connection: Any = system.redis
    stored = connection.get(SCRUBBED_KEY)
    return msgspec.json.decode(stored, type=Scrubbed).erasure.position if stored else 0


def _begun(wiring: Any) -> Generation:
    generation: Generation = wiring.generations.create(
        DEFINITIONS["profiles"], "replay", shares=1, switch_when_ready=False
    )
    return generation


class Followed:
    """A log that is followed only when a test says so, and a scrubber."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.committer = system.committer()
        self.wiring = system.projector_wiring()
        self.builder = Builder(self.wiring.reader, self.wiring.store, self.wiring.generations)
        upkeep = Upkeep(self.wiring, self.builder)
        upkeep.run_once()
        upkeep.run_once()

    def scrubber(self, *, every_s: float = 0, redis_url: str | None = None) -> Scrubber:
        url = redis_url or self.system.servers.home.redis_url()
        return Scrubber(self.wiring.events, self.wiring.generations, url, every_s=every_s)

    def erase_somebody(self) -> UserId:
        (made,) = commit(self.committer, a_user())
        assert isinstance(made, Outcome)
        user_id = UserId(made.subject)
        erase = EraseUser(user_id=user_id, email_stream=None, now=NOON)
        (erased,) = commit(self.committer, erase)
        assert isinstance(erased, Outcome)
        return user_id

    def follow(self) -> None:
        follower = Follower(self.wiring.reader, self.wiring.store)
        live = [one for one in self.wiring.generations.all() if one.state != "building"]
        follower.follow(live)
        while follower.run_pass() or follower.lagging:
            follower.follow(live)

    def rewrites(self) -> int:
        return int(self.system.redis.info("persistence")["rdb_saves"])


@pytest.fixture
def followed(system: System) -> Followed:
    system.redis.config_set("save", NEVER_BY_ITSELF)
    return Followed(system)


def test_files_are_rewritten_once_an_erasure_was_applied_and_not_before(
    followed: Followed,
) -> None:
    scrubber = followed.scrubber()
    assert not scrubber.run_once(), "nobody was erased"
    followed.erase_somebody()
    assert not scrubber.run_once(), "it was not applied"
    followed.follow()
    before = followed.rewrites()
    assert scrubber.run_once()
    assert not scrubber.run_once()
    assert followed.rewrites() == before + 1


def test_erasures_share_a_rewrite(followed: Followed) -> None:
    scrubber = followed.scrubber(every_s=3_600)
    for _ in range(2):
        followed.erase_somebody()
    followed.follow()
    before = followed.rewrites()
    assert scrubber.run_once()
    followed.erase_somebody()
    followed.follow()
    assert not scrubber.run_once(), "it is not time"
    assert followed.rewrites() == before + 1
    assert followed.scrubber().run_once(), "what was put off is not forgotten by the next one"


def test_a_restarted_projector_knows_what_the_files_are_clean_of(followed: Followed) -> None:
    followed.erase_somebody()
    followed.follow()
    assert followed.scrubber().run_once()
    assert not followed.scrubber().run_once()
    followed.system.redis.delete(SCRUBBED_KEY)
    assert followed.scrubber().run_once(), "lost with Redis's data: rewritten once more"


def test_another_erasure_at_the_same_position_of_a_rewound_log_is_noticed(
    followed: Followed,
) -> None:
    followed.erase_somebody()
    followed.follow()
    assert followed.scrubber().run_once()
    with followed.system.owner() as owner:
        owner.execute(
            "UPDATE events SET originator_id = %s WHERE topic = 'UserErased'", [UUID(int=7)]
        )
    assert followed.scrubber().run_once()


class TestAGenerationThatIsBuilt:
    @pytest.fixture
    def building(self, followed: Followed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generation]:
        """Begun before the erasure: it may have read what is erased now."""
        begun = _begun(followed.wiring)
        followed.erase_somebody()
        followed.follow()
        assert not followed.scrubber().run_once(), "it is waited for"
        monkeypatch.setattr(scrub, "SETTLED_WITHIN_S", 0.0)
        assert followed.scrubber().run_once(), "not for ever"
        assert not followed.scrubber().run_once()
        yield begun
        assert not followed.scrubber().run_once()

    def test_has_the_files_rewritten_again_once_it_follows(
        self, followed: Followed, building: Generation
    ) -> None:
        assert followed.builder.build("profiles", building.number, 0)
        followed.follow()
        assert followed.scrubber().run_once()

    def test_has_the_files_rewritten_again_once_it_is_purged(
        self, followed: Followed, building: Generation
    ) -> None:
        purge(followed.wiring.generations, followed.wiring.store, building)
        assert followed.scrubber().run_once()


def test_a_rewrite_under_way_is_waited_for_and_not_taken_for_ones_own(followed: Followed) -> None:
    followed.erase_somebody()
    followed.follow()
    connection: Any = followed.system.redis
    for n in range(200):
        connection.set(f"filler:{n}", "x")
    before = followed.rewrites()
    connection.config_set("rdb-key-save-delay", 1_000)
    try:
        connection.bgsave()
        assert connection.info("persistence")["rdb_bgsave_in_progress"]
        connection.config_set("rdb-key-save-delay", 0)
        assert followed.scrubber().run_once()
    finally:
        connection.config_set("rdb-key-save-delay", 0)
    assert followed.rewrites() == before + 2


def test_a_redis_that_refuses_is_asked_again(followed: Followed) -> None:
    followed.erase_somebody()
    followed.follow()
    connection: Any = followed.system.redis
    connection.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    connection.execute_command("ACL", "SETUSER", "limited", "-bgsave")
    url = followed.system.servers.home.redis_url()
    address = url.partition("@")[2]
    scrubber = followed.scrubber(redis_url=f"unix://limited:x@{address}")
    try:
        assert not scrubber.run_once()
        assert connection.get(SCRUBBED_KEY) is None
        connection.execute_command("ACL", "SETUSER", "limited", "+bgsave")
        assert scrubber.run_once()
    finally:
        connection.acl_deluser("limited")


def test_an_append_only_file_is_rewritten_where_redis_keeps_one(followed: Followed) -> None:
    followed.erase_somebody()
    followed.follow()
    connection: Any = followed.system.redis
    connection.config_set("appendonly", "yes")
    try:
        before = connection.info("persistence")["aof_rewrites"]
        assert followed.scrubber().run_once()
        assert connection.info("persistence")["aof_rewrites"] == before + 1
    finally:
        connection.config_set("appendonly", "no")
