"""Every error that crosses a module, in one tree. Imports no framework.

    StarfoldError
    ├── Rejected                a command that a business rule refuses; nothing was recorded
    │   ├── MalformedJson           a body that is not JSON
    │   ├── MalformedHeader         a header that is not what its name says
    │   ├── InvalidInput            a value that the contract does not allow
    │   ├── IdempotencyKeyReused    an Idempotency-Key that came with another request before
    │   ├── NotFound                what the command or query names does not exist
    │   ├── Forbidden               the caller may not do this
    │   ├── NotAuthenticated        no caller, or one that cannot be believed
    │   ├── Moved                   a movie that was merged into another one
    │   ├── Gone                    a movie that was withdrawn
    │   ├── Conflict                another fact stands against it (a taken e-mail, a taken imdb_id)
    │   ├── RatingSuperseded        a rating dated before the standing one
    │   ├── StaleVersion            the caller decided on an older version than the standing one
    │   └── TooManyRequests         the caller's rate limit, or that of failed log-ins
    ├── Overloaded              a bounded queue is full; nothing was accepted
    ├── AppendRefused           the log moved on since the batch was loaded; load and decide again
    ├── AppendOutcomeUnknown    the connection was lost, and could not be had again in time
    ├── StorageFull             the disk of a server that is needed is full
    ├── Unavailable             a server that is needed does not answer
    │   └── StoreAway               PostgreSQL; a statement on its way may have taken effect
    ├── ProjectionBehind        a read model has not reached the wanted position in time
    ├── DocumentDamaged         a stored value is not what was written; its projector heals it
    ├── LogDiverged             another event stands where a checkpoint points
    ├── EventUnreadable         a stored event is of no type or shape that this release knows
    ├── TooManyParked           more entities stand still than a partition may have
    ├── AuditImpossible         read models and log cannot be compared now
    ├── ProjectionFault         an event cannot be folded into the read model
    │   └── DocumentUnusable        because a stored document is damaged, or is not there
    └── Misconfigured           a setting or a server's setting with which nothing may start

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
        """Of a read: what it has seen is of this position."""
        self.position = position
        return self


class Rejected(StarfoldError):
    """A business rule refuses the command; nothing was recorded.

    `pointer` is the JSON pointer of the field that is at fault, if one is.
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
    """A header that is not in the form that HTTP gives it."""

    code = "malformed-header"


class InvalidInput(Rejected):
    code = "invalid-input"


class IdempotencyKeyReused(Rejected):
    code = "idempotency-key-reused"


class NotFound(Rejected):
    code = "not-found"


class Moved(Rejected):
    """A movie was merged into another one; `location` is where the query API serves that."""

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


class StaleVersion(Rejected):
    code = "stale-version"


class TooManyRequests(Rejected):
    """`retry_after_s` says when the caller may come again."""

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
    """PostgreSQL cannot be reached, or the connection was lost: a statement that was on its way may
    have taken effect.

    `silent` says that it did not answer at all, `retry` that another connection may do better.
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
