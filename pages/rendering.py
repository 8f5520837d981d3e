"""Templates and static files of a process that serves pages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

_SHARED = Path(__file__).parent
_FOREVER = "public, max-age=31536000, immutable"
_ASK = "no-cache"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Renderer:
    """Renders the templates of a folder, and of the kit; escapes every value."""

    def __init__(self, folder: Path, **common: object) -> None:
        self._static = StaticFiles(_SHARED / "static", folder / "static")
        self._environment = Environment(
            loader=FileSystemLoader([folder / "templates", _SHARED / "templates"]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "static": self._static.url,
            "signup": None,
            "reset": None,
            **common,
        }

    @property
    def route(self) -> Route:
        """The route of the static files."""
        return Route("/static/{name}", self._static.answer)

    def add_filters(self, filters: Mapping[str, Any]) -> None:
        self._environment.filters |= filters

    def page(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Render a template; a name that it uses and nobody gave is an error."""
        return HTMLResponse(self._environment.get_template(template).render(values), status)


class StaticFiles:
    """The files that pages load.

    Pages use names with a hash of the content, kept for ever; modules import one another by their
    plain names, for which browsers ask each time whether they have changed.
    """

    def __init__(self, *folders: Path) -> None:
        self._hashed: dict[str, str] = {}
        self._files: dict[str, tuple[Path, str]] = {}
        for folder in folders:
            for file in sorted(folder.glob("*")):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
                self._hashed[file.name] = f"{file.stem}.{digest}{file.suffix}"
                self._files[self._hashed[file.name]] = file, f'"{digest}"'
                self._files[file.name] = file, f'"{digest}"'

    def url(self, name: str) -> str:
        """Return the path of a file by its plain name."""
        return f"/static/{self._hashed[name]}"

    async def answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return Response("There is no such file.", 404, media_type="text/plain")
        file, etag = self._files[name]
        headers = {"ETag": etag, "Cache-Control": _ASK if name in self._hashed else _FOREVER}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return FileResponse(file, media_type=_TYPES[file.suffix], headers=headers)
