"""Upcasts: convert stored events of an older schema version to the current one.

Each upcast takes the stored fields (a dict, as decoded from MessagePack) of version n of a topic
and returns the fields of version n + 1. Upcasts are applied in turn and never removed: the log
keeps what was once written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.log.sealing import in_the_clear

Fields = dict[str, object]
Upcast = Callable[[Fields], Fields]
# By topic and the schema version that the upcast reads.
Upcasts = Mapping[tuple[str, int], Upcast]


def _seal_external_id(fields: Fields) -> Fields:
    """Seal the external id, which version 1 of `UserCreated` held in the clear."""
    external_id = fields.get("external_id")
    if not isinstance(external_id, str):
        return fields
    return {**fields, "external_id": in_the_clear(external_id)}


def _end_no_sessions(fields: Fields) -> Fields:
    """Leave version 1 of `UserPasswordChanged` unchanged: its sessions ended long ago."""
    return fields


UPCASTS: Upcasts = {
    ("UserCreated", 1): _seal_external_id,
    ("UserPasswordChanged", 1): _end_no_sessions,
}
