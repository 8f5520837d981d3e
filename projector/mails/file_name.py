"""The name of a mail's file in the outbox: what a list of mails shows, without opening a file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

_TIME = "%Y%m%dT%H%M%S"
# Releases before the console's list of mails wrote no purpose.
_FORM = re.compile(
    r"(?P<time>[0-9]{8}T[0-9]{6})"
    r"-(?P<mail_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"(?:-(?P<purpose>[a-z]{1,20}))?\.eml"
)


class MailFileName(NamedTuple):
    """When the mail was requested, to the second; its id in `mails`; its purpose."""

    created_at: datetime
    mail_id: UUID
    purpose: str | None

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Return the parts of a name; None for the name of another file."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        try:
            created_at = datetime.strptime(found["time"], _TIME).replace(tzinfo=UTC)
        except ValueError:  # A 13th month.
            return None
        return cls(created_at, UUID(found["mail_id"]), found["purpose"])

    @property
    def stem(self) -> str:
        """The name without its extension; names sort by time."""
        purpose = "" if self.purpose is None else f"-{self.purpose}"
        return f"{self.created_at.astimezone(UTC):{_TIME}}-{self.mail_id}{purpose}"

    @property
    def text(self) -> str:
        return f"{self.stem}.eml"
