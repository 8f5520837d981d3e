"""One process for the operators' API and its pages."""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from console.pages.accounts.keys import KeyPages
from console.pages.accounts.mails import MailPages
from console.pages.accounts.users import UserPages
from console.pages.acts import ActPages
from console.pages.api import OperatorsApi
from console.pages.events import EventPages
from console.pages.overview import OverviewPages
from console.pages.projections.generations import GenerationPages
from console.pages.projections.parked import ParkedPages
from console.pages.projections.verifications import VerificationPages
from console.pages.values import FILTERS
from console.settings import BODY_BYTES_MAX, ConsoleSettings
from pages.application import Pages, Site
from pages.log_in import LogIn
from pages.rendering import Renderer

_OF_THE_API = ("/v1/", "/metrics", "/health", "/ready", "/openapi.json", "/docs")


class Console:
    """Answers the paths of the API by the service, and all others by pages."""

    def __init__(self, service: ASGIApp, settings: ConsoleSettings) -> None:
        folder = Path(__file__).parents[1]
        renderer = Renderer(folder, site_name="Starfold console", layout="console.html")
        renderer.add_filters(FILTERS)
        self._site = Site(settings, renderer, name="console", origin=settings.console_url)
        self._api = OperatorsApi(service)
        rooms: list[Pages] = [
            OverviewPages(self._site, self._api),
            GenerationPages(self._site, self._api),
            VerificationPages(self._site, self._api),
            ParkedPages(self._site, self._api),
            EventPages(self._site, self._api),
            UserPages(self._site, self._api),
            KeyPages(self._site, self._api),
            MailPages(self._site, self._api),
            ActPages(self._site, self._api),
            LogIn(self._site),
        ]
        self._service = service
        self._pages = self._site.application(rooms, body_bytes_max=BODY_BYTES_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._service(scope, receive, send)
            await self._api.close()
            await self._site.client.close()
        elif scope["type"] != "http" or scope["path"].startswith(_OF_THE_API):
            await self._service(scope, receive, send)
        else:
            await self._pages(scope, receive, send)
