"""What is left of a member's import when a reader, a file or a part of it fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

import pytest

from command_api.imports.shelf import Import, Shelf
from ops.import_reader import ImportReader
from ops.imports import inbox
from ops.imports.inbox import ATTEMPTS_MAX, UNREADABLE
from shared.errors import Misconfigured
from shared.ids import UserId
from tests.support.importing import IMPORTS, SHEET, Importing


def test_a_reader_that_dies_is_replaced_and_a_deadly_file_is_given_up(
    importing: Importing,
) -> None:
    ann = importing.sign_up()
    location = importing.start(ann, SHEET)
    import_id = location.rpartition("/")[2]
    # As a killed reader leaves it.
    importing.owner.execute(
        "UPDATE imports SET state = 'reading', attempts = 1,"
        " leased_until = now() + interval '1 minute' WHERE import_id = %s",
        [import_id],
    )
    assert not importing.inbox.step()
    expire = "UPDATE imports SET leased_until = now() - interval '1 s' WHERE import_id = %s"
    importing.owner.execute(expire, [import_id])
    assert importing.inbox.step()
    assert importing.ended(ann, location)["rows"]["imported"] == 2

    location = importing.start(ann, SHEET)
    importing.owner.execute(
        "UPDATE imports SET attempts = %s WHERE state = 'queued'", [ATTEMPTS_MAX]
    )
    assert importing.inbox.step()
    assert "too much time or memory" in importing.ended(ann, location)["failure"]


def test_a_file_that_fails_unexpectedly_ends_its_import_and_no_other(
    importing: Importing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ann, bob, eve = importing.sign_up(), importing.sign_up(), importing.sign_up()

    def fail(*_: object) -> NoReturn:
        raise ZeroDivisionError("secret of the file")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "found_in", fail)
        location = importing.start(ann, SHEET)
        assert importing.inbox.step()
    found = importing.state(ann, location)
    assert (found["state"], found["failure"]) == ("failed", UNREADABLE)
    logged = capsys.readouterr()
    assert "ZeroDivisionError" in logged.out + logged.err
    assert "secret" not in logged.out + logged.err

    # The key of a user that does not open ends their import after some attempts.
    location = importing.start(ann, SHEET)
    importing.owner.execute(
        "UPDATE subject_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)"
        " WHERE user_id = %s",
        [ann.user_id],
    )
    expire = "UPDATE imports SET leased_until = now() - interval '1 s' WHERE user_id = %s"
    for _ in range(ATTEMPTS_MAX):
        with pytest.raises(Misconfigured):
            importing.inbox.step()
        assert importing.imported(eve, SHEET)["state"] == "finished"
        importing.owner.execute(expire, [ann.user_id])
    assert importing.inbox.step()
    assert importing.state(ann, location)["state"] == "failed"
    assert importing.imported(bob, SHEET)["state"] == "finished"


def test_a_part_that_is_written_twice_doubles_nothing_and_reports_the_same(
    importing: Importing,
) -> None:
    ann, owner = importing.sign_up(), importing.owner
    owner.execute("CREATE TABLE kept (LIKE import_parts)")
    owner.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
        " $$ BEGIN INSERT INTO kept VALUES (NEW.*); RETURN NEW; END $$"
    )
    owner.execute(
        "CREATE TRIGGER keep AFTER INSERT ON import_parts FOR EACH ROW"
        " WHEN (NEW.kind = 'ratings') EXECUTE FUNCTION keep()"
    )
    location = importing.start(ann, SHEET)
    assert importing.inbox.step()
    found, events = importing.ended(ann, location), importing.rows("events")
    # As a command API leaves it that was killed after the commit of the ratings.
    with owner.transaction():
        owner.execute("DELETE FROM import_parts WHERE kind = 'written'")
        owner.execute("INSERT INTO import_parts SELECT * FROM kept")
        owner.execute(
            "UPDATE imports SET state = 'writing', parts_written = 0, counts = %s"
            " WHERE import_id = %s",
            ['{"unmatched": 2, "refused": 1}', found["import_id"]],
        )
    assert importing.ended(ann, location)["rows"] == found["rows"]
    assert importing.rows("events") == events


def test_the_worker_keeps_a_process_that_reads(
    importing: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in importing.system.projector_environment().items():
        monkeypatch.setenv(name, value)
    ann, reader = importing.sign_up(), ImportReader()
    try:
        reader.keep()
        assert importing.ended(ann, importing.start(ann, SHEET))["rows"]["imported"] == 2
        assert reader.process is not None
        reader.process.kill()
        reader.process.wait()
        reader.keep()
        assert importing.ended(ann, importing.start(ann, SHEET))["rows"]["unchanged"] == 2
    finally:
        reader.end()
    assert reader.process.returncode == 0


def test_a_part_that_cannot_be_written_ends_its_import_and_no_other(importing: Importing) -> None:
    ann, bob = importing.sign_up(), importing.sign_up()
    location = f"{IMPORTS}/{importing.add_import(ann, part=b'not sealed')}"
    assert importing.imported(bob, SHEET)["rows"]["imported"] == 2
    found = importing.ended(ann, location)
    assert (found["state"], found["rows"]) == ("failed", {})
    assert "could not be written" in found["failure"]
    assert importing.imported(ann, SHEET)["state"] == "finished"


def test_a_reader_holds_no_transaction_that_an_erasure_would_wait_for(
    importing: Importing,
) -> None:
    ann = importing.sign_up()
    importing.owner.execute("CREATE TABLE moments (transaction xid8, statement timestamptz)")
    note = "INSERT INTO moments VALUES (pg_current_xact_id(), statement_timestamp()); RETURN NULL;"
    with importing.trigger("AFTER INSERT OR DELETE", note, "import_parts"):
        assert importing.imported(ann, SHEET)["state"] == "finished"
    several = "SELECT FROM moments GROUP BY transaction HAVING count(DISTINCT statement) > 1"
    assert importing.rows(f"({several}) several") == 0


def test_a_process_gives_back_no_lease_but_its_own(importing: Importing) -> None:
    ann = importing.sign_up()
    import_id = importing.add_import(ann, leased_until="2999-01-01T00:00Z")
    before = datetime(2026, 1, 1, tzinfo=UTC)
    one = Import(
        import_id, UserId(UUID(ann.user_id)), "csv", "writing", 1, 0, {}, None, before, before
    )
    store = importing.system.command_store()
    shelf = Shelf(store, importing.system.key_wrap(), b"")

    async def give_back() -> None:
        await shelf.release(one)
        await shelf.fail(one)
        await store.close()

    asyncio.run(give_back())
    assert importing.rows(f"imports WHERE import_id = '{import_id}' AND leased_until > now()") == 1
