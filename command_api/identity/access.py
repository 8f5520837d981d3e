"""Permissions to call an operation of the command API.

Rules that depend on the body or on the named entity (a member rates for themselves, a service for
external users) are decided with the command, in `command_api/deciding/use_cases.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from command_api.deciding.principal import SCOPES, Member, Principal, Scope, Service
from command_api.deciding.use_cases import ALL_ROLES, CURATORS, OPERATORS
from shared.errors import Forbidden, NotAuthenticated
from shared.log.events import Role
from shared.web.openapi import ACCESS_TOKEN, SERVICE_KEY, Admission

NO_CREDENTIAL = "send an access token as `Authorization: Bearer TOKEN`"
NO_CREDENTIAL_OR_KEY = "send an access token or a service key as `Authorization: Bearer ...`"
ALL_SCOPES: frozenset[Scope] = frozenset(SCOPES)


class Access(NamedTuple):
    """The callers that an operation admits, by their credential alone.

    A member needs one of `roles`, a service one of `scopes`; an empty set admits none.
    `checked_first` asks the database about the caller before the body is read. On all other routes
    the command's own batch does, and the database is asked separately only before a request is
    refused for another reason. `checked_lately` is for bulk routes: their rows are checked again
    when they are decided, so that a recent check is enough before the body.
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
        """Raise `NotAuthenticated` or `Forbidden` by the credential alone."""
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

    @property
    def admission(self) -> Admission:
        """The admitted callers, for the documentation."""
        if self.credential_ignored:
            return Admission(is_charged=True)
        credentials: list[Mapping[str, Sequence[str]]] = [{}] if self.anonymous else []
        if self.roles == ALL_ROLES:
            credentials.append({ACCESS_TOKEN: []})
        else:
            credentials += [{ACCESS_TOKEN: [role]} for role in sorted(self.roles)]
        if self.scopes == ALL_SCOPES:
            credentials.append({SERVICE_KEY: []})
        else:
            credentials += [{SERVICE_KEY: [scope]} for scope in sorted(self.scopes)]
        return Admission(credentials, is_charged=True)

    @property
    def first(self) -> Access:
        return self._replace(checked_first=True)

    @property
    def lately(self) -> Access:
        return self._replace(checked_lately=True)

    def roles_for(self, principal: Principal, path_user: str | None) -> frozenset[Role]:
        """Return the roles of which a member needs one, given the user in the path."""
        if self.own_user and isinstance(principal, Member) and path_user is not None:
            try:
                if UUID(path_user) == principal.user_id:
                    return ALL_ROLES
            except ValueError:
                return self.roles
        return self.roles

    def _scopes(self) -> str:
        return " or ".join(sorted(map(repr, self.scopes)))


PUBLIC = Access(anonymous=True, credential_ignored=True)
MEMBERS = Access(roles=ALL_ROLES)
CATALOGUE = Access(roles=CURATORS, scopes=frozenset({"movies"}))
RATERS = Access(roles=ALL_ROLES, scopes=frozenset({"ratings"}))
USER_IMPORTERS = Access(scopes=frozenset({"users"}))
# A service that creates an external user needs the scope `users`: the body decides that.
SIGN_UP = Access(roles=ALL_ROLES, scopes=ALL_SCOPES, anonymous=True)
SESSIONS = Access(roles=ALL_ROLES, scopes=ALL_SCOPES)
ERASERS = Access(roles=OPERATORS, scopes=frozenset({"erasure"}), own_user=True)
ROLE_GIVERS = Access(roles=OPERATORS, scopes=frozenset({"roles"}))
# No command of theirs repeats the check.
KEY_MAKERS = Access(roles=OPERATORS, scopes=frozenset({"operate"})).first
SESSION_ENDERS = KEY_MAKERS
