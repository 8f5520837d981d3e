"""The routes of the command API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import UNSET, UnsetType

from starfold_client.answers import (
    CommandReadiness,
    CreatedKey,
    CreatedUser,
    Export,
    Import,
    Imports,
    ListedSessions,
    NamedMovie,
    Rated,
    Role,
    RowResults,
    Session,
    Visibility,
)
from starfold_client.bulk import Bulk
from starfold_client.exchange import (
    USER_AGENT,
    Arguments,
    Endpoint,
    end_session,
    nothing,
    shape,
    start_session,
)
from starfold_client.routes import BulkRoute, command, given
from starfold_client.rows import Id, MovieChanges, NewMovie, NewRating, NewUser

ImportFormat = Literal["letterboxd", "imdb", "trakt", "movielens", "tmdb", "csv", "starfold"]

MIB = 1024 * 1024
# The largest bulk requests that the API takes.
USERS_MAX, USERS_BYTES_MAX = 1_000, 4_096_000
MOVIES_MAX, MOVIES_BYTES_MAX = 1_000, 16 * MIB
RATINGS_MAX, RATINGS_BYTES_MAX = 10_000, 16 * MIB
# Bulk requests that the API takes of one caller at the same time.
BULK_REQUESTS_MAX = 4


def _bulk(path: str) -> Endpoint[RowResults]:
    return Endpoint("command", "POST", path, shape(RowResults))


class Commands:
    """Commands, by the operation ids of the API's OpenAPI document.

    `if_match` takes an `etag` or a version; only that version is changed. Each call has an
    Idempotency-Key of its own; give one to repeat a call of another process.
    """

    @command("POST", "/v1/users", shape(CreatedUser))
    def sign_up(
        self, *, email: str, password: str, display_name: str, idempotency_key: str | None = None
    ) -> Arguments:
        """Sign up with an e-mail address and a password; log in afterwards."""
        body = {"email": email, "password": password, "display_name": display_name}
        return Arguments(body=body, idempotency_key=idempotency_key)

    @command("POST", "/v1/users", shape(CreatedUser))
    def create_external_user(
        self, external_id: str, display_name: str, *, idempotency_key: str | None = None
    ) -> Arguments:
        """Create an external user as a service, or find the one with this external id."""
        body = {"external_id": external_id, "display_name": display_name}
        return Arguments(body=body, idempotency_key=idempotency_key)

    create_external_users = BulkRoute(
        _bulk("/v1/users/batch"),
        Bulk[NewUser](
            field="users",
            rows_max=USERS_MAX,
            bytes_max=USERS_BYTES_MAX,
            is_repeatable=lambda _: True,
        ),
        "Create external users as a service, or find the ones with these external ids.",
    )

    @command("PATCH", "/v1/users/me", nothing)
    def change_profile(
        self,
        *,
        display_name: str | UnsetType = UNSET,
        visibility: Visibility | UnsetType = UNSET,
        if_match: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Change the caller's display name or visibility."""
        body = given(display_name=display_name, visibility=visibility)
        return Arguments(body=body, if_match=if_match, idempotency_key=idempotency_key)

    @command("PUT", "/v1/users/me/password", nothing, takes_key=False, is_repeatable=False)
    def change_password(self, *, old: str, new: str) -> Arguments:
        """Change the caller's password; their other sessions end."""
        return Arguments(body={"old": old, "new": new})

    @command("POST", "/v1/password-resets", nothing, takes_key=False, has_credential=False)
    def request_password_reset(self, *, email: str) -> Arguments:
        """Have a link for a new password mailed, if a user has the address."""
        return Arguments(body={"email": email})

    @command(
        "POST",
        "/v1/password-resets/use",
        nothing,
        takes_key=False,
        has_credential=False,
        is_repeatable=False,
    )
    def reset_password(self, *, token: str, password: str) -> Arguments:
        """Set a new password with the token of a mail; all of the user's sessions end."""
        return Arguments(body={"token": token, "password": password})

    @command("POST", "/v1/users/me/verification", nothing, takes_key=False, is_repeatable=False)
    def request_verification(self) -> Arguments:
        """Have a link mailed with which the caller verifies their e-mail address."""
        return Arguments()

    @command("POST", "/v1/verifications", nothing, takes_key=False, has_credential=False)
    def verify_email(self, *, token: str) -> Arguments:
        """Verify a user's e-mail address with the token of a mail."""
        return Arguments(body={"token": token})

    @command(
        "DELETE",
        "/v1/users/me",
        nothing,
        takes_key=False,
        is_repeatable=False,
        after=end_session,
    )
    def erase_me(self, *, if_match: str | int | None = None) -> Arguments:
        """Erase the caller: personal data becomes unreadable, scores stay in the averages."""
        return Arguments(if_match=if_match)

    @command("DELETE", "/v1/users/{user_id}", nothing)
    def erase_user(
        self,
        user_id: Id,
        *,
        if_match: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Erase a user (operators, and services with the scope `erasure`)."""
        path = {"user_id": user_id}
        return Arguments(path, if_match=if_match, idempotency_key=idempotency_key)

    @command("PUT", "/v1/users/{user_id}/role", nothing)
    def change_role(
        self, user_id: Id, role: Role, *, idempotency_key: str | None = None
    ) -> Arguments:
        """Give a user another role (operators, and services with the scope `roles`)."""
        return Arguments({"user_id": user_id}, body={"role": role}, idempotency_key=idempotency_key)

    @command("GET", "/v1/users/me/export", shape(Export), takes_key=False)
    def export_me(self) -> Arguments:
        """Return all stored data of the caller."""
        return Arguments()

    @command("GET", "/v1/users/me/export", bytes, takes_key=False)
    def export_ratings(
        self,
        format: Literal["csv", "letterboxd", "trakt"],  # noqa: A002  # A method has the API's names, and a test compares them.
    ) -> Arguments:
        """Return the caller's ratings as a file that other services read."""
        return Arguments(query={"format": format})

    @command(
        "POST",
        "/v1/sessions",
        shape(Session),
        takes_key=False,
        has_credential=False,
        after=start_session,
    )
    def log_in(self, *, email: str, password: str, user_agent: str = USER_AGENT) -> Arguments:
        """Log in; the client keeps the session, uses it, and renews it.

        `user_agent` is what the user's list of sessions shows.
        """
        return Arguments(body={"email": email, "password": password}, user_agent=user_agent)

    @command(
        "POST",
        "/v1/sessions",
        shape(Session),
        takes_key=False,
        has_credential=False,
        after=start_session,
    )
    def log_in_service(self, api_key: str) -> Arguments:
        """Log in as a service; sending the API key itself needs no log-in."""
        return Arguments(body={"api_key": api_key})

    @command("DELETE", "/v1/sessions/current", nothing, after=end_session)
    def log_out(self, *, idempotency_key: str | None = None) -> Arguments:
        """End the session; from then on the client is nobody's."""
        return Arguments(idempotency_key=idempotency_key)

    @command("GET", "/v1/users/me/sessions", shape(ListedSessions), takes_key=False)
    def list_sessions(self) -> Arguments:
        """Return the caller's open sessions, last used first, at most 100."""
        return Arguments()

    @command("DELETE", "/v1/users/me/sessions/{session_id}", nothing, takes_key=False)
    def end_session(self, session_id: Id) -> Arguments:
        """End one of the caller's sessions; raise `NotFound` if it is not open."""
        return Arguments({"session_id": session_id})

    @command("DELETE", "/v1/users/{user_id}/sessions", nothing, takes_key=False)
    def end_sessions(self, user_id: Id) -> Arguments:
        """End all sessions of a user (operators, and services with the scope `operate`)."""
        return Arguments({"user_id": user_id})

    @command("POST", "/v1/keys", shape(CreatedKey), takes_key=False, is_repeatable=False)
    def create_key(self, name: str, scopes: Sequence[str]) -> Arguments:
        """Create a service key (operators, and services with the scope `operate`)."""
        return Arguments(body={"name": name, "scopes": scopes})

    @command("DELETE", "/v1/keys/{key_id}", nothing, takes_key=False)
    def revoke_key(self, key_id: Id) -> Arguments:
        """Revoke a service key (operators, and services with the scope `operate`)."""
        return Arguments({"key_id": key_id})

    @command("POST", "/v1/movies", shape(NamedMovie))
    def create_movie(self, movie: NewMovie, *, idempotency_key: str | None = None) -> Arguments:
        """Add a movie, or find the one with its external id (curators, services)."""
        return Arguments(body=movie, idempotency_key=idempotency_key)

    create_movies = BulkRoute(
        _bulk("/v1/movies/batch"),
        Bulk[NewMovie](
            field="movies",
            rows_max=MOVIES_MAX,
            bytes_max=MOVIES_BYTES_MAX,
            is_repeatable=lambda movie: isinstance(movie.external_id, str),
        ),
        "Add movies, or find the ones with their external ids (curators, services).",
    )

    @command("PATCH", "/v1/movies/{movie_id}", nothing)
    def change_movie(
        self,
        movie_id: Id,
        changes: MovieChanges,
        *,
        if_match: str | int,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Correct a movie, whose `version` must still be the one that was read (curators)."""
        path = {"movie_id": movie_id}
        return Arguments(path, body=changes, if_match=if_match, idempotency_key=idempotency_key)

    @command("POST", "/v1/movies/{movie_id}/merge", shape(NamedMovie))
    def merge_movie(
        self, movie_id: Id, *, into: Id, idempotency_key: str | None = None
    ) -> Arguments:
        """Merge a movie into another one, which remains; the ratings move (curators)."""
        return Arguments(
            {"movie_id": movie_id}, body={"into": into}, idempotency_key=idempotency_key
        )

    @command("DELETE", "/v1/movies/{movie_id}", nothing)
    def withdraw_movie(
        self,
        movie_id: Id,
        *,
        if_match: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Withdraw a movie that has no ratings, for good (curators)."""
        path = {"movie_id": movie_id}
        return Arguments(path, if_match=if_match, idempotency_key=idempotency_key)

    @command("PUT", "/v1/movies/{movie_id}/rating", shape(Rated))
    def rate_movie(
        self,
        movie_id: Id,
        score: float,
        *,
        review: str | UnsetType | None = UNSET,
        rated_at: datetime | UnsetType = UNSET,
        if_match: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Rate a movie; without `review` the current one stays, None removes it."""
        return Arguments(
            {"movie_id": movie_id},
            body=given(score=score, review=review, rated_at=rated_at),
            if_match=if_match,
            idempotency_key=idempotency_key,
        )

    @command("DELETE", "/v1/movies/{movie_id}/rating", nothing)
    def withdraw_rating(
        self,
        movie_id: Id,
        *,
        if_match: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Arguments:
        """Withdraw the caller's rating, if there is one."""
        path = {"movie_id": movie_id}
        return Arguments(path, if_match=if_match, idempotency_key=idempotency_key)

    @command("POST", "/v1/ratings", shape(Rated))
    def submit_rating(self, rating: NewRating, *, idempotency_key: str | None = None) -> Arguments:
        """Rate a movie named in the rating; a service names the user too."""
        return Arguments(body=rating, idempotency_key=idempotency_key)

    submit_ratings = BulkRoute(
        _bulk("/v1/ratings/batch"),
        Bulk[NewRating](
            field="ratings",
            rows_max=RATINGS_MAX,
            bytes_max=RATINGS_BYTES_MAX,
            # A rating of now would replace one that came between its two attempts.
            is_repeatable=lambda rating: rating.rated_at is not UNSET,
        ),
        "Submit ratings; each is accepted or refused on its own.",
    )

    @command("POST", "/v1/users/me/imports", shape(Import), takes_key=False)
    def start_import(
        self,
        content: bytes,
        *,
        format: ImportFormat | None = None,  # noqa: A002  # A method has the API's names, and a test compares them.
    ) -> Arguments:
        """Import the caller's ratings from a file, whose format is found if none is given."""
        return Arguments(
            query={"format": format}, body=content, media_type="application/octet-stream"
        )

    @command("GET", "/v1/users/me/imports", shape(Imports), takes_key=False)
    def list_imports(self) -> Arguments:
        """Return the caller's imports, the newest first."""
        return Arguments()

    @command("GET", "/v1/users/me/imports/{import_id}", shape(Import), takes_key=False)
    def get_import(self, import_id: Id) -> Arguments:
        """Return an import's progress, counts, and films to choose a movie for."""
        return Arguments({"import_id": import_id})

    @command("GET", "/v1/users/me/imports/{import_id}/report", bytes, takes_key=False)
    def get_import_report(self, import_id: Id) -> Arguments:
        """Return what became of every row, as CSV."""
        return Arguments({"import_id": import_id})

    @command(
        "POST",
        "/v1/users/me/imports/{import_id}/choices",
        shape(Import),
        takes_key=False,
        is_repeatable=False,
    )
    def choose_movies(self, import_id: Id, choices: Mapping[int, Id]) -> Arguments:
        """Choose movies for unmatched films, by the number of the film."""
        chosen = [{"film": film, "movie_id": str(movie)} for film, movie in choices.items()]
        return Arguments({"import_id": import_id}, body={"choices": chosen})

    @command("DELETE", "/v1/users/me/imports/{import_id}", nothing, takes_key=False)
    def delete_import(self, import_id: Id) -> Arguments:
        """End an import and delete what is stored of it; ratings that are written stay."""
        return Arguments({"import_id": import_id})

    @command("GET", "/ready", shape(CommandReadiness), takes_key=False, has_credential=False)
    def command_ready(self) -> Arguments:
        """Return the last position of the log, once the event store answers."""
        return Arguments()
