"""The mails in the outbox."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from pages.application import Site
from pages.sessions import Visitor
from starfold_client.errors import Problem

LIST = "/mails"


class MailPages:
    """The list, and one whole mail for a reason."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        path = f"{LIST}/{{mail_id:uuid}}/reveal"
        revealing = ConfirmedAct(self._site, path, self.ask_reveal, self.reveal)
        return [self._site.page(LIST, self.mails), *revealing.routes()]

    async def mails(self, _: Request, visitor: Visitor) -> Response:
        found = await self._api.get(visitor, LIST)
        return self._site.renderer.page("mails.html", visitor=visitor, found=found)

    async def ask_reveal(self, request: Request, visitor: Visitor) -> Confirmation:
        mail_id = str(request.path_params["mail_id"])
        items = (await self._api.get(visitor, LIST))["items"]
        if mail_id not in [one["mail_id"] for one in items]:
            raise Problem("not-found", 404, detail="The mail is not in the outbox any more.")
        return Confirmation(
            f"Reveal the mail {mail_id}",
            (
                "The next page shows its address, and its text with the link.",
                "The link is as good as a password: pass it on to the mail's recipient alone.",
                "The audit log has your account and the reason before anything is read.",
            ),
            "Reveal",
            LIST,
            template="confirm_reason.html",
        )

    async def reveal(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        """Show the mail in the answer itself: it has no address that another could open."""
        path = f"{LIST}/{request.path_params['mail_id']}/reveal"
        body = {"reason": sent.text("reason")}
        mail = await self._api.act(visitor, "POST", path, sent, body)
        return self._site.renderer.page("revealed_mail.html", visitor=visitor, mail=mail)
