"""The command API, called in the name of the operator whose request is answered.

What appends to the log goes there: the console has the worker's role, which may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from console.settings import ConsoleSettings
from shared import errors
from shared.web.operation import Request
from shared.web.tokens import bearer_token
from starfold_client import Starfold
from starfold_client.errors import ClientError, ConnectionFailed, OutcomeUnknown, Problem

# The thread of acts waits meanwhile.
TIMEOUT_S = 10.0
PATIENCE_S = 3.0

_REFUSALS: dict[str, type[errors.Rejected]] = {
    one.code: one
    for one in (
        errors.Conflict,
        errors.Forbidden,
        errors.InvalidInput,
        errors.NotAuthenticated,
        errors.NotFound,
        errors.StaleVersion,
    )
}


class CommandClient:
    """Calls with the caller's own credential, so that they need every right that the call needs."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._client = Starfold(
            settings.command_url, settings.query_url, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S
        )

    @contextmanager
    def of(self, request: Request[Any, Any]) -> Iterator[Starfold]:
        """Yield a client of the request's caller; raise the errors that HTTP answers with."""
        # A client sends an API key as it is, and never renews it: that fits any credential.
        credential = bearer_token(request.field(b"authorization"))
        with refusals():
            yield self._client.for_caller(api_key=credential)

    def close(self) -> None:
        self._client.close()


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what the command API refuses as an error of our own, with its words."""
    try:
        yield
    except (ConnectionFailed, OutcomeUnknown) as error:
        if isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
            raise errors.Unavailable("the command API does not answer") from error
        raise errors.AppendOutcomeUnknown(
            "the command API did not answer: the act was done, or was not"
        ) from error
    except Problem as error:
        refusal = _REFUSALS.get(error.code)
        if refusal is not None:
            raise refusal(error.detail) from None
        if error.code == errors.TooManyRequests.code:
            wait_s = int(error.retry_after_s or 1)
            raise errors.TooManyRequests(error.detail, retry_after_s=wait_s) from None
        raise errors.Unavailable(f"the command API answered {error.status}") from error
    except ClientError as error:
        raise errors.Unavailable("the command API does not answer as documented") from error
