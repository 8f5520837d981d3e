"""Forgotten passwords and unverified addresses: the requests, the mails and their links."""

from __future__ import annotations

import asyncio
import base64
import re
import smtplib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from command_api.deciding.user import User as AccountState
from command_api.identity.accounts import Account
from command_api.identity.mails import MAILS_A_USER_MAX
from command_api.identity.mails import Mails as RequestedMails
from projector.mails import transports
from projector.mails.sender import MailSender, sender_of
from projector.mails.table import MailTable
from projector.mails.transports import Folder, MailServer
from shared.ids import UserId
from tests.support.api import PASSWORD, Api, User
from tests.support.mail_server import MailServer as ReceivingServer
from tests.support.mail_server import certificate
from tests.support.system import System, eventually

NEW_PASSWORD = "another battery staple"
RESETS = "/v1/password-resets"


@pytest.fixture(scope="module")
def shared(module_system: System) -> System:
    return module_system


@pytest.fixture(scope="module")
def writer(shared: System) -> Iterator[Api]:
    command = shared.start_command_api(mail_requests_per_address=1_000)
    with Api(command.url, command.url, shared.service_key()) as client:
        yield client


@pytest.fixture
def server() -> Iterator[ReceivingServer]:
    with ReceivingServer() as running:
        yield running


@pytest.fixture
def sender(shared: System, server: ReceivingServer) -> MailSender:
    """Sends to the server; nothing of earlier tests is left to send."""
    with shared.owner() as owner:
        owner.execute("DELETE FROM mails")
    return made_sender(shared, smtp_url=server.url, web_url="https://films.example/")


def made_sender(system: System, **settings: Any) -> MailSender:
    connections = system.projector_wiring().events.connections
    made = sender_of(system.projector_settings(**settings), connections)
    assert made is not None
    return made


def request_reset(api: Api, email: str) -> httpx.Response:
    return api.command.post(RESETS, json={"email": email})


def use(api: Api, token: str, password: str = NEW_PASSWORD) -> int:
    body = {"token": token, "password": password}
    return api.command.post(f"{RESETS}/use", json=body).status_code


def token_in(text: str, page: str) -> str:
    (token,) = re.findall(rf"https://films\.example/{page}\?token=(\S+)", text)
    return str(token)


def reset_token(server: ReceivingServer) -> str:
    return token_in(server.received[-1].mail.get_content(), "reset")


def mails_of(system: System, user: User) -> list[Any]:
    with system.owner() as owner:
        query = "SELECT purpose, sealed IS NULL, attempts FROM mails WHERE user_id = %s"
        return owner.execute(query, [UUID(user.user_id)]).fetchall()


def make_due(system: System) -> None:
    with system.owner() as owner:
        owner.execute("UPDATE mails SET next_attempt_at = now()")


def test_a_mailed_link_sets_a_new_password_once(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer
) -> None:
    ann = writer.sign_up()
    before = writer.log_in(ann.email)
    for _ in range(2):
        assert request_reset(writer, f" {ann.email.upper()}").status_code == 204
    sender.send_due()
    other, mail = (one.mail for one in server.received)
    assert [one.recipient for one in server.received] == [ann.email] * 2
    assert (mail["To"], mail["From"]) == (ann.email, "Starfold <starfold@localhost>")
    token = reset_token(server)
    with shared.owner() as owner:
        stored = repr(owner.execute("SELECT mails::text FROM mails").fetchall())
    assert ann.email not in stored
    assert token.rpartition("_")[2] not in stored
    assert use(writer, token, "short") == 422
    assert use(writer, token) == 204
    headers = {"Authorization": f"Bearer {before['access_token']}"}
    body = {"display_name": "Anna"}
    assert writer.command.patch("/v1/users/me", json=body, headers=headers).status_code == 401
    assert writer.post("/v1/sessions", {"email": ann.email, "password": PASSWORD}).is_error
    writer.log_in(ann.email, NEW_PASSWORD)
    assert use(writer, token) == 404
    assert use(writer, token_in(other.get_content(), "reset")) == 404, "nor with the other mail"


@pytest.mark.parametrize("change", ["", "x", "{}0", "sfm_{}", "expired", "verification"])
def test_a_token_that_is_not_good_is_refused(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer, change: str
) -> None:
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    sender.send_due()
    token = reset_token(server)
    if change == "expired":
        with shared.owner() as owner:
            owner.execute("UPDATE mails SET expires_at = now()")
    elif change == "verification":
        body = {"token": token}
        assert writer.command.post("/v1/verifications", json=body).status_code == 404
        return
    assert use(writer, token if change == "expired" else change.format(token)) == 404
    writer.log_in(ann.email)


def test_an_unknown_address_is_answered_like_a_known_one(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer
) -> None:
    """By the same statements, also once an address has had its mails; but nothing is sent."""
    rows = []
    for email in (writer.sign_up().email, "nobody@example.org"):
        before = _count(shared)
        answers = [request_reset(writer, email) for _ in range(5)]
        assert {(one.status_code, one.content) for one in answers} == {(204, b"")}
        assert {tuple(one.headers) for one in answers} == {tuple(answers[0].headers)}
        rows.append(_count(shared) - before)
    assert rows == [3, 3]
    sender.send_due()
    assert len(server.received) == 3
    assert "nobody@example.org" not in {one.recipient for one in server.received}


def _count(system: System) -> int:
    with system.owner() as owner:
        (count,) = owner.execute("SELECT count(*) FROM mails").fetchone() or (0,)
    return int(count)


def test_simultaneous_requests_send_no_more_mails_than_others(shared: System, writer: Api) -> None:
    store = shared.command_store()
    mails = RequestedMails(store, shared.key_wrap())
    ann = UserId(UUID(writer.sign_up().user_id))
    account = Account(ann, AccountState(exists=True, email="ann@example.org"))

    async def request() -> list[bool]:
        requests = (mails.request("reset", account) for _ in range(12))
        sent = await asyncio.gather(*requests)
        await store.close()
        return sent

    assert sum(asyncio.run(request())) == MAILS_A_USER_MAX


def test_an_address_requests_so_many_mails_and_no_more(shared: System) -> None:
    command = shared.start_command_api(mail_requests_per_address=2)
    body = {"email": "x@example.org"}
    answers = [httpx.post(command.url + RESETS, json=body) for _ in range(3)]
    assert [one.status_code for one in answers] == [204, 204, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


@pytest.mark.parametrize("password", ["1234567890", "Password123"])
def test_a_common_password_is_refused_wherever_one_is_set(
    writer: Api, sender: MailSender, server: ReceivingServer, password: str
) -> None:
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    sender.send_due()
    assert use(writer, reset_token(server), password) == 422
    change = {"old": PASSWORD, "new": password}
    path = "/v1/users/me/password"
    assert writer.command.put(path, json=change, headers=ann.headers).status_code == 422
    fields = {"email": "new@example.org", "display_name": "N", "password": password}
    assert writer.post("/v1/users", fields).status_code == 422


def test_a_user_verifies_their_address(
    writer: Api, sender: MailSender, server: ReceivingServer
) -> None:
    ann, path = writer.sign_up(), "/v1/users/me/verification"
    assert writer.command.post(path, headers=ann.headers).status_code == 204
    sender.send_due()
    body = {"token": token_in(server.received[-1].mail.get_content(), "verify")}
    answers = [writer.command.post("/v1/verifications", json=body) for _ in range(2)]
    assert [one.status_code for one in answers] == [204, 204]
    assert len({one.headers["Starfold-Position"] for one in answers}) == 1
    export = writer.command.get("/v1/users/me/export", headers=ann.headers).json()
    assert [one["event"] for one in export["account"]] == ["UserCreated", "EmailVerified"]
    for _ in range(5):
        assert writer.command.post(path, headers=ann.headers).status_code == 204
    sender.send_due()
    assert len(server.received) == 1, "a verified address gets no further mail"
    ben = writer.sign_up()
    statuses = [writer.command.post(path, headers=ben.headers).status_code for _ in range(4)]
    assert statuses == [204, 204, 204, 429]


def test_an_erasure_leaves_no_mail(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer
) -> None:
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    assert len(mails_of(shared, ann)) == 1
    assert writer.command.delete("/v1/users/me", headers=ann.headers).status_code == 204
    assert mails_of(shared, ann) == []
    sender.send_due()
    assert server.received == []


def test_a_mail_waits_for_a_server_that_does_not_take_it(
    shared: System,
    writer: Api,
    sender: MailSender,
    server: ReceivingServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No line of the log has the address, which the server repeats, or the token."""
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    server.refusals["RCPT"] = f"451 <{ann.email}> later"
    for attempt in (1, 2):
        sender.send_due()
        assert mails_of(shared, ann) == [("reset", False, attempt)]
        sender.send_due()
        assert mails_of(shared, ann) == [("reset", False, attempt)], "not due yet"
        make_due(shared)
    server.refusals.clear()
    sender.send_due()
    assert [one.recipient for one in server.received] == [ann.email]
    assert mails_of(shared, ann) == [("reset", True, 3)]
    lines = capfd.readouterr().out
    assert lines.count("mail_failed") == 2
    assert lines.count("mail_sent") == 1
    assert ann.email not in lines
    assert reset_token(server).rpartition("_")[2] not in lines


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_a_mail_that_the_server_refuses_for_good_is_given_up(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer, verb: str
) -> None:
    ann, ben = writer.sign_up(), writer.sign_up()
    request_reset(writer, ann.email)
    server.refusals[verb] = "550 no such user"
    sender.send_due()
    assert mails_of(shared, ann) == [("reset", True, 1)]
    server.refusals.clear()
    request_reset(writer, ben.email)
    sender.send_due()
    assert [one.recipient for one in server.received] == [ben.email]


class Killed(BaseException):
    """The sender ends here."""


@pytest.mark.parametrize(("step", "copies"), [("send", 1), ("finish", 2)])
def test_a_killed_sender_loses_nothing(
    shared: System,
    writer: Api,
    sender: MailSender,
    server: ReceivingServer,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    copies: int,
) -> None:
    """A mail comes twice only if the kill came between the server's answer and its note."""

    def killed(*_: object) -> None:
        raise Killed

    ann = writer.sign_up()
    request_reset(writer, ann.email)
    with monkeypatch.context() as patch:
        patch.setattr(MailServer if step == "send" else MailTable, step, killed)
        with pytest.raises(Killed):
            sender.send_due()
    make_due(shared)
    sender.send_due()
    sender.send_due()
    assert len(server.received) == copies
    assert len({one.mail["Message-ID"] for one in server.received}) == 1


@pytest.mark.parametrize("tls", ["smtps", "starttls"])
def test_a_server_is_logged_in_to_by_tls(
    shared: System, writer: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    context, file = certificate(tmp_path)
    with shared.owner() as owner:
        owner.execute("DELETE FROM mails")
    with ReceivingServer(context, tls) as server:
        log_in = {"smtp_user": "films", "smtp_password": "let-me-in"}
        sender = made_sender(shared, smtp_url=server.url, **log_in)
        request_reset(writer, writer.sign_up().email)
        sender.send_due()
        assert server.received == [], "nobody vouches for the certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        make_due(shared)
        sender.send_due()
        assert [one.encrypted for one in server.received] == [True]
        (credential,) = server.log_ins
        assert base64.b64decode(credential.split()[1]) == b"\0films\0let-me-in"


def test_only_a_server_of_this_machine_may_lack_tls(
    writer: Api,
    sender: MailSender,
    server: ReceivingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transports, "_is_local", lambda _: False)
    request_reset(writer, writer.sign_up().email)
    sender.send_due()
    assert server.received == []


def test_without_a_server_a_mail_is_a_private_file(
    shared: System, writer: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The projector itself writes it; the folder keeps the newest."""
    outbox = tmp_path / "outbox"
    shared.start_projector(mail_outbox=outbox, web_url="https://films.example")
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    (file,) = eventually(lambda: [one for one in outbox.glob("*.eml") if ann.email in _text(one)])
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = _text(file).replace("=\n", "").replace("=3D", "=")
    assert use(writer, token_in(text, "reset")) == 204
    monkeypatch.setattr(transports, "FOLDER_MAILS_MAX", 3)
    for name in "12345":
        (outbox / f"9{name}.eml").write_text("")
    Folder(outbox).prune()
    assert sorted(one.name for one in outbox.iterdir()) == ["93.eml", "94.eml", "95.eml"]


def _text(file: Path) -> str:
    return file.read_bytes().decode().replace("\r\n", "\n")


@pytest.mark.parametrize("local", ["ben,ann", ")-", "u'8-_", "[a"])
def test_an_address_that_no_header_carries_gets_no_mail(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer, local: str
) -> None:
    """Else a list in the address would be mailed to somebody else."""
    ann = writer.sign_up(f"{local}@['<\".example")
    request_reset(writer, ann.email)
    sender.send_due()
    assert server.received == []
    assert mails_of(shared, ann) == [("reset", True, 1)]


def test_an_answer_that_is_no_status_counts_as_a_failure(
    shared: System, writer: Api, sender: MailSender, server: ReceivingServer
) -> None:
    ann = writer.sign_up()
    request_reset(writer, ann.email)
    server.refusals["MAIL"] = "nonsense"
    sender.send_due()
    assert mails_of(shared, ann) == [("reset", False, 1)]
    assert issubclass(smtplib.SMTPServerDisconnected, OSError)
