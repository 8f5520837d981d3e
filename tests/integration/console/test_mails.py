"""The outbox as operators see it: what is in it, and one mail for a reason."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from console.outbox import MAIL_BYTES_MAX
from projector.mails.file_name import MailFileName
from projector.mails.transports import FOLDER_MAILS_MAX, Folder
from tests.support.api import Api, problem
from tests.support.operated import Operated
from tests.support.outbox import Outbox
from tests.support.pages import log_in
from tests.support.system import System

SITE = "https://films.example"
SECRET = "to: ann@example.org\nsubject: s\n\nnot for the console"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "outbox"


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api, folder: Path) -> Iterator[Operated]:
    command_url = str(api.command.base_url).rstrip("/")
    one = Operated(module_system, command_url=command_url, mail_outbox=folder)
    yield one
    one.close()


@pytest.fixture
def outbox(module_system: System, folder: Path) -> Outbox:
    return Outbox(module_system, folder, SITE)


def requested(api: Api, outbox: Outbox) -> tuple[str, str]:
    """Return the address of a new user who has forgotten their password, and the mailed link."""
    email = api.sign_up().email
    assert api.command.post("/v1/password-resets", json={"email": email}).status_code == 204
    return email, SITE + outbox.link("reset")


def test_a_mail_is_listed_without_its_link_and_revealed_for_a_reason(
    operated: Operated,
    module_system: System,
    api: Api,
    outbox: Outbox,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert operated.get("/mails") == {"transport": "outbox", "items": []}
    email, link = requested(api, outbox)
    listed = operated.http.get("/mails")
    assert listed.headers["cache-control"] == "no-store"
    (mail,) = listed.json()["items"]
    assert mail["purpose"] == "reset"
    assert abs((datetime.now(UTC) - datetime.fromisoformat(mail["requested_at"])).seconds) < 60
    path, asked, key = f"/mails/{mail['mail_id']}/reveal", {"reason": "a caller"}, "one"
    for body in ({}, {"reason": " "}, {"reason": "x", "all": True}):
        assert operated.http.post(path, json=body).status_code == 422
    headers = {"Idempotency-Key": key}
    first = operated.http.post(path, json=asked, headers=headers)
    assert first.headers["cache-control"] == "no-store"
    revealed = first.json()
    assert (revealed["address"], revealed["subject"]) == (email, "Set a new password")
    assert link in revealed["text"]
    assert operated.http.post(path, json=asked, headers=headers).json() == revealed
    other = operated.http.post(path, json={"reason": "another"}, headers=headers)
    assert problem(other)["type"].endswith(":idempotency-key-reused")
    (act,) = operated.recorded("mail reveal")
    assert str(act.act_id) == revealed["act_id"]
    assert (act.via, act.state, act.result) == ("key", "done", {})
    assert act.parameters == {"mail_id": mail["mail_id"], **asked}
    operated.act("POST", f"/mails/{uuid4()}/reveal", asked, status=404)
    (file,) = folder.iterdir()
    file.unlink()
    assert operated.http.post(path, json=asked, headers=headers).status_code == 404
    assert [one.state for one in operated.recorded("mail reveal")] == ["failed", "done"]
    with module_system.owner() as owner:
        stored = "".join(
            repr(owner.execute(query).fetchall())
            for query in (
                "SELECT operator_acts::text FROM operator_acts",
                "SELECT idempotency_keys::text FROM idempotency_keys",
            )
        )
    token = link.partition("token=")[2]
    for text in (listed.text, stored, *capfd.readouterr()):
        assert email not in text
        assert token not in text


def test_an_operator_reads_a_mail_by_the_page(operated: Operated, api: Api, outbox: Outbox) -> None:
    email, link = requested(api, outbox)
    with httpx.Client(
        base_url=operated.url, headers={"Origin": operated.url}, timeout=30
    ) as visitor:
        assert visitor.get("/mails").headers["location"].startswith("/login")
        log_in(visitor, api, "operator")
        assert 'href="/mails"' in visitor.get("/").text
        shown = visitor.get("/mails").text
        path = re.findall(r'href="(/mails/[^"]+/reveal)"', shown)[0]
        asked = visitor.get(path).text
        key = re.findall(r'name="key" value="([^"]*)"', asked)[0]
        form = {"key": key, "version": "", "reason": ""}
        assert visitor.post(path, data=form).status_code == 422
        revealed = visitor.post(path, data={**form, "reason": "a caller"})
        assert revealed.headers["cache-control"] == "no-store"
        assert email in revealed.text
        assert link in revealed.text
        assert link not in shown + asked
        assert email not in shown + asked
        assert visitor.get(f"/mails/{uuid4()}/reveal").status_code == 404


def test_other_files_in_the_outbox_are_neither_shown_nor_a_fault(
    operated: Operated, folder: Path, tmp_path: Path
) -> None:
    def name(purpose: str) -> MailFileName:
        return MailFileName(datetime(2026, 1, 1, tzinfo=UTC), uuid4(), purpose)

    folder.mkdir(exist_ok=True)
    for mail in folder.iterdir():
        mail.unlink()
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    link, pipe, inner, huge = map(name, ("link", "pipe", "folder", "huge"))
    (folder / link.text).symlink_to(secret)
    os.mkfifo(folder / pipe.text)
    (folder / inner.text).mkdir()
    (folder / huge.text).write_text(SECRET + "x" * MAIL_BYTES_MAX)
    damaged = [name("damaged") for _ in range(5)]
    contents = (b"", b"\0\xff" * 99, b"To: a@b.example\nSubject: s\nContent-Type: text/html\n\nx")
    others = (
        b"To: a@b.example\nSubject: s\nContent-Type: text/plain; charset=nonsense\n\n\xff",
        b"Subject: =?x?q?" + b"(" * 9_000 + b"\nContent-Type: multipart/mixed\n\n",
    )
    for one, content in zip(damaged, contents + others, strict=True):
        (folder / one.text).write_bytes(content)
    for foreign in ("notes.txt", "x.eml", f"{huge.stem}.new", huge.text.replace("2026", "20x6")):
        (folder / foreign).write_text(SECRET)
    (folder / huge.text.replace("20260101", "20261301")).write_text(SECRET)
    listed = {one["mail_id"] for one in operated.get("/mails")["items"]}
    files = [huge, *damaged]
    assert listed == {str(one.mail_id) for one in files}
    for one, status in [(one, 404) for one in (link, pipe, inner)] + [(one, 409) for one in files]:
        path, reason = f"/mails/{one.mail_id}/reveal", {"reason": one.purpose}
        refused = operated.http.post(path, json=reason)
        assert refused.status_code == status, (one.purpose, refused.text)
        assert "not for the console" not in refused.text
    for number in range(FOLDER_MAILS_MAX):
        newer = MailFileName(datetime(2026, 2, 1, 0, number // 60, tzinfo=UTC), uuid4(), None)
        (folder / newer.text).touch()
    items = operated.get("/mails")["items"]
    assert len(items) == FOLDER_MAILS_MAX
    times = [one["requested_at"] for one in items]
    assert times == sorted(times, reverse=True)
    assert {one["purpose"] for one in items} == {None}
    Folder(folder).prune()
    assert (folder / inner.text).is_dir()
    assert not (folder / link.text).is_symlink()


@pytest.mark.parametrize(
    ("smtp_url", "transport", "said"),
    [
        ("smtps://mail.example", "mail-server", "sends mails to a mail server"),
        (None, None, "settings name none"),
    ],
)
def test_without_an_outbox_answer_and_page_say_so(
    module_system: System,
    api: Api,
    folder: Path,
    smtp_url: str | None,
    transport: str | None,
    said: str,
) -> None:
    one = Operated(
        module_system,
        command_url=str(api.command.base_url).rstrip("/"),
        smtp_url=smtp_url,
        mail_outbox=None if smtp_url is None else folder,
    )
    assert one.get("/mails") == {"transport": transport, "items": []}
    one.act("POST", f"/mails/{UUID(int=0)}/reveal", {"reason": "x"}, status=404)
    with httpx.Client(base_url=one.url, headers={"Origin": one.url}, timeout=30) as visitor:
        log_in(visitor, api, "operator")
        assert said in visitor.get("/mails").text
    one.close()
