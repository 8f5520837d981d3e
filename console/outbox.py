"""The outbox, a folder in which the projector leaves mails when there is no mail server.

Other files may be in it, and each file may vanish at any moment: the projector deletes old ones.
A list opens no file. No symbolic link in the folder is followed.
"""

from __future__ import annotations

import email
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from email.policy import default
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from projector.mails.file_name import MailFileName
from projector.mails.transports import FOLDER_MAILS_MAX
from shared.errors import Conflict, NotFound, Unavailable

# Starfold's own mails are smaller than 2 KiB.
MAIL_BYTES_MAX = 16 * 1024
# The projector keeps 200 mails; a folder with more entries than this has been filled by others.
ENTRIES_MAX = 10_000


class OutboxMail(NamedTuple):
    """A whole mail. Its link is as good as a password."""

    address: str
    subject: str
    text: str


class Outbox:
    """Reads the folder, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[MailFileName]:
        """Return the mails, newest first; raise `Unavailable` for a folder that is closed to us."""
        with self._folder() as folder:
            return [] if folder is None else _names(folder)

    def mail(self, mail_id: UUID) -> OutboxMail:
        """Return a mail; raise `NotFound`, or `Conflict` for a file that is not a mail."""
        with self._folder() as folder:
            if folder is not None:
                for name in _names(folder):
                    if name.mail_id == mail_id:
                        return _mail(_content(folder, name))
        raise no_mail(mail_id)

    @contextmanager
    def _folder(self) -> Iterator[int | None]:
        """Open the folder; None before the first mail."""
        try:
            folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise Unavailable(f"the outbox cannot be read: {error.strerror}") from None
        try:
            yield folder
        finally:
            os.close(folder)


def no_mail(mail_id: UUID) -> NotFound:
    return NotFound(f"there is no mail {mail_id} in the outbox")


def _names(folder: int) -> list[MailFileName]:
    with os.scandir(folder) as entries:
        files = (one for one in islice(entries, ENTRIES_MAX) if one.is_file(follow_symlinks=False))
        names = [name for one in files if (name := MailFileName.of(one.name)) is not None]
    return sorted(names, reverse=True, key=lambda name: name.text)[:FOLDER_MAILS_MAX]


def _content(folder: int, name: MailFileName) -> bytes:
    """Return the content of a file, of which another process may have made something else."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name.text, flags, dir_fd=folder)
    except FileNotFoundError:
        raise no_mail(name.mail_id) from None
    except OSError as error:
        raise Conflict(f"the file of this mail cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise no_mail(name.mail_id)
        content = os.read(file, MAIL_BYTES_MAX + 1)
    finally:
        os.close(file)
    if len(content) > MAIL_BYTES_MAX:
        raise Conflict(f"the file of this mail has more than {MAIL_BYTES_MAX} bytes")
    return content


def _mail(content: bytes) -> OutboxMail:
    try:
        mail = email.message_from_bytes(content, policy=default)
        body = mail.get_body(("plain",))
        text = None if body is None else body.get_content()
        parts = (mail["To"], mail["Subject"], text)
    except Exception:  # noqa: BLE001  # The library's parser raises many kinds for a damaged file.
        parts = (None, None, None)
    if None in parts:
        # Without the cause, whose text may have a part of the file.
        raise Conflict("the file of this mail is damaged")
    return OutboxMail(*map(_valid, parts))


def _valid(part: object) -> str:
    """Return the text without lone surrogates, which no answer can carry."""
    return str(part).encode(errors="replace").decode()
