"""Reading and writing partitions in Redis: checkpoints, documents, and the compare-and-set call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import UUID

import redis
import structlog
from redis.exceptions import NoScriptError

from projector.documents.calls import Call, as_command
from projector.documents.connections import Connections, connections_of
from projector.documents.key_ranges import KeyRange, Parts, as_read, pairs, parts_of
from projector.documents.working_set import Key
from shared.errors import DocumentDamaged, Misconfigured
from shared.ids import NO_VERSION, START, Position, StreamId
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from shared.read_model.clients import (
    Command,
    is_wrong_type,
    primaries,
    redis_client,
    require_no_cluster,
)
from shared.read_model.damage import DAMAGED_KEY, DamageReport, decoded_report
from shared.read_model.documents import Parked
from shared.read_model.keys import (
    APPLIED_CHANNEL,
    CHECKPOINT,
    GENERATIONS_CHANNEL,
    REBUILDING,
    PartitionKeys,
    document_name,
)
from shared.read_model.kinds import PARKED_ENTITIES, PARKED_MARK

SCAN_KEYS = 1_000
UUID_BYTES = 16
ABSENT = b""
_OWN = frozenset({CHECKPOINT, REBUILDING})
# Never written: the server refuses its UNLINK like any other write, and it changes nothing.
NO_KEY = "sf:nothing"
NOTHING = StreamId(UUID(int=0))

log = structlog.get_logger()

_PUT_BACK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""


class PartitionQuery(NamedTuple):
    """What to read of a partition: some documents, and the parked entities if they are needed."""

    keys: PartitionKeys
    documents: Iterable[Key]
    parked: bool


class PartitionContents(NamedTuple):
    """The contents of a partition at one moment."""

    checkpoint: bytes
    documents: Sequence[bytes | None]
    parked: Sequence[Parked]


def building_marker(definition_version: int, build_token: UUID) -> bytes:
    """Return the checkpoint of a partition that is being built and has applied nothing yet."""
    return encode_checkpoint(
        Checkpoint(START, NOTHING, NO_VERSION, definition_version, build_token)
    )


class PartitionStore:
    """Reads and writes the partitions of one thread.

    Not thread-safe: each thread has its own store.
    """

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._script = files("projector.documents").joinpath("apply.lua").read_bytes()
        self._script_id = hashlib.sha1(self._script, usedforsecurity=False).hexdigest()

    # A cluster is connected to when its client is made, so that both are made on first use.
    @cached_property
    def _redis(self) -> Any:
        return redis_client(self._url)

    @cached_property
    def _connections(self) -> Connections:
        return connections_of(self._redis)

    def require_usable(self) -> None:
        """Raise `Misconfigured` if Redis could evict documents, or is a cluster's node alone."""
        if isinstance(self._redis, redis.Redis):
            require_no_cluster(self._redis, "STARFOLD_REDIS_URL")
        for server in self.servers():
            policy = server.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
            if policy != "noeviction":
                raise Misconfigured(
                    f"Redis runs with maxmemory-policy {policy}: it may drop read models; "
                    "set it to noeviction"
                )

    def servers(self) -> list[redis.Redis]:
        """Return a client for each server that holds keys of its own."""
        return primaries(self._redis)

    def require_writable(self) -> None:
        """Raise Redis's error if a connection leads to a replica, or to a read-only server.

        A server demoted in place keeps its connections, and answers reads from old data. In a
        cluster it would name its primary instead.
        """
        if not isinstance(self._redis, redis.Redis):
            return
        self._ask([("UNLINK", NO_KEY)])
        self._redis.unlink(NO_KEY)

    def checkpoints(self, partitions: Sequence[PartitionKeys]) -> list[bytes]:
        """Return the stored checkpoint of each partition, `ABSENT` for none."""
        commands = [("GET", keys.checkpoint) for keys in partitions]
        return [_readable(stored) for stored in self._ask(commands, raising=False)]

    def load(self, wanted: Sequence[PartitionQuery]) -> list[PartitionContents]:
        """Return the requested contents of each partition, in one round trip."""
        commands: list[Command] = []
        for keys, documents, parked in wanted:
            if parked:
                commands.append(("HGETALL", keys.document(PARKED_ENTITIES)))
            prefix = keys.prefix
            names = [prefix + document_name(kind, suffix) for kind, suffix in documents]
            commands.append(("MGET", keys.checkpoint, *names))
        answers = iter(self._ask(commands, raising=False))
        found = []
        for keys, _, parked in wanted:
            # Read before the checkpoint: if the checkpoint is unchanged, the parked entities are
            # too.
            parked_entities = self._parked_of(keys, next(answers)) if parked else ()
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            checkpoint, *values = answer
            if parked_entities is None:
                checkpoint, parked_entities = ABSENT, ()
            found.append(PartitionContents(_readable(checkpoint), values, tuple(parked_entities)))
        return found

    def parked(self, partitions: Iterable[PartitionKeys]) -> list[list[Parked]]:
        """Return the parked entities of each partition."""
        asked = list(partitions)
        commands = [("HGETALL", keys.document(PARKED_ENTITIES)) for keys in asked]
        answers = self._ask(commands, raising=False)
        return [
            self._parked_of(keys, answer) or [] for keys, answer in zip(asked, answers, strict=True)
        ]

    def _parked_of(self, keys: PartitionKeys, answer: Any) -> list[Parked] | None:
        """Decode the parked entities from the hash's fields and values.

        An entry that cannot be read marks its entity as damaged. If the entity itself is unknown,
        the set of parked entities is unreliable: the partition loses its checkpoint so that it is
        rebuilt, and the method returns None.
        """
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            self.lose(keys)
            return None
        found = []
        for field, value in pairs(answer):
            try:
                one = PARKED_MARK.decode(value)
            except DocumentDamaged:
                one = None
            if len(field) != UUID_BYTES or (one is not None and one.entity.bytes != field):
                self.lose(keys)
                return None
            found.append(one or _damaged(UUID(bytes=field)))
        return found

    def lose(self, keys: PartitionKeys) -> None:
        """Order the rebuild of a partition whose contents cannot be trusted."""
        log.error("partition_damaged", partition=keys.prefix)
        self.delete(keys.checkpoint)

    def snapshot(
        self, keys: PartitionKeys, ranges: Sequence[KeyRange]
    ) -> tuple[bytes, list[Parts | None]]:
        """Return a partition's checkpoint and the contents of each key range, in one transaction.

        A key of an unexpected type gives None.
        """
        commands: list[Command] = [("GET", keys.checkpoint)]
        commands += [as_read(keys.document(*one.key), one) for one in ranges]
        checkpoint, *answers = self._connections.ask_at_once(commands)
        found = [parts_of(one, answer) for one, answer in zip(ranges, answers, strict=True)]
        return _readable(checkpoint), found

    def stored_keys(self, projection: str, generation: int) -> Iterator[tuple[int, str]]:
        """Yield the partition and name of every key of a generation, except checkpoints.

        Keys that are created or deleted meanwhile may be missed.
        """
        start = f"sf:{{{projection}:{generation}:"
        for key in self._redis.scan_iter(match=start + "*", count=SCAN_KEYS):
            partition, _, name = key.decode(errors="replace").removeprefix(start).partition("}:")
            if name not in _OWN:
                yield int(partition), name

    def apply(
        self, calls: Sequence[Call], *, announce: Position | None = None
    ) -> list[bytes | None]:
        """Make the calls in order, in one round trip.

        Return for each call None if it was applied, else the stored checkpoint that it conflicts
        with. With `announce`, publish that position afterwards as a hint to waiting readers; it may
        get lost.
        """
        commands = [as_command(call, self._script_id) for call in calls]
        if announce is not None:
            commands.append(("PUBLISH", APPLIED_CHANNEL, announce))
        try:
            answers = self._ask(commands, raising=False)
            _raise_first(answers)
        except NoScriptError:
            # The server has restarted and lost the script. Send all calls again: it refuses the
            # ones that it had already applied.
            self._redis.script_load(self._script)
            answers = self._ask(commands, raising=False)
            _raise_first(answers)
        for call, answer in zip(calls, answers, strict=False):
            if isinstance(answer, Exception):  # The stored key has another type.
                self.lose(call.keys)
        return [None if answer == 1 else _readable(answer) for answer in answers[: len(calls)]]

    def mark(self, keys: PartitionKeys, name: str, marker: bytes) -> None:
        """Take over a partition whatever its state: its last writer is refused from now on."""
        self._redis.set(keys.prefix + name, marker)

    def put_back(self, keys: PartitionKeys, checkpoint: bytes) -> bool:
        """Finish the rebuild of a partition; return False if another builder has taken it over."""
        names = (keys.prefix + REBUILDING, keys.checkpoint)
        return bool(self._redis.eval(_PUT_BACK, len(names), *names, checkpoint))

    def reports(self) -> list[tuple[bytes, DamageReport | None]]:
        """Return the raw entries and reports of damage; None for an undecodable report."""
        try:
            entries = self._redis.smembers(DAMAGED_KEY)
        except redis.ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.delete(DAMAGED_KEY)
            return []
        return [(entry, decoded_report(entry)) for entry in entries]

    def take_reports(self, entries: Sequence[bytes]) -> None:
        """Remove entries from the set of reports."""
        if entries:
            self._redis.srem(DAMAGED_KEY, *entries)

    def delete(self, key: str) -> None:
        self._redis.unlink(key)

    def read(self, key: str) -> bytes | None:
        """Return the value of a key; an empty value if the key is no string, which is damage."""
        try:
            value: bytes | None = self._redis.get(key)
        except redis.ResponseError as error:
            if not is_wrong_type(error):
                raise
            return b""
        return value

    def announce_generations(self) -> None:
        """Tell readers to reload their copy of the generations; one that misses it polls later."""
        self._redis.publish(GENERATIONS_CHANNEL, "")

    def write(self, key: str, value: bytes) -> None:
        self._redis.set(key, value)

    def drop(self, partitions: Sequence[PartitionKeys], *, but_for: str | None = None) -> int:
        """Delete every key of partitions of one generation, in one scan; return their number.

        The scan deletes a few keys at a time.
        """
        if not partitions:
            return 0
        first = partitions[0]
        wanted = {one.prefix for one in partitions}
        kept = {one.prefix + but_for for one in partitions} if but_for else set()

        def is_wanted(key: str) -> bool:
            return key not in kept and key[: key.find("}:") + 2] in wanted

        return self._unlink(f"sf:{{{first.projection}:{first.generation}:*", is_wanted)

    def drop_everything(self) -> int:
        """Delete every key of every generation; return the number."""
        return self._unlink("sf:{*", lambda _key: True)

    def _unlink(self, pattern: str, is_wanted: Callable[[str], bool]) -> int:
        dropped = 0
        batch: list[bytes] = []
        for key in self._redis.scan_iter(match=pattern, count=SCAN_KEYS):
            if is_wanted(key.decode(errors="replace")):
                batch.append(key)
            if len(batch) == SCAN_KEYS:
                dropped += self._redis.unlink(*batch)
                batch.clear()
        return dropped + (self._redis.unlink(*batch) if batch else 0)

    def forget_connection(self) -> None:
        """Drop the connections, for example after an error."""
        made = vars(self)
        if "_connections" in made:
            self._connections.forget()
        if isinstance(made.get("_redis"), redis.Redis):
            self._redis.connection_pool.disconnect()

    def close(self) -> None:
        self.forget_connection()
        if "_redis" in vars(self):
            self._redis.close()

    def _ask(self, commands: Sequence[Command], *, raising: bool = True) -> list[Any]:
        """Send the commands at once and return their replies.

        An error among them is raised, or returned in the place of its reply.
        """
        answers = self._connections.ask(commands)
        if raising:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


def _raise_first(answers: Sequence[Any]) -> None:
    """Raise the first error that is not about a key's type."""
    for answer in answers:
        if isinstance(answer, Exception) and not is_wrong_type(answer):
            raise answer


def _damaged(entity: UUID) -> Parked:
    error = "the record of why it is parked is damaged"
    return Parked(entity=entity, position=START, topic="", error=error, damaged=True)


def _readable(stored: Any) -> bytes:
    """Return a stored checkpoint, or `ABSENT` for a damaged one, whose partition is then rebuilt.

    Raises Redis's errors.
    """
    if isinstance(stored, redis.ResponseError) and is_wrong_type(stored):
        return ABSENT
    if isinstance(stored, Exception):
        raise stored
    if not stored:
        return ABSENT
    try:
        decode_checkpoint(stored)
    except DocumentDamaged:
        return ABSENT
    checkpoint: bytes = stored
    return checkpoint
