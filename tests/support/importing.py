"""A running command API to import to as a member, and a worker's reader of the files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx

from ops.imports.inbox import Inbox
from tests.support.api import Api, User
from tests.support.system import System, eventually

IMPORTS = "/v1/users/me/imports"
EXPORT = "/v1/users/me/export"
# A row of each outcome.
SHEET = (
    "imdb_id,tmdb_id,title,year,rating,rated_at,review\r\n"
    'tt0113277,,Heat,1995,4.5,2024-05-06,"So ""good"",\nreally."\r\n'
    ",348,Alien,1979,5,2024-05-07,\r\n"
    ",,Twins,1988,2,2024-05-08,\r\n"
    ",,Unheard Of,2001,3,2024-05-09,\r\n"
    ",,Ronin,1998,9,2024-05-10,\r\n"
)


class Importing(Api):
    """A running command API, and a worker's reader that reads a file at each `step`."""

    def __init__(self, system: System, command_url: str, query_url: str) -> None:
        super().__init__(command_url, query_url, system.service_key())
        self.system = system
        self.owner = system.owner()
        self.inbox = Inbox(system.projector_settings())

    def send(self, user: User, content: bytes | str, **parameters: Any) -> httpx.Response:
        return self.command.post(IMPORTS, content=content, params=parameters, headers=user.headers)

    def start(self, user: User, content: bytes | str, **parameters: Any) -> str:
        answer = self.send(user, content, **parameters)
        location: str = answer.headers.get("location", "")
        assert self.expect(202, answer)["state"] == "queued"
        return location

    def state(self, user: User, location: str) -> dict[str, Any]:
        found: dict[str, Any] = self.expect(200, self.command.get(location, headers=user.headers))
        return found

    def ended(self, user: User, location: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found = self.state(user, location)
            return found if found["state"] in ("finished", "failed") else None

        return eventually(ended)

    def imported(self, user: User, content: bytes | str, **parameters: Any) -> dict[str, Any]:
        location = self.start(user, content, **parameters)
        assert self.inbox.step()
        return self.ended(user, location)

    def report(self, user: User, location: str) -> list[dict[str, str]]:
        answer = self.command.get(f"{location}/report", headers=user.headers)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.text, newline="")))

    def add_import(self, user: User, *, part: bytes = b"", leased_until: str | None = None) -> UUID:
        """Add an import whose ratings are to be written, and return its id."""
        import_id = uuid4()
        with self.owner.transaction():
            self.owner.execute(
                "INSERT INTO imports"
                " (import_id, user_id, file_hmac, state, parts, leased_until, changed_at)"
                " VALUES (%s, %s, '', 'writing', 1, %s, now() - interval '1 hour')",
                [import_id, user.user_id, leased_until],
            )
            self.owner.execute(
                "INSERT INTO import_parts VALUES (%s, 'ratings', 0, %s)", [import_id, part]
            )
        return import_id

    @contextmanager
    def trigger(self, moment: str, body: str, table: str = "imports") -> Iterator[None]:
        """Have PostgreSQL do something at each change of a row."""
        self.owner.execute(
            "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            f" AS $$ BEGIN {body} END $$"
        )
        self.owner.execute(
            f"CREATE TRIGGER act {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION act()"
        )
        yield
        self.owner.execute("DROP FUNCTION act CASCADE")

    def exported(self, user: User, kind: str) -> bytes:
        answer = self.command.get(EXPORT, params={"format": kind}, headers=user.headers)
        assert answer.status_code == 200, answer.text
        return answer.content

    def rows(self, table: str) -> int:
        ((count,),) = self.owner.execute(f"SELECT count(*) FROM {table}").fetchall()
        return int(count)

    def ratings(self, user: User) -> dict[str, float]:
        rows = csv.DictReader(io.StringIO(self.exported(user, "csv").decode(), newline=""))
        return {row["title"]: float(row["rating"]) for row in rows}
