"""Clients of both APIs for the operator's commands."""

from __future__ import annotations

import structlog

from ops.home.folder import Addresses
from starfold_client import ClientError, Starfold
from starfold_client.client import PATIENCE_S, TIMEOUT_S

log = structlog.get_logger()


def client_of(
    addresses: Addresses,
    api_key: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    patience_s: float = PATIENCE_S,
) -> Starfold:
    """Return a client that says in the log what it waits for.

    It ignores proxy variables: in a container they would lead to the services beside it.
    """
    return Starfold(
        addresses.command_url,
        addresses.query_url,
        api_key=api_key,
        timeout_s=timeout_s,
        patience_s=patience_s,
        trust_env=False,
        on_pause=_announce,
    )


def _announce(failed: ClientError, seconds: float) -> None:
    log.info("waiting", to="repeat a request", reason=str(failed), pause_s=round(seconds, 1))
