"""Commit one batch of commands: load its streams, decide each command in turn, append once.

The append is refused when a stream has changed since it was loaded. Then the whole batch is loaded
and decided again, never "the rest" of it: a command that survived its batch's refusal would have
been decided on a state that included commands which did not. After `REFUSALS_MAX` refusals the
whole batch runs under the append lock, where nothing can refuse it.

When the connection is lost, the append may have been committed, or may still be. The committer then
appends the same events again, with the same ids and versions: either they are inserted, or the
stored events show whose they are. Looking first would be unsound: they may be absent now and
committed a moment later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from command_api.commit.batch import BatchDecision, decide_batch, further_needs_of, needs_of
from command_api.commit.pending_command import Answer, PendingCommand
from command_api.deciding.load_result import LoadRequest
from command_api.deciding.state_cache import StateCache
from command_api.deciding.streams import Streams
from command_api.store.append import Append, NewRow
from command_api.store.commit_store import CommitStore
from shared.errors import AppendOutcomeUnknown, AppendRefused, StorageFull, StoreAway
from shared.ids import CLOSURES, Position, StreamId
from shared.log.codec import Codec, event_id_of
from shared.log.connections import cause_of
from shared.log.sealing import KeyWrap, SubjectKeys

REFUSALS_MAX = 2
RESOLVE_FOR_S = 15.0
# A server that exited because of a full disk does not come back before there is space.
RESOLVE_FULL_FOR_S = 1.0
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0

_FULL_DURING_COMMIT = (
    "the disk of the event store became full during a commit: the command may or may not have been"
    " recorded; a retry is safe"
)

log = structlog.get_logger()


class Committer:
    """Commits batches, one at a time."""

    def __init__(self, store: CommitStore, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap
        self._cache = StateCache()

    @property
    def store_is_silent(self) -> bool:
        """Whether the store did not answer the last attempt."""
        return self._store.silent

    async def commit(self, batch: Sequence[PendingCommand]) -> list[Answer]:
        """Return an answer for each command, in order; one command's error is its own answer."""
        try:
            return await self._commit_reconnecting(batch)
        except StoreAway as error:
            self._cache.forget()
            cause = cause_of(error.__cause__ or error)
            log.warning("store_unavailable", commands=len(batch), error=cause)
            return [self._store.server.answer_of(error)] * len(batch)
        except (AppendOutcomeUnknown, StorageFull) as error:
            return [error] * len(batch)
        except Exception as error:  # Any error: it must not reach a neighbour.
            if len(batch) == 1:
                command = type(batch[0].command).__name__
                log.exception("command_failed", command=command, **batch[0].origin)
                return [error]
            # Isolate the failing command by bisection.
            middle = len(batch) // 2
            return await self.commit(batch[:middle]) + await self.commit(batch[middle:])

    async def close(self) -> None:
        await self._store.close()

    async def _commit_reconnecting(self, batch: Sequence[PendingCommand]) -> list[Answer]:
        """Commit the batch, and try again if a lost connection cannot have written it.

        The connection may have been idle, and closed long ago; or it was lost under the append
        lock, and other events took the places meanwhile.
        """
        try:
            return await self._commit(batch)
        except (StoreAway, AppendRefused) as error:
            if isinstance(error, StoreAway) and not error.retry:
                raise
            self._cache.forget()
            return await self._commit(batch)

    async def _commit(self, batch: Sequence[PendingCommand]) -> list[Answer]:
        for _ in range(REFUSALS_MAX):
            decided = await self._load_and_decide(batch)
            if not decided.writes:
                return decided.answers(None)
            append = self._encode(decided)
            try:
                return decided.answers(await self._append(append))
            except AppendRefused as refusal:
                log.info("batch_refused", commands=len(batch), reason=str(refusal))
        return await self._commit_under_lock(batch)

    async def _commit_under_lock(self, batch: Sequence[PendingCommand]) -> list[Answer]:
        append: Append | None = None
        decided: BatchDecision | None = None
        first: Position | None = None
        try:
            async with self._store.holding_append_lock():
                decided = await self._load_and_decide(batch)
                if decided.writes:
                    append = self._encode(decided)
                    first = await self._store.append(append)
        except StoreAway:
            self._cache.forget()
            if append is None or decided is None:
                raise
            first = await self._resolve(append)
        assert decided is not None
        return decided.answers(first)

    async def _load_and_decide(self, batch: Sequence[PendingCommand]) -> BatchDecision:
        needs = needs_of(batch)
        cache = self._cache
        movies = needs.streams.movies
        unknown = [StreamId(one) for one in movies if not cache.is_open(one)]
        loaded = await self._store.load(
            LoadRequest(
                latest=[*needs.streams.latest, *unknown],
                whole=needs.streams.whole,
                subjects=needs.streams.subjects,
                sessions=needs.sessions,
                answers=needs.answers,
            )
        )
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        streams = Streams(loaded, self._codec, keys, cache)
        further = list(further_needs_of(batch, streams))
        rates = CLOSURES in needs.streams.latest
        if rates and not cache.require_closures(streams.closures_version):
            further += [StreamId(one) for one in movies if one not in loaded.streams]
        if further:
            streams.add((await self._store.load(LoadRequest(whole=further))).streams)
        return decide_batch(batch, streams, loaded)

    def _encode(self, decided: BatchDecision) -> Append:
        """Encode the batch's events and what is stored with them: keys, sessions, answers."""
        streams, effects = decided.streams, decided.streams.effects
        new_keys = {user_id: streams.keys.add(user_id) for user_id in effects.new_subjects}
        encode = self._codec.encode
        return Append(
            [
                NewRow(
                    new.stream_id,
                    new.version,
                    type(new.event).__name__,
                    encode(new.event, new.metadata, streams.keys),
                )
                for new in streams.events
            ],
            dict(streams.guards),
            new_keys,
            [*effects.erased_users, *effects.erased_addresses],
            new_password_users=list(effects.new_passwords),
            kept_sessions=[kept for kept in effects.new_passwords.values() if kept],
            ended_sessions=effects.ended_sessions,
            answers=decided.new_answers,
        )

    async def _append(self, append: Append) -> Position:
        try:
            return await self._store.append(append)
        except StoreAway as error:
            self._cache.forget()
            cause = cause_of(error.__cause__ or error)
            log.warning("append_outcome_unknown", events=len(append.events), error=cause)
            return await self._resolve(append)

    async def _resolve(self, append: Append) -> Position:
        """Append the same events again until there is an answer.

        Raises `AppendRefused` if other events took their places, `AppendOutcomeUnknown` if no
        answer came in time, or `StorageFull`, earlier, if the server exited because of a full disk.
        """
        started_at = time.monotonic()
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._append_or_find(append)
            except (StoreAway, StorageFull) as error:
                full = self._store.server.full
                within_s = RESOLVE_FULL_FOR_S if full else RESOLVE_FOR_S
                if time.monotonic() + pause_s > started_at + within_s:
                    if full:
                        raise StorageFull(_FULL_DURING_COMMIT) from error
                    raise AppendOutcomeUnknown(
                        "the connection to the event store was lost during a commit: the command"
                        " may or may not have been recorded; a retry is safe"
                    ) from error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def _append_or_find(self, append: Append) -> Position:
        try:
            return await self._store.append(append)
        except AppendRefused as refusal:
            return await self._position_if_ours(append, refusal)

    async def _position_if_ours(self, append: Append, refusal: Exception) -> Position:
        """Return the first event's position if exactly these events are stored."""
        places = [(event.stream_id, event.version) for event in append.events]
        stored = await self._store.stored_at(places)
        # Without events, the kept answers were refused, and the stored ones are the right ones.
        ours = bool(places) and all(
            place in stored and event_id_of(stored[place][1]) == event_id_of(event.state)
            for place, event in zip(places, append.events, strict=True)
        )
        if not ours:
            raise AppendRefused(str(refusal)) from refusal
        log.info("append_had_committed", events=len(append.events))
        return stored[places[0]][0]
