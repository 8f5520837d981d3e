"""Erasure: no byte of the person is left that anybody can read, and a restore brings none back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest

from command_api.identity.accounts import Accounts
from command_api.privacy.erasure_ledger import ErasureLedger, read_ledger
from command_api.store.append import Append, NewRow
from ops.commands.erase import ReapplyResult, reapply
from ops.commands.write_side import WriteSide
from shared.ids import EventId, StreamId, UserId, Version, keyed_uuid, new_uuid7
from shared.log.events import Metadata, UserCreated
from tests.support.api import PASSWORD, Api, User
from tests.support.builders import NOON
from tests.support.system import System, eventually
from tests.support.traces import dumped, opened_with_any_key

NAME, EMAIL, REVIEW = "Cassandra Quill", "cassandra@quill.example", "A dream of wet grass."


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "erasures.jsonl"


@pytest.fixture
def writer(system: System, ledger: Path) -> Iterator[Api]:
    command = system.start_command_api(erasure_ledger=ledger)
    with Api(command.url, command.url, system.service_key()) as client:
        yield client


def a_life(api: Api, email: str, name: str, review: str) -> User:
    """Somebody who did all that may leave traces."""
    user, movie_id = api.sign_up(email, name), api.movie()
    keyed = user.headers | {"Idempotency-Key": f"key-of-{name.split()[0]}"}
    body = {"score": 4.5, "review": review}
    path = f"/v1/movies/{movie_id}/rating"
    api.expect(201, api.command.put(path, json=body, headers=keyed))
    profile = {"display_name": name.upper()}
    api.expect(204, api.command.patch("/v1/users/me", json=profile, headers=keyed_anew(keyed)))
    password = {"old": PASSWORD, "new": PASSWORD + "!"}
    api.expect(204, api.command.put("/v1/users/me/password", json=password, headers=user.headers))
    return user


def keyed_anew(headers: dict[str, str]) -> dict[str, str]:
    return headers | {"Idempotency-Key": headers["Idempotency-Key"] + "-2"}


def erase(api: Api, user: User) -> httpx.Response:
    return api.note(api.command.delete("/v1/users/me", headers=user.headers))


def test_no_remaining_key_opens_anything_of_an_erased_user(system: System, writer: Api) -> None:
    cassandra = a_life(writer, EMAIL, NAME, REVIEW)
    a_life(writer, "ben@example.org", "Ben Reed", "Slow.")
    with system.owner() as owner:
        before = opened_with_any_key(system, owner)
        assert {NAME, NAME.upper(), EMAIL, REVIEW, "Ben Reed", "Slow."} <= before
        assert erase(writer, cassandra).status_code == 204
        after = opened_with_any_key(system, owner)
        dump = dumped(owner, system.schema)
    assert {"Ben Reed", "BEN REED", "ben@example.org", "Slow."} <= after
    gone = before - after
    assert {NAME, NAME.upper(), EMAIL, REVIEW} <= gone
    assert sum(text.startswith("$argon2id$") for text in gone) == 2

    everything = repr(dump).casefold()
    for trace in ("cassandra", "quill", "wet grass", "key-of-"):
        assert trace not in everything
    user_id = UUID(cassandra.user_id)
    for table in ("subject_keys", "sessions", "idempotency_keys"):
        assert dump[table], f"the test leaves nothing in {table} to be told from"
        assert not any(user_id in row for row in dump[table]), table


def test_a_deleted_keys_place_is_vacuumed_soon(system: System) -> None:
    """Autovacuum looks once a minute, and here at every dead row."""
    with system.owner() as owner:
        wanted = "SELECT reloptions FROM pg_class WHERE oid = 'subject_keys'::regclass"
        (options,) = owner.execute(wanted).fetchone() or ([],)
    assert set(options) == {"autovacuum_vacuum_threshold=0", "autovacuum_vacuum_scale_factor=0"}


def test_an_erased_user_is_nobody_and_their_address_is_free(writer: Api) -> None:
    ann = writer.sign_up(EMAIL)
    movie_id = writer.movie()
    assert erase(writer, ann).status_code == 204
    assert erase(writer, ann).status_code == 401
    assert writer.rate(ann, movie_id, 4).status_code == 401
    assert writer.command.get("/v1/users/me/export", headers=ann.headers).status_code == 401
    log_in = {"email": EMAIL, "password": PASSWORD}
    assert writer.post("/v1/sessions", log_in).status_code == 401
    again = writer.sign_up(EMAIL.upper())
    assert again.user_id != ann.user_id


def an_external_user(api: Api, external_id: str, name: str = NAME) -> str:
    body = {"external_id": external_id, "display_name": name}
    answer = api.post("/v1/users", body, api.service)
    assert answer.status_code in (200, 201), answer.text
    user_id: str = answer.json()["user_id"]
    return user_id


class TestByOthers:
    """Users without a password cannot erase themselves, and others may have lost theirs."""

    def test_an_operator_or_a_service_with_the_scope_erases_an_external_user(
        self, system: System, writer: Api, ledger: Path
    ) -> None:
        operator = writer.sign_up(role="operator")
        for number, headers in enumerate((operator.headers, writer.service)):
            external_id = f"crm:cassandra-{number}"
            user_id = an_external_user(writer, external_id)
            rating = {"movie_id": writer.movie(), "user_id": user_id, "score": 4, "review": REVIEW}
            writer.expect(201, writer.post("/v1/ratings", rating, writer.service))
            with system.owner() as owner:
                before = opened_with_any_key(system, owner)
                assert {external_id, NAME, REVIEW} <= before
                erased = writer.command.delete(f"/v1/users/{user_id}", headers=headers)
                assert erased.status_code == 204
                assert not {external_id, NAME, REVIEW} & opened_with_any_key(system, owner)
                assert "cassandra" not in repr(dumped(owner, system.schema)).casefold()
            assert str(read_ledger(ledger)[-1]) == user_id
            gone = writer.command.delete(f"/v1/users/{user_id}", headers=headers)
            assert gone.status_code == 404
            again = an_external_user(writer, external_id, "Somebody else")
            assert again != user_id, "the id is free again"

    def test_a_person_is_erased_by_others_as_by_themselves(self, writer: Api) -> None:
        ann = writer.sign_up(EMAIL)
        path = f"/v1/users/{ann.user_id}"
        assert writer.command.delete(path, headers=writer.service).status_code == 204
        assert writer.rate(ann, writer.movie(), 4).status_code == 401
        writer.sign_up(EMAIL)

    def test_nobody_else_may(self, system: System, writer: Api) -> None:
        ann, ben = writer.sign_up(), writer.sign_up(role="curator")
        path = f"/v1/users/{ann.user_id}"
        narrow = {"Authorization": f"Bearer {system.service_key(['users', 'movies', 'roles'])}"}
        for headers, status in ((ben.headers, 403), (narrow, 403), ({}, 401)):
            assert writer.command.delete(path, headers=headers).status_code == status
            nobody = writer.command.delete(f"/v1/users/{UUID(int=7)}", headers=headers)
            assert nobody.status_code == status, "it must not say who exists"
        assert writer.rate(ann, writer.movie(), 4).status_code == 201
        assert writer.command.delete(path, headers=ann.headers).status_code == 204

    def test_an_operator_demoted_meanwhile_erases_nobody(self, writer: Api) -> None:
        operator, ann = writer.sign_up(role="operator"), writer.sign_up()
        role = f"/v1/users/{operator.user_id}/role"
        writer.command.put(role, json={"role": "member"}, headers=writer.service)
        path = f"/v1/users/{ann.user_id}"
        assert writer.command.delete(path, headers=operator.headers).status_code == 403


class TestExternalIds:
    def test_a_repeat_is_answered_with_the_first_also_in_one_batch(self, writer: Api) -> None:
        first = an_external_user(writer, "crm:1")
        position = writer.position
        rows = [{"external_id": f"crm:{n}", "display_name": "?"} for n in (1, 2, 2)]
        answer = writer.post("/v1/users/batch", {"users": rows}, writer.service)
        results = writer.expect(200, answer)["results"]
        assert [row["status"] for row in results] == ["unchanged", "created", "unchanged"]
        assert results[0]["user_id"] == first
        assert results[1]["user_id"] == results[2]["user_id"] != first
        again = writer.command.post("/v1/users", json=rows[0], headers=writer.service)
        assert (again.status_code, int(again.headers["Starfold-Position"])) == (200, position)

    def test_concurrent_creations_of_one_id_make_one_user(
        self, system: System, writer: Api
    ) -> None:
        other = system.start_command_api()
        both = Api(other.url, other.url, system.service_key())
        with both as second, ThreadPoolExecutor(8) as pool:
            made = pool.map(lambda n: an_external_user((writer, second)[n % 2], "x"), range(32))
            assert len(set(made)) == 1

    def test_whom_an_earlier_release_made_is_found_and_erasable(
        self, system: System, writer: Api
    ) -> None:
        """Their id was derived from the external id, which nothing reserved."""
        secret = system.command_settings().reservation_secret.get_secret_value()
        earlier = UserId(keyed_uuid(secret, "external-user", "crm:old"))
        event = UserCreated(
            user_id=earlier, display_name=NAME, external_id="crm:old", created_at=NOON
        )
        key, wrapped = system.key_wrap().new_key(earlier)
        metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=NOON)
        state = system.codec().encode(event, metadata, {earlier: key})
        row = NewRow(StreamId(earlier), Version(1), "UserCreated", state)
        append = Append([row], new_keys={earlier: wrapped})
        asyncio.run(system.commit_store().append(append))
        assert an_external_user(writer, "crm:old") == str(earlier)
        path = f"/v1/users/{earlier}"
        assert writer.command.delete(path, headers=writer.service).status_code == 204
        assert an_external_user(writer, "crm:old") != str(earlier)


class TestLedger:
    def test_an_erasure_is_in_the_ledger_before_it_is_acknowledged(
        self, writer: Api, ledger: Path
    ) -> None:
        ann, ben = writer.sign_up(), writer.sign_up()
        erase(writer, ann)
        assert read_ledger(ledger) == [UserId(UUID(ann.user_id))]
        erase(writer, ben)
        assert [str(user) for user in read_ledger(ledger)] == [ann.user_id, ben.user_id]
        assert ledger.stat().st_mode & 0o777 == 0o600

    def test_what_a_crash_kept_from_it_is_noted_at_the_next_start(
        self, system: System, writer: Api, ledger: Path
    ) -> None:
        """Also behind a torn line."""
        ann, ben = writer.sign_up(), writer.sign_up()
        erase(writer, ann)
        erase(writer, ben)
        whole = ledger.read_bytes()
        ledger.write_bytes(whole[: whole.index(ann.user_id.encode()) + 50] + b'\n{"user_id": "01')
        system.start_command_api(erasure_ledger=ledger)
        expected = {UserId(UUID(user.user_id)) for user in (ann, ben)}
        eventually(lambda: set(read_ledger(ledger)) == expected)

    def test_without_a_ledger_users_are_erased_all_the_same(self, system: System) -> None:
        command = system.start_command_api(erasure_ledger=None)
        with Api(command.url, command.url, system.service_key()) as api:
            assert erase(api, api.sign_up()).status_code == 204

    def test_a_ledger_that_cannot_be_written_is_no_failed_erasure(
        self, system: System, tmp_path: Path
    ) -> None:
        folder = tmp_path / "unmounted"
        folder.mkdir()
        command = system.start_command_api(erasure_ledger=folder / "ledger")
        with Api(command.url, command.url, system.service_key()) as api:
            ann = api.sign_up()
            shutil.rmtree(folder)
            assert erase(api, ann).status_code == 204
            assert erase(api, ann).status_code == 401

    def test_whom_a_restore_brought_back_is_erased_again(
        self, system: System, writer: Api, ledger: Path
    ) -> None:
        """The backup is of before the erasure; it goes back with its keys."""
        cassandra = a_life(writer, EMAIL, NAME, REVIEW)
        ben = writer.sign_up()
        with system.owner() as owner:
            head = writer.command.get("/ready").json()["position"]
            owner.execute("CREATE TEMP TABLE backup AS SELECT * FROM subject_keys")
            erase(writer, cassandra)
            owner.execute("DELETE FROM events WHERE notification_id > %s", [head])
            owner.execute("INSERT INTO subject_keys SELECT * FROM backup ON CONFLICT DO NOTHING")
            assert NAME in opened_with_any_key(system, owner)

            unknown = UserId(UUID(int=7))
            write_side = _write_side(system, ledger)
            named = [*read_ledger(ledger), unknown]
            assert reapply(write_side, named) == ReapplyResult(named=2, erased=1)
            assert not {NAME, EMAIL, REVIEW} & opened_with_any_key(system, owner)
            assert reapply(write_side, named) == ReapplyResult(named=2, erased=0)
        assert erase(writer, ben).status_code == 204
        writer.sign_up(EMAIL)

    def test_a_key_that_came_back_alone_is_deleted_again(
        self, system: System, writer: Api, ledger: Path
    ) -> None:
        cassandra = a_life(writer, EMAIL, NAME, REVIEW)
        with system.owner() as owner:
            owner.execute("CREATE TEMP TABLE backup AS SELECT * FROM subject_keys")
            erase(writer, cassandra)
            owner.execute("INSERT INTO subject_keys SELECT * FROM backup ON CONFLICT DO NOTHING")
            reapply(_write_side(system, ledger), read_ledger(ledger))
            assert NAME not in opened_with_any_key(system, owner)

    def test_a_log_rewound_under_it_is_followed_from_the_start(
        self, system: System, writer: Api, ledger: Path
    ) -> None:
        """Positions given again after a restore hold other erasures than those noted."""
        own = ErasureLedger(ledger.with_name("own"), system.command_store())
        ann, ben = writer.sign_up(), writer.sign_up()
        erase(writer, ann)
        asyncio.run(own.note())
        with system.owner() as owner:
            erase(writer, ben)
            # As if the log had been rewound and written again: Ben's erasure is an early event.
            owner.execute(
                "UPDATE events SET notification_id = -notification_id WHERE topic = 'UserErased'"
                " AND originator_id = %s",
                [UUID(ben.user_id)],
            )
            asyncio.run(own.note())
            assert [str(user) for user in read_ledger(own.path)] == [ann.user_id]
            owner.execute(
                "UPDATE events SET notification_id = 1000000 WHERE topic = 'UserErased'"
                " AND originator_id = %s",
                [UUID(ben.user_id)],
            )
        asyncio.run(own.note(from_the_start=True))
        assert [str(user) for user in read_ledger(own.path)] == [ann.user_id, ben.user_id]


def test_every_line_of_the_ledger_is_json(writer: Api, ledger: Path) -> None:
    erase(writer, writer.sign_up())
    lines = [msgspec.json.decode(line) for line in ledger.read_bytes().split()]
    assert [sorted(line) for line in lines] == [["noted_at", "user_id"]]


def _write_side(system: System, ledger: Path) -> WriteSide:
    store, codec, key_wrap = system.command_store(), system.codec(), system.key_wrap()
    secret = system.command_settings().reservation_secret.get_secret_value()
    return WriteSide(
        store,
        Accounts(store, codec, key_wrap, secret),
        system.committer(),
        erasure_ledger=ledger,
    )
