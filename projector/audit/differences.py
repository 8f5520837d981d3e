"""Differences between the stored parts of a key and the expected ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from projector.audit.shadow import Shadow
from projector.documents.key_ranges import KeyRange, Parts
from projector.documents.working_set import Key, Operation, setting, stream_operations
from shared.errors import DocumentDamaged
from shared.read_model.checksum import checked
from shared.read_model.kinds import HISTORY, PRIVATE, PROFILE, REVIEWS

# Kinds with personal values: a difference in them names the part, never the value.
PERSONAL = (PROFILE.name, PRIVATE.name, REVIEWS)
SHOWN_CHARACTERS = 40
ABSENT_TEXT = "nothing"


class Difference(NamedTuple):
    """A document, member or field that differs from the fold of the log.

    `mending` are the operations that repair it. `part` names a member or field, or the fields of a
    document that differ; personal values are hidden.
    """

    partition: int
    key: Key
    entity: UUID | None
    part: str
    stored: str
    wanted: str
    mending: tuple[Operation, ...]


def differences(shadow: Shadow, part: KeyRange, stored: Parts | None) -> Iterator[Difference]:
    """Yield the differences of a key range; `stored` is None for a key of another type."""
    key, number = part.key, shadow.keys.partition
    if stored is None:
        # After the deletion, the next comparison finds what is missing.
        gone = Operation(b"D", key, ())
        yield Difference(number, key, entity_of(key), "type", "another", part.type, (gone,))
        return
    wanted = shadow.wanted(part)
    if stored == wanted:
        return
    match part.type:
        case "string":
            yield from _of_document(number, key, stored.get(b""), wanted[b""])
        case "zset" | "hash":
            yield from _of_members(number, part, stored, wanted)
        case "stream":
            entries = stream_operations(key, shadow.entries(key))
            mending = (Operation(b"D", key, ()), *entries)
            first = next(iter(set(stored.items()) ^ set(wanted.items())))[0]
            yield Difference(
                number, key, None, _text(first), f"{len(stored)} entries", f"{len(wanted)}", mending
            )
        case "absent":
            gone = Operation(b"D", key, ())
            yield Difference(number, key, entity_of(key), "", "a key", ABSENT_TEXT, (gone,))


def entity_of(key: Key, member: bytes = b"") -> UUID | None:
    """Return the movie or user that a key belongs to; a key of many entities names it by member."""
    suffix = key[1][:32]
    try:
        return UUID(hex=suffix) if suffix else UUID(bytes=member)
    except ValueError:
        return None


def _of_document(number: int, key: Key, stored: Any, wanted: Any) -> Iterator[Difference]:
    mending = (Operation(b"S", key, (wanted,)),)
    entity = entity_of(key)
    before, after = _fields(key[0], stored), _fields(key[0], wanted)
    if before is None or after is None:
        text = ABSENT_TEXT if stored is None else "what cannot be decoded"
        yield Difference(number, key, entity, "", text, "a document", mending)
        return
    names = [
        name for name in {**before, **after} if before.get(name, before) != after.get(name, before)
    ]
    if not names:
        return  # The same fields in another order.
    hidden = key[0] in PERSONAL
    yield Difference(
        number,
        key,
        entity,
        ", ".join(names),
        "(hidden)" if hidden else ", ".join(_text(before.get(name)) for name in names),
        "(hidden)" if hidden else ", ".join(_text(after.get(name)) for name in names),
        mending,
    )


def _fields(kind: str, document: bytes | None) -> dict[str, Any] | None:
    if document is None:
        return None
    try:
        if kind == HISTORY.name:
            return {"added": msgspec.msgpack.decode(checked(document))}
        decoded = msgspec.json.decode(checked(document))
    except (DocumentDamaged, msgspec.MsgspecError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _of_members(number: int, part: KeyRange, stored: Parts, wanted: Parts) -> Iterator[Difference]:
    key = part.key
    hidden = key[0] in PERSONAL
    for member in {**stored, **wanted}:
        before, after = stored.get(member), wanted.get(member)
        if before == after:
            continue
        mending = (
            _of_set(key, member, after) if part.type == "zset" else _of_hash(key, member, after)
        )
        yield Difference(
            number,
            key,
            entity_of(key, member),
            member.hex(),
            "(hidden)" if hidden and before is not None else _text(before),
            "(hidden)" if hidden and after is not None else _text(after),
            (mending,),
        )


def _of_set(key: Key, member: bytes, rank: bytes | int | None) -> Operation:
    if rank is None:
        return Operation(b"z", key, (member,))
    assert isinstance(rank, int)
    return Operation(b"Z", key, (b"2", b"%d" % rank, member))


def _of_hash(key: Key, field: bytes, value: bytes | int | None) -> Operation:
    if value is None:
        return Operation(b"h", key, (field,))
    assert isinstance(value, bytes)
    return setting(key, (field, value))


def _text(value: object) -> str:
    if value is None:
        return ABSENT_TEXT
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
