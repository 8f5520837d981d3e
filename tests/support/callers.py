"""Callers of each kind that the APIs let in or refuse."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from typer.testing import CliRunner

from ops.cli import app as cli
from shared.ids import UserId
from shared.web.tokens import TOKEN_LIFETIME_S, TokenIssuer
from tests.support.api import Api
from tests.support.system import System

SCOPES = ("users", "ratings", "movies", "roles", "erasure", "operate")


class Callers:
    """Makes callers of each kind."""

    def __init__(self, system: System, api: Api) -> None:
        self._system = system
        self._api = api
        settings = system.command_settings()
        self._issuer = TokenIssuer(
            settings.token_private_key.get_secret_value(), issuer="starfold", audience="starfold"
        )
        self.kinds: dict[str, Callable[[], str | None]] = {
            "anonymous": lambda: None,
            "an invalid token": lambda: "let.me.in",
            "an expired token": self._expired,
            "an ended session": self._logged_out,
            "an erased user": self._erased,
            "a member": lambda: api.sign_up().token,
            "a curator": lambda: api.sign_up(role="curator").token,
            "an operator": lambda: api.sign_up(role="operator").token,
            "a revoked key": self._revoked,
            "an ended session of a key": self._logged_out_service,
        } | {f"a key for {scope}": self._key(scope) for scope in SCOPES}
        self.readers = {
            **self.kinds,
            "a former operator": self._demoted,
            "a revoked key's token": self._revoked_token,
        } | {f"a token for {scope}": self._token(scope) for scope in SCOPES}
        self._kept: dict[str, dict[str, str]] = {}

    def headers(self, kind: str) -> dict[str, str]:
        """The same caller each time, for requests that change nothing."""
        if kind not in self._kept:
            self._kept[kind] = self.new_headers(kind)
        return self._kept[kind]

    def new_headers(self, kind: str) -> dict[str, str]:
        credential = self.readers[kind]()
        return {} if credential is None else {"Authorization": f"Bearer {credential}"}

    def _key(self, scope: str) -> Callable[[], str]:
        return lambda: self._system.service_key([scope])

    def _token(self, scope: str) -> Callable[[], str]:
        return lambda: self._token_for(self._system.service_key([scope]))

    def _token_for(self, key: str) -> str:
        session = self._api.expect(201, self._api.post("/v1/sessions", {"api_key": key}))
        return str(session["access_token"])

    def _demoted(self) -> str:
        user = self._api.sign_up(role="operator")
        answer = self._api.command.put(
            f"/v1/users/{user.user_id}/role", json={"role": "member"}, headers=self._api.service
        )
        self._api.expect(204, answer)
        return user.token

    def _revoked_token(self) -> str:
        key = self._system.service_key()
        token = self._token_for(key)
        environment = self._system.command_environment() | {
            "STARFOLD_OWNER_DATABASE_URL": self._system.servers.home.owner_dsn()
        }
        result = CliRunner().invoke(cli, ["keys", "revoke", key], env=environment)
        assert result.exit_code == 0, result.output
        self._api.position = self._system.event_store().head()
        return token

    def _expired(self) -> str:
        user_id = UserId(UUID(self._api.sign_up().user_id))
        return self._issuer.issue(user_id, "operator", now_s=time.time() - TOKEN_LIFETIME_S - 100)

    def _logged_out(self) -> str:
        return self._log_out(self._api.sign_up(role="operator").token)

    def _log_out(self, token: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._api.command.delete("/v1/sessions/current", headers=headers)
        self._api.expect(204, answer)
        return token

    def _logged_out_service(self) -> str:
        return self._log_out(self._token_for(self._system.service_key()))

    def _erased(self) -> str:
        user = self._api.sign_up(role="operator")
        self._api.expect(204, self._api.command.delete("/v1/users/me", headers=user.headers))
        return user.token

    def _revoked(self) -> str:
        key = self._system.service_key()
        with self._system.owner() as owner:
            revoke = "UPDATE service_keys SET revoked_at = now() WHERE key_id = %s"
            owner.execute(revoke, [UUID(key.split("_")[1])])
        return key
