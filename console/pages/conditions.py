"""Conditions of a list, which are in the address of its page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from console.pages.api import OperatorsApi
from pages.application import Site
from pages.sessions import Visitor


class ConditionedList:
    """A list whose conditions are in the address, so that a search can be passed on.

    `path` is the list's route, below which the export is; `conditions` has each condition's label.
    """

    def __init__(
        self, site: Site, api: OperatorsApi, path: str, conditions: Mapping[str, str]
    ) -> None:
        self._site = site
        self._api = api
        self._path = path
        self._conditions = conditions

    async def page(self, template: str, request: Request, visitor: Visitor) -> Response:
        """Show a page of the list, which the template knows as `found`."""
        asked = self._asked(request)
        cursor = request.query_params.get("cursor", "")
        found: dict[str, Any] = await self._api.get(visitor, self._path, **asked, cursor=cursor)
        following = found["next_cursor"]
        return self._site.renderer.page(
            template,
            visitor=visitor,
            found=found,
            conditions=self._conditions,
            asked=defaultdict(str, asked),
            selected=urlencode(asked),
            following=urlencode({**asked, "cursor": following}) if following else "",
            cursor=cursor,
        )

    async def export(self, request: Request, visitor: Visitor) -> Response:
        """Pass what is selected on as JSON lines, however much; a refusal is a page."""
        asked = self._asked(request)
        await self._api.get(visitor, self._path, **asked, limit=1)
        return self._api.passed_on(visitor, f"{self._path}/export", asked)

    def _asked(self, request: Request) -> dict[str, str]:
        """Return the conditions that are given."""
        given = ((name, request.query_params.get(name, "").strip()) for name in self._conditions)
        return {name: value for name, value in given if value}
