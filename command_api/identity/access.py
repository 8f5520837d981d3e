"""The command API's authorization table: the callers that each route admits.

Rules that depend on the body or on the named entity (a member rates for themselves, a service for
external users) are decided with the command, in `command_api/deciding/use_cases.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args
from uuid import UUID

from command_api.deciding.principal import Member, Principal, Scope, Service
from command_api.deciding.use_cases import CURATORS, EVERYBODY, OPERATORS
from shared.errors import Forbidden, NotAuthenticated
from shared.log.events import Role

NO_CREDENTIAL = "send an access token as `Authorization: Bearer TOKEN`"
NO_CREDENTIAL_OR_KEY = "send an access token or a service key as `Authorization: Bearer ...`"
ALL_SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


class Access(NamedTuple):
    """Who may call a route.

    A member needs one of `roles`, a service one of `scopes`; with none of them no member and no
    service may. `checked_first` asks the database about the caller before the body is read. For
    all other routes the command's own batch does, and the database is asked separately only before
    a request is refused for another reason. `checked_lately` is for bulk routes: their rows are
    checked again when they are decided, so that a check of a moment ago will do before the body.
    """

    roles: frozenset[Role] = frozenset()
    scopes: frozenset[Scope] = frozenset()
    anonymous: bool = False
    credential_ignored: bool = False
    # A member may also name themselves in the path, whatever their role.
    own_user: bool = False
    checked_first: bool = False
    checked_lately: bool = False

    def require(self, principal: Principal) -> None:
        """Raise `NotAuthenticated` or `Forbidden` by what the credential alone says."""
        match principal:
            case Member():
                if not self.roles:
                    raise Forbidden(f"this needs a service key with the scope {self._scopes()}")
            case Service(scopes=scopes):
                if not self.scopes:
                    raise Forbidden("this needs a user's access token")
                if self.scopes != ALL_SCOPES and not self.scopes & scopes:
                    raise Forbidden(f"this needs a service key with the scope {self._scopes()}")
            case _:
                if not self.anonymous:
                    raise NotAuthenticated(NO_CREDENTIAL_OR_KEY if self.scopes else NO_CREDENTIAL)

    def roles_for(self, principal: Principal, path_user: str | None) -> frozenset[Role]:
        """The roles of which a member needs one, given the user that the path names."""
        if self.own_user and isinstance(principal, Member) and path_user is not None:
            try:
                if UUID(path_user) == principal.user_id:
                    return EVERYBODY
            except ValueError:
                return self.roles
        return self.roles

    def _scopes(self) -> str:
        return " or ".join(sorted(map(repr, self.scopes)))


PUBLIC = Access(anonymous=True, credential_ignored=True)
MEMBERS = Access(roles=EVERYBODY)
CATALOGUE = Access(roles=CURATORS, scopes=frozenset({"movies"}))
RATERS = Access(roles=EVERYBODY, scopes=frozenset({"ratings"}))

ROUTES: Mapping[tuple[str, str], Access] = {
    # A service that names an external user needs the scope `users`: that is in the body.
    ("POST", "/v1/users"): Access(roles=EVERYBODY, scopes=ALL_SCOPES, anonymous=True),
    ("POST", "/v1/users/batch"): Access(scopes=frozenset({"users"}), checked_lately=True),
    ("PATCH", "/v1/users/me"): MEMBERS,
    ("PUT", "/v1/users/me/password"): MEMBERS._replace(checked_first=True),
    ("DELETE", "/v1/users/me"): MEMBERS,
    ("GET", "/v1/users/me/export"): MEMBERS._replace(checked_first=True),
    ("DELETE", "/v1/users/{user_id}"): Access(
        roles=OPERATORS, scopes=frozenset({"erasure"}), own_user=True
    ),
    ("PUT", "/v1/users/{user_id}/role"): Access(roles=OPERATORS, scopes=frozenset({"roles"})),
    ("POST", "/v1/sessions"): PUBLIC,
    ("POST", "/v1/sessions/refresh"): PUBLIC,
    ("DELETE", "/v1/sessions/current"): Access(roles=EVERYBODY, scopes=ALL_SCOPES),
    ("POST", "/v1/movies"): CATALOGUE,
    ("POST", "/v1/movies/batch"): CATALOGUE._replace(checked_lately=True),
    ("PATCH", "/v1/movies/{movie_id}"): CATALOGUE,
    ("PUT", "/v1/movies/{movie_id}/rating"): MEMBERS,
    ("DELETE", "/v1/movies/{movie_id}/rating"): MEMBERS,
    ("POST", "/v1/ratings"): RATERS,
    ("POST", "/v1/ratings/batch"): RATERS._replace(checked_lately=True),
}


def access_to(method: str, path: str) -> Access:
    """The access of a route; raises `LookupError` for one that the table lacks."""
    try:
        return ROUTES[method, path]
    except KeyError:
        raise LookupError(f"{method} {path} has no entry in identity/access.py") from None
