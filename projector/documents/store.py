"""Reading and writing partitions in Redis: checkpoints, documents, and the compare-and-set call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import UUID

import redis
import structlog
from redis.exceptions import NoScriptError

from projector.documents.calls import Call, Command, as_command
from projector.documents.slices import Parts, Slice, parts_of, read_slice
from projector.documents.working_set import Key
from shared.errors import DocumentDamaged, Misconfigured
from shared.ids import NO_VERSION, START, Position, StreamId
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from shared.read_model.clients import is_wrong_type, packed, redis_client, require_no_cluster
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
# Never written: unlinking it is refused like any write, and changes nothing.
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


class Wanted(NamedTuple):
    """What is to be read of a partition: documents, and its parked entities if they are needed."""

    keys: PartitionKeys
    documents: Iterable[Key]
    parked: bool


class Found(NamedTuple):
    """What stood there, all at one moment."""

    checkpoint: bytes
    documents: Sequence[bytes | None]
    parked: Sequence[Parked]


def building_marker(definition_version: int, build_token: UUID) -> bytes:
    """The checkpoint of a partition that is being built: nothing has been applied yet."""
    return encode_checkpoint(
        Checkpoint(START, NOTHING, NO_VERSION, definition_version, build_token)
    )


class PartitionStore:
    """Not for several threads at once: each has its own."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = redis_client(redis_url)
        # Of its own, so that a pass does not ask the pool for one at every step.
        self._connection: Any = self._redis.connection_pool.make_connection()
        self._script = files("projector.documents").joinpath("apply.lua").read_bytes()
        self._script_id = hashlib.sha1(self._script, usedforsecurity=False).hexdigest()

    def require_usable(self) -> None:
        """Raise `Misconfigured` where Redis could drop a document by itself, or is a cluster."""
        require_no_cluster(self._redis, "STARFOLD_REDIS_URL")
        policy = self._redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            raise Misconfigured(
                f"Redis runs with maxmemory-policy {policy}: it may drop read models; "
                "set it to noeviction"
            )

    def require_writable(self) -> None:
        """Raise Redis's error if a connection leads to a replica, or to a server without writes.

        A server that was demoted in place keeps its connections, and answers reads from old data.
        """
        self._ask([("UNLINK", NO_KEY)])
        self._redis.unlink(NO_KEY)

    def checkpoints(self, partitions: Sequence[PartitionKeys]) -> list[bytes]:
        """The stored checkpoint of each partition, `ABSENT` for none."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys in partitions:
                pipeline.get(keys.checkpoint)
            return [_readable(stored) for stored in pipeline.execute(raise_on_error=False)]

    def load(self, wanted: Sequence[Wanted]) -> list[Found]:
        """For each partition what is wanted of it, in one round trip."""
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
            # Read before the checkpoint: if that is the one that was held, so are these.
            parked_entities = self._parked_of(keys, next(answers)) if parked else ()
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            checkpoint, *values = answer
            if parked_entities is None:
                checkpoint, parked_entities = ABSENT, ()
            found.append(Found(_readable(checkpoint), values, tuple(parked_entities)))
        return found

    def parked(self, partitions: Iterable[PartitionKeys]) -> list[list[Parked]]:
        """The parked entities of each partition."""
        asked = list(partitions)
        commands = [("HGETALL", keys.document(PARKED_ENTITIES)) for keys in asked]
        answers = self._ask(commands, raising=False)
        return [
            self._parked_of(keys, answer) or [] for keys, answer in zip(asked, answers, strict=True)
        ]

    def _parked_of(self, keys: PartitionKeys, answer: Any) -> list[Parked] | None:
        """The parked entities of the hash's fields and values.

        Where one cannot be read, its entity is damaged; where it cannot be told whose it is, nobody
        knows who is parked: the partition loses its checkpoint, is rebuilt, and None is returned.
        """
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            self.lose(keys)
            return None
        # By the protocol's version a mapping, or fields and values in turn.
        if not isinstance(answer, dict):
            answer = dict(zip(answer[::2], answer[1::2], strict=True))
        found = []
        for field, value in answer.items():
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
        """Have a partition rebuilt: nobody can tell what in it is right."""
        log.error("partition_damaged", partition=keys.prefix)
        self.delete(keys.checkpoint)

    def snapshot(
        self, keys: PartitionKeys, slices: Sequence[Slice]
    ) -> tuple[bytes, list[Parts | None]]:
        """A partition's checkpoint and what stands in each slice, all at one moment.

        None for a key of another type than it is read as.
        """
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(keys.checkpoint)
            for one in slices:
                read_slice(pipeline, keys.document(*one.key), one)
            checkpoint, *answers = pipeline.execute(raise_on_error=False)
        found = [parts_of(one, answer) for one, answer in zip(slices, answers, strict=True)]
        return _readable(checkpoint), found

    def stored_keys(self, projection: str, generation: int) -> Iterator[tuple[int, str]]:
        """Every key of a generation but for checkpoints: its partition and what follows the prefix.

        Keys that come or go meanwhile may be missed.
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

        For each: None if it was applied, else the checkpoint that stands in its way. With
        `announce`, whoever waits for that position is told after them; only a hint, which is lost
        where nobody listens.
        """
        commands = [as_command(call, self._script_id) for call in calls]
        if announce is not None:
            commands.append(("PUBLISH", APPLIED_CHANNEL, announce))
        try:
            answers = self._ask(commands, raising=False)
            _raise_first(answers)
        except NoScriptError:
            # The server has restarted. Repeated as a whole: what was applied is refused now.
            self._redis.script_load(self._script)
            answers = self._ask(commands, raising=False)
            _raise_first(answers)
        for call, answer in zip(calls, answers, strict=False):
            if isinstance(answer, Exception):  # A key is not of the type that is written to it.
                self.lose(call.keys)
        return [None if answer == 1 else _readable(answer) for answer in answers[: len(calls)]]

    def mark(self, keys: PartitionKeys, name: str, marker: bytes) -> None:
        """Take a partition over, whatever stands: its last writer is refused from now on."""
        self._redis.set(keys.prefix + name, marker)

    def put_back(self, keys: PartitionKeys, checkpoint: bytes) -> bool:
        """End the rebuilding of a partition; False if another builder has taken it over."""
        names = (keys.prefix + REBUILDING, keys.checkpoint)
        return bool(self._redis.eval(_PUT_BACK, len(names), *names, checkpoint))

    def reports(self) -> list[tuple[bytes, DamageReport | None]]:
        """What readers found damaged: each entry of the set and what it says, None for nothing."""
        try:
            entries = self._redis.smembers(DAMAGED_KEY)
        except redis.ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.delete(DAMAGED_KEY)
            return []
        return [(entry, decoded_report(entry)) for entry in entries]

    def take_reports(self, entries: Sequence[bytes]) -> None:
        """Remove entries from the set."""
        if entries:
            self._redis.srem(DAMAGED_KEY, *entries)

    def delete(self, key: str) -> None:
        self._redis.unlink(key)

    def read(self, key: str) -> bytes | None:
        """The value of a key; what is no string value is damage, and read as an empty one."""
        try:
            value: bytes | None = self._redis.get(key)
        except redis.ResponseError as error:
            if not is_wrong_type(error):
                raise
            return b""
        return value

    def announce_generations(self) -> None:
        """Have readers look at the copy of the generations now; one that misses it looks later."""
        self._redis.publish(GENERATIONS_CHANNEL, "")

    def write(self, key: str, value: bytes) -> None:
        self._redis.set(key, value)

    def drop(self, partitions: Sequence[PartitionKeys], *, but_for: str | None = None) -> int:
        """Delete every key of partitions of one generation, a few at a time, in one pass over all
        keys; return how many there were.
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
        """Delete every key of every generation; return how many there were."""
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
        """Drop the connections, as after an error."""
        self._connection.disconnect()
        self._redis.connection_pool.disconnect()

    def close(self) -> None:
        self._connection.disconnect()
        self._redis.close()

    def _ask(self, commands: Sequence[Command], *, raising: bool = True) -> list[Any]:
        """The answers to commands that are sent at once; errors among them are raised, or stand in
        the place of their answers.
        """
        connection = self._connection
        connection.send_packed_command([b"".join(map(packed, commands))])
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
        if raising:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


def _raise_first(answers: Sequence[Any]) -> None:
    """Raise the first error that is not of a key's type."""
    for answer in answers:
        if isinstance(answer, Exception) and not is_wrong_type(answer):
            raise answer


def _damaged(entity: UUID) -> Parked:
    error = "the note of why it is parked is damaged"
    return Parked(entity=entity, position=START, topic="", error=error, damaged=True)


def _readable(stored: Any) -> bytes:
    """A stored checkpoint; `ABSENT` for one that is damaged, or is no string: the partition is
    rebuilt then.

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
