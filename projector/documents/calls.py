"""Calls of `apply.lua`: their contents, their size limits, and their encoding as commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from projector.documents.working_set import Operation
from shared.read_model.clients import Command
from shared.read_model.keys import CHECKPOINT, PartitionKeys, document_name

# A larger call would delay every other client of the server too long.
CALL_COMMANDS_MAX = 1_000
CALL_BYTES_MAX = 512 * 1024
# Upper bound of what one event adds; a call is cut before it could exceed its limits.
EVENT_COMMANDS_MAX = 8
EVENT_BYTES_MAX = 128 * 1024


class Call(NamedTuple):
    """One call of `apply.lua`: the expected checkpoint, the new one, and the operations.

    `compared` names the key that holds the expected checkpoint.
    """

    keys: PartitionKeys
    expected: bytes
    new: bytes
    operations: Sequence[Operation]
    compared: str = CHECKPOINT


def cut(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    """Yield the operations in groups that each fit into one call."""
    part: list[Operation] = []
    commands, size_bytes = 0, 0
    for operation in operations:
        commands += operation.commands
        size_bytes += operation.size_bytes
        if part and (commands >= CALL_COMMANDS_MAX or size_bytes > CALL_BYTES_MAX):
            yield part
            part, commands, size_bytes = [], operation.commands, operation.size_bytes
        part.append(operation)
    if part:
        yield part


def as_command(call: Call, script_id: str) -> Command:
    """Return the call as an EVALSHA command, with the arguments that `apply.lua` documents."""
    prefix = call.keys.prefix
    names, documents = [prefix + call.compared], list[bytes]()
    other_names, others = list[str](), list[bytes]()
    for operation in call.operations:
        name = prefix + document_name(*operation.key)
        if operation.letter == b"S":
            names.append(name)
            documents += operation.arguments
        else:
            other_names.append(name)
            others.append(operation.letter)
            others += operation.arguments
    names += other_names
    heads = (call.expected, call.new, b"%d" % len(documents))
    return ("EVALSHA", script_id, len(names), *names, *heads, *documents, *others)
