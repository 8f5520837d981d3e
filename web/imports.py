"""Importing ratings from elsewhere: send a file, follow it, choose films, fetch the report."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages import forms
from pages.application import Site
from pages.sessions import Visitor
from pages.uploads import Uploads, content_of
from starfold_client.answers import Import
from starfold_client.commands import ImportFormat
from starfold_client.errors import Conflict, InvalidInput, NotFound

MIB = 1024 * 1024
# What the command API takes.
FILE_BYTES_MAX = 16 * MIB
FORM_BYTES_MAX = FILE_BYTES_MAX + 64 * 1024
UPLOADS_MAX = 4

FORMATS: Mapping[ImportFormat, str] = {
    "letterboxd": "Letterboxd",
    "imdb": "IMDb",
    "trakt": "Trakt",
    "movielens": "MovieLens",
    "tmdb": "TMDB",
    "csv": "a spreadsheet (CSV)",
    "starfold": "a Starfold (the export of everything)",
}
# Outcomes of rows, those that matched first.
MATCHED: Mapping[str, str] = {
    "imported": "imported",
    "unchanged": "rated so here already",
    "superseded": "rated here later",
}
OTHERS: Mapping[str, str] = {
    "unmatched": "without a film to match",
    "not rated": "seen, but not rated",
    "skipped": "no film, such as a series",
    "refused": "not readable; the report says why",
}
DONE = {
    "deleted": "The import is deleted. The ratings that it wrote stay.",
    "busy": "An import is in progress: wait for its end, or cancel it.",
    "gone": "This import is no longer here: imports are kept for a week.",
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FILM = re.compile(r"(film|other)-([0-9]{1,9})", re.ASCII)


class ImportPages:
    """The pages below `/import`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._uploads = Uploads(UPLOADS_MAX)

    def routes(self) -> Sequence[Route]:
        page, one = self._site.page, "/import/{import_id:uuid}"
        return [
            page("/import", self.imports),
            page("/import", self.upload, methods=["POST"], body_bytes_max=FORM_BYTES_MAX),
            page(one, self.follow),
            page(one, self.choose, methods=["POST"]),
            page(f"{one}/delete", self.delete, methods=["POST"]),
            page(f"{one}/report", self.report),
        ]

    async def imports(self, request: Request, visitor: Visitor) -> Response:
        return await self._imports(visitor, done=request.query_params.get("done", ""))

    async def upload(self, request: Request, visitor: Visitor) -> Response:
        """Pass a file on to the command API; nobody but a member gets to send one."""
        await visitor.client.list_imports()
        async with self._uploads.receiving(request, visitor.user_id) as form:
            content = await content_of(form, "file")
            wanted = forms.text(form, "format")
            chosen = cast("ImportFormat", wanted) if wanted in FORMATS else None
            if content:
                try:
                    started = await visitor.client.start_import(content, format=chosen)
                except Conflict:
                    return RedirectResponse("/import?done=busy", 303)
                return RedirectResponse(_path(started.import_id), 303)
        return await self._imports(visitor, errors={"file": "Choose a file."})

    async def follow(self, request: Request, visitor: Visitor) -> Response:
        try:
            one = await visitor.client.get_import(request.path_params["import_id"])
        except NotFound:
            return RedirectResponse("/import?done=gone", 303)
        return self._import(visitor, one)

    async def choose(self, request: Request, visitor: Visitor) -> Response:
        """Import the ratings of the films that movies were chosen for."""
        import_id: UUID = request.path_params["import_id"]
        form = await request.form()
        movies, errors = _chosen(form)
        if not movies and not errors:
            errors = {"choices": "Choose a film for at least one row."}
        if not errors:
            try:
                await visitor.client.choose_movies(import_id, movies)
            except InvalidInput as refused:
                errors = {"choices": " ".join(one.detail for one in refused.errors)}
            except Conflict:
                errors = {"choices": DONE["busy"]}
            except NotFound:
                return RedirectResponse("/import?done=gone", 303)
        if errors:
            one = await visitor.client.get_import(import_id)
            return self._import(visitor, one, errors, form)
        return RedirectResponse(_path(import_id), 303)

    async def delete(self, request: Request, visitor: Visitor) -> Response:
        try:
            await visitor.client.delete_import(request.path_params["import_id"])
        except NotFound:
            return RedirectResponse("/import?done=gone", 303)
        return RedirectResponse("/import?done=deleted", 303)

    async def report(self, request: Request, visitor: Visitor) -> Response:
        import_id = request.path_params["import_id"]
        report = await visitor.client.get_import_report.answer(import_id)
        fields = report.headers
        headers = {"Content-Disposition": fields["content-disposition"]}
        return Response(report.value, 200, headers, fields["content-type"])

    async def _imports(
        self, visitor: Visitor, *, done: str = "", errors: Mapping[str, str] | None = None
    ) -> Response:
        listed = (await visitor.client.list_imports()).items
        return self._site.renderer.page(
            "imports.html",
            status=422 if errors else 200,
            visitor=visitor,
            imports=listed,
            in_progress=next((one for one in listed if _is_in_progress(one)), None),
            formats=FORMATS,
            matched=MATCHED,
            megabytes=FILE_BYTES_MAX // MIB,
            file_bytes_max=FILE_BYTES_MAX,
            done=done,
            done_text=DONE.get(done, ""),
            errors=defaultdict(str, errors or {}),
        )

    def _import(
        self,
        visitor: Visitor,
        one: Import,
        errors: Mapping[str, str] | None = None,
        form: FormData | None = None,
    ) -> Response:
        return self._site.renderer.page(
            "import.html",
            status=422 if errors else 200,
            visitor=visitor,
            one=one,
            here=_path(one.import_id),
            is_in_progress=_is_in_progress(one),
            format=FORMATS.get(cast("ImportFormat", one.format), ""),
            matched=sum(one.rows.get(outcome, 0) for outcome in MATCHED),
            total=sum(one.rows.values()),
            outcomes={**MATCHED, **OTHERS},
            errors=defaultdict(str, errors or {}),
            given=defaultdict(str, form or {}),
        )


def _chosen(form: FormData) -> tuple[dict[int, UUID], dict[str, str]]:
    """Return the chosen movies by the number of the film, and what is wrong by field."""
    movies: dict[int, UUID] = {}
    errors: dict[str, str] = {}
    for name in sorted(form):  # An address that was typed comes last, and counts.
        field, value = _FILM.fullmatch(name), forms.text(form, name).strip()
        if field is None or not value:
            continue
        found = _UUID.search(value)
        if found is None:
            errors[name] = "This is no address of a film here."
        else:
            movies[int(field[2])] = UUID(found[0])
    return movies, errors


def _is_in_progress(one: Import) -> bool:
    return one.state not in ("finished", "failed")


def _path(import_id: UUID) -> str:
    return f"/import/{import_id}"
