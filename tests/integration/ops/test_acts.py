"""The audit log of operators' acts, and what the command line writes to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, ObjectNotInPrerequisiteState

from ops.acts import log as act_log
from ops.acts.log import Act, ActLog, By, Repeated
from shared.errors import IdempotencyKeyReused
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE
from tests.conftest import Starfold
from tests.support.system import System, eventually

CHANGES = (
    "UPDATE operator_acts SET actor = 'nobody'",
    "UPDATE operator_acts SET closed_at = NULL, outcome = NULL",
    "UPDATE operator_acts SET outcome = 'done', closed_at = now()",
    "UPDATE operator_acts SET result = '{}'",
    "DELETE FROM operator_acts",
    "TRUNCATE operator_acts",
)


@pytest.fixture
def acts(system: System) -> ActLog:
    return ActLog(system.dsn(PROJECTOR_ROLE), schema=system.schema)


def _newest(acts: ActLog) -> Act:
    return acts.page(limit=1)[0]


def test_an_act_is_recorded_before_it_happens_and_closed_with_its_outcome(acts: ActLog) -> None:
    by = By("ann", "web", uuid4())
    with acts.recorded(by, "switch", {"generation": 2}) as record:
        during = _newest(acts)
        record.result = {"position": 7}
    assert (during.state, during.closed_at, during.actor, during.request_id) == (
        "running",
        None,
        "ann",
        by.request_id,
    )
    after = _newest(acts)
    assert (after.state, after.parameters, after.result) == (
        "done",
        {"generation": 2},
        {"position": 7},
    )
    with pytest.raises(ValueError, match="no such"), acts.recorded(by, "purge", {}):
        raise ValueError("no such generation")
    failed = _newest(acts)
    assert (failed.act, failed.state, failed.result) == (
        "purge",
        "failed",
        {"error": "no such generation"},
    )


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_changes_or_deletes_a_closed_row(system: System, acts: ActLog, change: str) -> None:
    with acts.recorded(By("ann", "cli"), "purge", {}):
        pass
    before = _newest(acts)
    with pytest.raises(ObjectNotInPrerequisiteState):
        system.owner().execute(change.encode())
    for role in (COMMAND_ROLE, PROJECTOR_ROLE):
        with (
            psycopg.connect(system.dsn(role), options=f"-csearch_path={system.schema}") as other,
            pytest.raises((InsufficientPrivilege, ObjectNotInPrerequisiteState)),
        ):
            other.execute(change.encode())
    assert _newest(acts) == before


def test_an_open_row_may_only_be_closed(system: System, acts: ActLog) -> None:
    with acts.recorded(By("ann", "cli"), "purge", {}):
        for change in ("UPDATE operator_acts SET actor = 'x'", "DELETE FROM operator_acts"):
            with pytest.raises(ObjectNotInPrerequisiteState):
                system.owner().execute(change.encode())


def test_the_same_key_is_one_act(acts: ActLog) -> None:
    by = By("ann", "web", repeat_key=uuid4())
    with acts.recorded(by, "purge", {"generation": 1}) as first:
        with pytest.raises(Repeated) as running, acts.recorded(by, "purge", {"generation": 1}):
            pytest.fail("the act was repeated while it ran")
        assert running.value.first.state == "running"
    with pytest.raises(Repeated) as repeated, acts.recorded(by, "purge", {"generation": 1}):
        pytest.fail("the act was repeated")
    assert repeated.value.first.act_id == first.act_id
    for act, parameters in (("purge", {"generation": 2}), ("switch", {"generation": 1})):
        with pytest.raises(IdempotencyKeyReused), acts.recorded(by, act, parameters):
            pytest.fail("another act had the same key")
    assert len(acts.page()) == 1


def test_a_repeat_finds_the_further_act_that_followed_a_failed_one(acts: ActLog) -> None:
    by = By("ann", "web", repeat_key=uuid4())
    for number in range(2):
        with pytest.raises(ValueError, match="away"), acts.recorded(by, "purge", {}):
            raise ValueError(f"away, attempt {number}")
    with acts.recorded(by, "purge", {}) as done:
        pass
    with pytest.raises(Repeated) as repeated, acts.recorded(by, "purge", {}):
        pytest.fail("the act was repeated")
    assert repeated.value.first.act_id == done.act_id
    assert [one.state for one in acts.page()] == ["done", "failed", "failed"]


def _hang(dsn: str, schema: str) -> None:
    with ActLog(dsn, schema=schema).recorded(By("ann", "web"), "purge", {}):
        signal.pause()


def test_the_act_of_a_killed_process_is_shown_as_interrupted(
    system: System, acts: ActLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_hang, args=(system.dsn(PROJECTOR_ROLE), system.schema)
    )
    process.start()
    eventually(acts.page)
    assert _newest(acts).state == "running"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert eventually(lambda: _newest(acts).state == "interrupted")
    assert act_log.LOCKED_WITHIN_S < 5


def test_commands_record_their_acts_without_secrets(starfold: Starfold, system: System) -> None:
    environment = {"STARFOLD_OWNER_DATABASE_URL": system.servers.home.owner_dsn()}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        created = starfold("keys", "create", "importer", "--scope", "users")
        key = created.output.strip()
        assert starfold("keys", "revoke", key).exit_code == 0
        assert starfold("parked", "discard", "movies", str(uuid4())).exit_code == 1
        exported = starfold("acts", "export").output
        listed = starfold("acts", "list", "--act", "key create").output
        later = starfold("acts", "export", "--since", "2999-01-01T00:00:00Z").output
        before = starfold("acts", "list", "--until", "2999-01-01T00:00:00Z").output
    rows = [json.loads(line) for line in exported.splitlines()]
    assert [(one["act"], one["state"], one["via"]) for one in rows] == [
        ("discard", "failed", "cli"),
        ("key revoke", "done", "cli"),
        ("key create", "done", "cli"),
    ]
    assert rows[2]["parameters"] == {"name": "importer", "scopes": ["users"]}
    assert "importer" in listed
    assert "discard" not in listed
    assert later == ""
    assert "discard" in before
    assert key.rpartition("_")[2] not in exported
