"""Where mails go: to a mail server, or into a folder."""

from __future__ import annotations

import os
import smtplib
import ssl
import time
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

# For each answer of the mail server.
ANSWER_WITHIN_S = 10.0
SMTP_PORT = 587
SMTPS_PORT = 465
PERMANENT_FROM = 500
# The folder keeps this many mails, each for this long.
FOLDER_MAILS_MAX = 200
FOLDER_KEPT_S = 24 * 3_600


class Undeliverable(Exception):
    """The mail server will never accept this mail; the message is its status alone."""


class Transport(Protocol):
    def send(self, mail: EmailMessage, name: str) -> None:
        """Deliver a mail.

        Raises `Undeliverable`, or `OSError` or `SMTPException` if a later attempt may succeed.
        """


class MailServer:
    """A mail server: `smtps://` speaks TLS from the start, `smtp://` changes to it (STARTTLS).

    Only a server on this machine may lack TLS.
    """

    def __init__(self, url: str, user: str | None, password: str | None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (SMTPS_PORT if self._tls else SMTP_PORT)
        self._user = user
        self._password = password

    def send(self, mail: EmailMessage, name: str) -> None:
        del name
        context = ssl.create_default_context()
        if self._tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=ANSWER_WITHIN_S, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=ANSWER_WITHIN_S)
        with server:
            if not self._tls:
                server.ehlo()
                if server.has_extn("starttls") or not _is_local(self._host):
                    server.starttls(context=context)
            if self._user is not None:
                server.login(self._user, self._password or "")
            try:
                server.send_message(mail)
            except smtplib.SMTPRecipientsRefused as error:
                [(status, _)] = error.recipients.values()
                _require_temporary(status)
                raise
            except smtplib.SMTPDataError as error:
                _require_temporary(error.smtp_code)
                raise


class Folder:
    """A folder of `.eml` files that only this user can read, for a machine without a mail server.

    The oldest are deleted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, mail: EmailMessage, name: str) -> None:
        self._path.mkdir(mode=0o700, exist_ok=True)
        draft = self._path / f"{name}.new"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(mail.as_bytes())
        # A second attempt replaces the first one's file.
        draft.replace(self._path / f"{name}.eml")
        self.prune()

    def prune(self) -> None:
        """Delete files that are too old or too many; names begin with the time."""
        if not self._path.is_dir():
            return
        mails = (one for one in self._path.glob("*.eml") if one.is_symlink() or not one.is_dir())
        files = sorted(mails, reverse=True)
        for place, file in enumerate(files):
            if place >= FOLDER_MAILS_MAX or _age_s(file) > FOLDER_KEPT_S:
                file.unlink(missing_ok=True)


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _require_temporary(status: int) -> None:
    if status >= PERMANENT_FROM:
        raise Undeliverable(f"status {status}")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
