"""The outbox: mails without address and link, and one whole mail for a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor
from console.http.answers import unstored
from console.http.events import REVEAL_BYTES_MAX, RevealBody
from console.outbox import Outbox, OutboxMail, no_mail
from console.settings import ConsoleSettings
from console.worker_thread import WiredThread
from ops.acts.log import Record
from projector.wiring import Wiring
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid

REVEAL = "mail reveal"

Transport = Literal["outbox", "mail-server"]


class MailAnswer(BaseModel):
    """A mail in the outbox; its address and its link are not shown."""

    mail_id: UUID
    purpose: Annotated[str | None, Field(description="`reset` or `verification`, if known")]
    requested_at: datetime


class MailsAnswer(BaseModel):
    """Newest first, at most 200: the projector keeps no more."""

    transport: Annotated[
        Transport | None,
        Field(description="Where mails go by the settings of the console; null if they name none"),
    ]
    items: list[MailAnswer]


class RevealedMailAnswer(BaseModel):
    """A whole mail. Its link is as good as a password."""

    mail_id: UUID
    address: str
    subject: str
    text: str
    act_id: Annotated[UUID, Field(description="The act in the audit log")]


class RevealedMail(ActParameters):
    """One mail, revealed once for each Idempotency-Key."""

    mail_id: CanonicalUuid


class Mails:
    def __init__(self, reads: WiredThread, acts: ActExecutor, settings: ConsoleSettings) -> None:
        self._reads = reads
        self._acts = acts
        self._transport = _transport(settings)
        self._outbox: Outbox | None = None
        if self._transport == "outbox" and settings.mail_outbox is not None:
            self._outbox = Outbox(settings.mail_outbox)

    @operation(
        "GET",
        "/v1/operator/mails",
        tag="mails",
        access=OPERATORS_ONLY,
        parameters=Parameters,
        answers={200: AnswerKind("The mails in the outbox", MailsAnswer, ("Cache-Control",))},
    )
    async def list_mails(self, _: Request[Parameters, None]) -> Answer:
        """List the mails in the outbox, newest first; none where a mail server sends them."""
        outbox = self._outbox
        names = [] if outbox is None else await self._reads.run(lambda _: outbox.names())
        items = [
            {"mail_id": one.mail_id, "purpose": one.purpose, "requested_at": one.created_at}
            for one in names
        ]
        return unstored(json_answer({"transport": self._transport, "items": items}))

    @operation(
        "POST",
        "/v1/operator/mails/{mail_id}/reveal",
        tag="mails",
        access=OPERATORS_ONLY,
        parameters=RevealedMail,
        body=JsonBody(RevealBody, REVEAL_BYTES_MAX),
        answers={
            200: AnswerKind("The mail", RevealedMailAnswer, ("Cache-Control",)),
            409: AnswerKind("The file of the mail is damaged."),
        },
    )
    async def reveal_mail(self, request: Request[RevealedMail, RevealBody]) -> Answer:
        """Return a whole mail of the outbox: its address, and its text with the link.

        The audit log has the caller, the mail's id and the reason before anything is read. With an
        Idempotency-Key, a repeat within 24 hours of an act that is done is the same act; every
        other repeat is a further one.
        """
        mail_id = request.parameters.mail_id
        asked = {"mail_id": str(mail_id), "reason": request.body.reason}

        def read(_wiring: Wiring, _record: Record | None = None) -> OutboxMail:
            if self._outbox is None:
                raise no_mail(mail_id)
            return self._outbox.mail(mail_id)

        done = await self._acts.perform(request, REVEAL, asked, read)
        mail = done.value
        if mail is None:
            mail = await self._reads.run(read)
        answer = {"mail_id": mail_id, **mail._asdict(), "act_id": done.act_id}
        return unstored(json_answer(answer))


def _transport(settings: ConsoleSettings) -> Transport | None:
    """Return where the projector sends mails, if it has the same settings."""
    if settings.smtp_url is not None:
        return "mail-server"
    return None if settings.mail_outbox is None else "outbox"
