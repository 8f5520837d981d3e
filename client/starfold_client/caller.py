"""The caller of an API: their credential, and the position of their last write."""

from __future__ import annotations

import threading
import time

from starfold_client.answers import Session
from starfold_client.errors import NotAuthenticated

# An access token that ends this soon is renewed before it is used.
RENEW_BEFORE_S = 30.0


class Caller:
    """Nobody, a service with its API key, or the member or service of a session."""

    def __init__(
        self,
        api_key: str | None = None,
        session: Session | None = None,
        position: int = 0,
        forwarded_for: str | None = None,
    ) -> None:
        if api_key is not None and session is not None:
            raise ValueError("give an API key or a session, not both")
        self._api_key = api_key
        self._position = position
        self.forwarded_for = forwarded_for
        self._noting = threading.Lock()
        self._session: Session | None = None
        self._renew_at = 0.0
        self._ended: NotAuthenticated | None = None
        if session is not None:
            self.start(session)

    def __repr__(self) -> str:
        kind = "session" if self._session else "api_key" if self._api_key else "anyone"
        return f"Caller({kind}, position={self._position})"

    @property
    def session(self) -> Session | None:
        return self._session

    @property
    def position(self) -> int:
        return self._position

    def note(self, position: int) -> None:
        """Remember the position of a write, for the reads that follow it."""
        with self._noting:
            self._position = max(self._position, position)

    def start(self, session: Session) -> None:
        self._renew_at = time.monotonic() + session.expires_in_s - RENEW_BEFORE_S
        self._ended = None
        self._session = session

    def end(self, reason: NotAuthenticated | None = None) -> None:
        """Forget the session; with a reason, later calls fail for it until a new log-in."""
        self._session = None
        self._ended = reason

    def credential(self, *, takes_api_key: bool) -> str | None:
        """Return the access token or, where one is taken, the API key."""
        if self._ended is not None:
            raise self._ended
        if self._session is not None:
            return self._session.access_token
        return self._api_key if takes_api_key else None

    def must_renew(self) -> bool:
        return self._session is not None and time.monotonic() > self._renew_at
