"""Send the requested mails, each until the transport takes it or its link no longer works.

A mail is claimed, sent and finished. A kill between the last two sends it once more after the
restart; a kill before them loses nothing. Log lines name a mail by its id: never an address or a
token, and never the text of a mail server's answer, which repeats addresses.
"""

from __future__ import annotations

import smtplib

import msgspec
import structlog
from pydantic import SecretStr

from projector.mails.file_name import MailFileName
from projector.mails.messages import message
from projector.mails.table import ATTEMPTS_MAX, ClaimedMail, MailTable
from projector.mails.transports import Folder, MailServer, Transport, Undeliverable
from projector.settings import ProjectorSettings
from shared.errors import Misconfigured
from shared.log.event_store import Datastore
from shared.log.sealing import KeyWrap, unseal

log = structlog.get_logger()


class MailSender:
    """Sends mails from the table, one at a time; several senders share the work."""

    def __init__(
        self,
        table: MailTable,
        key_wrap: KeyWrap,
        transport: Transport,
        *,
        sender: str,
        web_url: str,
    ) -> None:
        self._table = table
        self._key_wrap = key_wrap
        self._transport = transport
        self._sender = sender
        self._web_url = web_url

    def send_due(self) -> None:
        """Send every mail that is due; stop at the first that the transport cannot take now."""
        if isinstance(self._transport, Folder):
            self._transport.prune()
        while (mail := self._table.claim()) is not None:
            if not self._send(mail):
                return

    def _send(self, mail: ClaimedMail) -> bool:
        """Return whether the transport works."""
        try:
            sent = self._deliver(mail)
        except (OSError, smtplib.SMTPException) as error:
            is_last = mail.attempts >= ATTEMPTS_MAX
            _note_failure(mail, type(error).__name__, is_last=is_last)
            if is_last:
                self._table.finish(mail.mail_id)
            return False
        except (Undeliverable, ValueError) as error:
            reason = str(error) if isinstance(error, Undeliverable) else "unusable address"
            _note_failure(mail, reason, is_last=True)
            sent = False
        except Misconfigured:  # The key of one user; the others' mails are sent.
            _note_failure(mail, Misconfigured.__name__, is_last=False)
            return True
        self._table.finish(mail.mail_id)
        if sent:
            log.info("mail_sent", mail_id=str(mail.mail_id), purpose=mail.purpose)
        return True

    def _deliver(self, mail: ClaimedMail) -> bool:
        """Return False for a user who has been erased."""
        if mail.wrapped is None:
            return False
        key = self._key_wrap.unwrap(mail.user_id, mail.wrapped)
        content = unseal(key, mail.mail_id.bytes, mail.sealed)
        address, token = msgspec.json.decode(content, type=tuple[str, str])
        made = message(
            mail.purpose,
            mail_id=mail.mail_id,
            created_at=mail.created_at,
            sender=self._sender,
            address=address,
            token=token,
            web_url=self._web_url,
        )
        name = MailFileName(mail.created_at, mail.mail_id, mail.purpose)
        self._transport.send(made, name.stem)
        return True


def sender_of(settings: ProjectorSettings, datastore: Datastore) -> MailSender | None:
    """Return the sender; None if the settings name neither a mail server nor a folder."""
    transport: Transport
    if settings.smtp_url is not None:
        transport = MailServer(
            settings.smtp_url, _clear(settings.smtp_user), _clear(settings.smtp_password)
        )
    elif settings.mail_outbox is not None:
        transport = Folder(settings.mail_outbox)
    else:
        return None
    return MailSender(
        MailTable(datastore),
        KeyWrap(*settings.sealing_keys),
        transport,
        sender=settings.mail_from,
        web_url=settings.web_url,
    )


def _clear(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _note_failure(mail: ClaimedMail, reason: str, *, is_last: bool) -> None:
    log.warning(
        "mail_failed",
        mail_id=str(mail.mail_id),
        purpose=mail.purpose,
        attempts=mail.attempts,
        reason=reason,
        given_up=is_last,
    )
