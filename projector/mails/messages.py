"""The text of the mails."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple
from uuid import UUID


class _Text(NamedTuple):
    subject: str
    page: str
    body: str


_TEXTS: Mapping[str, _Text] = {
    "reset": _Text(
        "Set a new password",
        "reset",
        "Somebody, probably you, has asked for a new password of your Starfold account.\n"
        "This link sets one. It works once, for 30 minutes:\n\n{link}\n\n"
        "If it was not you, ignore this mail: your password stays as it is.\n",
    ),
    "verification": _Text(
        "Confirm your e-mail address",
        "verify",
        "Please confirm that this is the e-mail address of your Starfold account.\n"
        "The link works for 24 hours:\n\n{link}\n\n"
        "If you have no account, ignore this mail.\n",
    ),
}


def message(
    purpose: str,
    *,
    mail_id: UUID,
    created_at: datetime,
    sender: str,
    address: str,
    token: str,
    web_url: str,
) -> EmailMessage:
    """Return a mail; raise `ValueError` for an address that no header can carry.

    Its `Message-ID` is the same for each attempt, so that mail programs recognise a second copy.
    """
    text = _TEXTS[purpose]
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = _address(address)
    made["Subject"] = text.subject
    made["Date"] = created_at
    made["Message-ID"] = f"<{mail_id}@starfold>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text.body.format(link=f"{web_url}/{text.page}?token={token}"))
    return made


def _address(text: str) -> Address:
    try:
        address = Address(addr_spec=text)
    except Exception:  # noqa: BLE001  # The library's parser raises many kinds, AttributeError among them.
        address = None
    if address is None or not text.isascii() or address.addr_spec != text:
        # Without the cause, whose text has the address.
        raise ValueError("is an address that not every mail server takes")
    return address
