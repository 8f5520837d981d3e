"""The table of requested mails: claim the due ones, one at a time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from shared.ids import UserId
from shared.log.event_store import Datastore

# A mail that cannot be sent is tried again after one minute, then two, four, up to an hour.
RETRY_FIRST_S = 60
RETRY_MAX_S = 3_600
ATTEMPTS_MAX = 12

# The next attempt is set before this one, so that a mail survives a sender that is killed, and no
# other sender takes it meanwhile.
_CLAIM = """
UPDATE mails SET attempts = attempts + 1, next_attempt_at
    = now() + make_interval(secs => least(%(first_s)s * 2.0 ^ attempts, %(longest_s)s))
WHERE mail_id = (
    SELECT mail_id FROM mails
    WHERE sealed IS NOT NULL AND next_attempt_at <= now() AND expires_at > now()
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING mail_id, user_id, purpose, sealed, created_at, attempts,
    (SELECT wrapped FROM subject_keys WHERE subject_keys.user_id = mails.user_id) AS wrapped
"""
_FINISH = "UPDATE mails SET sealed = NULL WHERE mail_id = %s"


class ClaimedMail(NamedTuple):
    """A mail to send now; `wrapped` is the key of its user, None for an erased one."""

    mail_id: UUID
    user_id: UserId
    purpose: str
    sealed: str
    created_at: datetime
    attempts: int
    wrapped: bytes | None


class MailTable:
    """The table, accessed through the event store's connections."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def claim(self) -> ClaimedMail | None:
        """Return a mail that is due, after which it is not due until its next attempt."""
        asked = {"first_s": RETRY_FIRST_S, "longest_s": RETRY_MAX_S}
        with self._datastore.get_connection() as connection:
            cursor = connection.cursor(row_factory=class_row(ClaimedMail))
            return cursor.execute(_CLAIM, asked).fetchone()

    def finish(self, mail_id: UUID) -> None:
        """Drop a mail's content: it has been sent, or never will be."""
        with self._datastore.get_connection() as connection:
            connection.execute(_FINISH, [mail_id])
