"""A home's outbox: the mails that a projector without a mail server writes as files."""

from __future__ import annotations

import email
import email.policy
import re
from pathlib import Path

from projector.mails.sender import sender_of
from tests.support.system import System, eventually


class Outbox:
    """Sends the mails of a system into a folder, with links to a site."""

    def __init__(self, system: System, folder: Path, site: str) -> None:
        settings = system.projector_settings(mail_outbox=folder, web_url=site)
        sender = sender_of(settings, system.projector_wiring().events.connections)
        assert sender is not None
        self._sender = sender
        self._folder = folder
        self._site = site
        self._seen = 0

    def link(self, page: str) -> str:
        """Send what is due, and return the path and query that the next new mail links to."""
        mails = eventually(self._new)
        self._seen = len(mails)
        content = max(mails).read_bytes()
        body = email.message_from_bytes(content, policy=email.policy.default).get_body()
        assert body is not None
        (found,) = re.findall(rf"{self._site}(/{page}\?token=\S+)", body.get_content())
        return str(found)

    def _new(self) -> list[Path]:
        """Return all mails once there is a new one."""
        self._sender.send_due()
        mails = list(self._folder.glob("*.eml"))
        return mails if len(mails) > self._seen else []
