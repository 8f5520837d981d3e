"""What commands are decided on: what to load for them, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from command_api.deciding.kept_answer import AnswerKey, KeptAnswer
from shared.ids import StreamId, UserId
from shared.log.stored_row import StoredRow


class LoadRequest(NamedTuple):
    """The last event of the streams `latest`, all of the streams `whole`, subjects' wrapped keys,
    which of the sessions have not ended, and the answers kept under the given keys.
    """

    latest: Sequence[StreamId] = ()
    whole: Sequence[StreamId] = ()
    subjects: Sequence[UserId] = ()
    sessions: Sequence[UUID] = ()
    answers: Sequence[AnswerKey] = ()


class LoadResult(NamedTuple):
    """Stored rows by stream in version order, wrapped keys by user, the sessions that have not
    ended, and the kept answers.
    """

    streams: dict[StreamId, list[StoredRow]]
    wrapped_keys: dict[UserId, bytes]
    sessions: frozenset[UUID] = frozenset()
    answers: Mapping[AnswerKey, KeptAnswer] = MappingProxyType({})
