"""Members' imports of ratings from elsewhere: send a file, follow it, choose movies."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from command_api.bodies.answers import ImportAnswer, ImportsAnswer
from command_api.bodies.file_body import FileBody
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import ACCOUNT_BYTES_MAX, IMPORT_BYTES_MAX, ChoicesBody
from command_api.bulk.room import BulkRoom
from command_api.identity.access import MEMBERS
from command_api.imports.parts import ImportFormat, UnmatchedFilm
from command_api.imports.shelf import Import, Shelf
from shared.errors import InvalidInput
from shared.web.answer import Answer, AnswerKind, bytes_answer, empty_answer, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid
from shared.web.problems import InvalidFields

CSV = "text/csv; charset=utf-8"
_NO_STORE = (b"cache-control", "no-store")
_ACCEPTED = AnswerKind("The import; the rest happens by itself", ImportAnswer, ("Location",))


class WantedImport(Parameters):
    format: ImportFormat | None = None


class NamedImport(Parameters):
    import_id: CanonicalUuid


class Imports:
    def __init__(self, shelf: Shelf, room: BulkRoom) -> None:
        self._shelf = shelf
        self._room = room

    @operation(
        "POST",
        "/v1/users/me/imports",
        tag="imports",
        access=MEMBERS.first,
        parameters=WantedImport,
        body=FileBody(IMPORT_BYTES_MAX),
        answers={
            202: _ACCEPTED,
            409: AnswerKind("An import of another file is in progress."),
        },
    )
    async def start_import(self, request: Request[WantedImport, None]) -> Answer:
        """Import ratings from a file of Letterboxd, IMDb, Trakt, TMDB, MovieLens, or a spreadsheet.

        The body is the file as it is, CSV, JSON or ZIP; without `format` the format is found from
        it. A member has one import in progress; to send its file again is safe.
        """
        user_id = request.caller.member.user_id
        self._room.require_place(user_id)
        content = await self._room.received(user_id, request.parts())
        with self._room.entered(user_id):
            if not request.body_bytes_stated:
                request.caller.charge_rows(1, len(content))
            if not content:
                raise InvalidFields([(("body",), "Field required")])
            one = await self._shelf.add(user_id, content, request.parameters.format)
        return _accepted(one)

    @operation(
        "GET",
        "/v1/users/me/imports",
        tag="imports",
        access=MEMBERS.first,
        answers={200: AnswerKind("The imports", ImportsAnswer, ("Cache-Control",))},
    )
    async def list_imports(self, request: Request[Parameters, None]) -> Answer:
        """Return the caller's imports, the newest first; they are kept for a week."""
        mine = await self._shelf.mine(request.caller.member.user_id)
        return json_answer({"items": [_shown(one) for one in mine]}).with_field(*_NO_STORE)

    @operation(
        "GET",
        "/v1/users/me/imports/{import_id}",
        tag="imports",
        access=MEMBERS.first,
        parameters=NamedImport,
        answers={200: AnswerKind("The import", ImportAnswer, ("Cache-Control",))},
    )
    async def get_import(self, request: Request[NamedImport, None]) -> Answer:
        """Return an import's progress, counts, and the films to choose a movie for."""
        one = await self._named(request)
        films = await self._shelf.choices(one) if one.state == "finished" else []
        return json_answer(_shown(one, films)).with_field(*_NO_STORE)

    @operation(
        "GET",
        "/v1/users/me/imports/{import_id}/report",
        tag="imports",
        access=MEMBERS.first,
        parameters=NamedImport,
        answers={
            200: AnswerKind(
                "A line for each row of the file",
                headers=("Cache-Control", "Content-Disposition"),
                example="file,line,status,title,year,movie_id,half_stars,detail\r\n",
                media_type="text/csv",
            )
        },
    )
    async def get_import_report(self, request: Request[NamedImport, None]) -> Answer:
        """Return what became of every row of the file so far, as CSV."""
        made = bytes_answer(await self._shelf.report(await self._named(request)), CSV)
        made = made.with_field(*_NO_STORE)
        return made.with_field(b"content-disposition", 'attachment; filename="import-report.csv"')

    @operation(
        "POST",
        "/v1/users/me/imports/{import_id}/choices",
        tag="imports",
        access=MEMBERS.first,
        parameters=NamedImport,
        body=JsonBody(ChoicesBody, 2 * ACCOUNT_BYTES_MAX),
        answers={
            202: _ACCEPTED,
            409: AnswerKind("The import is in progress, or another one is."),
        },
    )
    async def choose_movies(self, request: Request[NamedImport, ChoicesBody]) -> Answer:
        """Choose movies for unmatched films of a finished import; their ratings are then written.

        The movie need not be among the candidates. A film can be chosen for once.
        """
        one = await self._named(request)
        chosen = {choice.film: choice.movie_id for choice in request.body.choices}
        if len(chosen) < len(request.body.choices):
            raise InvalidInput("a film is chosen for twice", pointer="/choices")
        await self._shelf.choose(one, chosen)
        return _accepted(await self._named(request))

    @operation(
        "DELETE",
        "/v1/users/me/imports/{import_id}",
        tag="imports",
        access=MEMBERS.first,
        parameters=NamedImport,
        answers={204: AnswerKind("Done")},
    )
    async def delete_import(self, request: Request[NamedImport, None]) -> Answer:
        """End an import and delete what is stored of it; ratings that are written stay."""
        user_id = request.caller.member.user_id
        await self._shelf.delete(user_id, request.parameters.import_id)
        return empty_answer()

    async def _named(self, request: Request[NamedImport, Any]) -> Import:
        return await self._shelf.get(request.caller.member.user_id, request.parameters.import_id)


def _accepted(one: Import) -> Answer:
    made = json_answer(_shown(one), HTTPStatus.ACCEPTED)
    return made.with_field(b"location", f"/v1/users/me/imports/{one.import_id}")


def _shown(one: Import, films: Sequence[UnmatchedFilm] = ()) -> dict[str, Any]:
    is_read = one.state in ("writing", "finished")
    return {
        "import_id": one.import_id,
        "state": one.state,
        "format": one.format,
        "created_at": one.created_at,
        "progress": one.parts_written / one.parts if one.parts else float(is_read),
        "rows": one.counts,
        "failure": one.failure,
        "unmatched": [
            {
                "film": film.number,
                "title": film.title,
                "year": film.year,
                "half_stars": film.proposal.half_stars,
                "candidates": film.candidates,
            }
            for film in films
        ],
    }
