"""Every error that crosses a module, in one tree. Imports no framework.

    StarfoldError
    ├── Rejected                a command that a business rule refuses; nothing was recorded
    │   ├── MalformedJson           a body that is not JSON
    │   ├── MalformedHeader         a header whose value has the wrong form
    │   ├── InvalidInput            a value that the contract does not allow
    │   ├── IdempotencyKeyReused    an Idempotency-Key that was used with another request
    │   ├── NotFound                the entity of a command or query does not exist
    │   ├── Forbidden               the caller may not do this
    │   ├── NotAuthenticated        no credential, or an invalid one
    │   ├── Moved                   a movie that was merged into another one
    │   ├── Gone                    a movie that was withdrawn
    │   ├── Conflict                an e-mail address or IMDb id that is taken
    │   ├── RatingSuperseded        a rating dated before the current one
    │   ├── EventIndexOff           a question to the event index, which no projector keeps up
    │   ├── StaleVersion            the caller decided on a version older than the current one
    │   └── TooManyRequests         the caller's rate limit, or the one of failed log-ins
    ├── Overloaded              a bounded queue is full; nothing was accepted
    ├── AppendRefused           the log has changed since the load: load and decide again
    ├── AppendOutcomeUnknown    the connection was lost, and a new one did not succeed in time
    ├── StorageFull             the disk of a required server is full
    ├── Unavailable             a required server does not answer
    │   └── StoreAway               PostgreSQL; a statement in flight may have taken effect
    ├── ProjectionBehind        a read model has not reached the requested position in time
    ├── DocumentDamaged         a stored value fails its check; the projector heals it
    ├── LogDiverged             the log has another event at a checkpoint's position
    ├── EventUnreadable         this release does not know a stored event's type or shape
    ├── TooManyParked           a partition has too many parked entities
    ├── AuditImpossible         read models and log cannot be compared now
    ├── ProjectionFault         an event cannot be folded into the read model
    │   └── DocumentUnusable        because a stored document is damaged or missing
    └── Misconfigured           a setting, of ours or of a server, that prevents a start

The HTTP status of each is in one table, `shared/web/problems.py`.
"""

from __future__ import annotations

from typing import ClassVar, Self

from shared.ids import MovieId, Position


class StarfoldError(Exception):
    """The root; `code` is the stable last part of the problem's `type`."""

    code: ClassVar[str] = "internal"
    position: Position | None = None

    def at(self, position: Position) -> Self:
        """Attach the position of the read that led to the error."""
        self.position = position
        return self


class Rejected(StarfoldError):
    """A business rule refuses the command; nothing was recorded.

    `pointer` is the JSON pointer of the faulty field, if there is one.
    """

    code = "rejected"

    def __init__(self, detail: str, *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class MalformedJson(Rejected):
    """A body that is not JSON in UTF-8."""

    code = "malformed-json"

    def __init__(self) -> None:
        super().__init__("the body is not valid JSON")


class MalformedHeader(Rejected):
    """A header whose value does not have the form that HTTP requires."""

    code = "malformed-header"


class InvalidInput(Rejected):
    code = "invalid-input"


class IdempotencyKeyReused(Rejected):
    code = "idempotency-key-reused"


class NotFound(Rejected):
    code = "not-found"


class Moved(Rejected):
    """A movie was merged; the query API serves the remaining movie at `location`."""

    code = "moved"

    def __init__(self, movie_id: MovieId, into: MovieId) -> None:
        super().__init__(f"movie {movie_id} was merged into {into}")
        self.into = into
        self.location = f"/v1/movies/{into}"


class Gone(Rejected):
    """A movie was withdrawn, for good."""

    code = "gone"


class Forbidden(Rejected):
    code = "forbidden"


class NotAuthenticated(Rejected):
    code = "not-authenticated"


class Conflict(Rejected):
    code = "conflict"


class RatingSuperseded(Rejected):
    code = "rating-superseded"


class EventIndexOff(Rejected):
    """Only the event index answers by actor, request, user, movie and time."""

    code = "event-index-off"

    def __init__(self) -> None:
        super().__init__(
            "events are found by time, actor, correlation, user and movie only with the event"
            " index: start the projector with STARFOLD_EVENT_INDEX=true"
        )


class StaleVersion(Rejected):
    code = "stale-version"


class TooManyRequests(Rejected):
    """The caller may retry after `retry_after_s`."""

    code = "too-many-requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(StarfoldError):
    code = "overloaded"


class AppendRefused(StarfoldError):
    code = "append-refused"


class AppendOutcomeUnknown(StarfoldError):
    code = "outcome-unknown"


class StorageFull(StarfoldError):
    code = "storage-full"


class Unavailable(StarfoldError):
    code = "unavailable"


class StoreAway(Unavailable):
    """PostgreSQL cannot be reached, or the connection was lost during a statement.

    The statement may have taken effect. `silent` means that the server did not answer at all,
    `retry` that another connection may succeed.
    """

    def __init__(self, detail: str, *, silent: bool = False, retry: bool = True) -> None:
        super().__init__(detail)
        self.silent = silent
        self.retry = retry


class ProjectionBehind(StarfoldError):
    code = "projection-behind"


class DocumentDamaged(StarfoldError):
    code = "document-damaged"


class LogDiverged(StarfoldError):
    code = "log-diverged"


class ProjectionFault(StarfoldError):
    code = "projection-fault"


class DocumentUnusable(ProjectionFault):
    code = "document-unusable"


class EventUnreadable(StarfoldError):
    code = "event-unreadable"


class TooManyParked(StarfoldError):
    code = "too-many-parked"


class AuditImpossible(StarfoldError):
    code = "audit-impossible"


class Misconfigured(StarfoldError):
    code = "misconfigured"
