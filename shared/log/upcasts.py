"""How stored events of an older schema version become the current one.

Each upcast takes the stored fields (a dict, as decoded from MessagePack) of version n of a topic
and returns those of version n + 1. Upcasts are applied in turn and never removed: the log keeps
what was once written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.log.sealing import in_the_clear

Fields = dict[str, object]
Upcast = Callable[[Fields], Fields]
# By topic and the schema version that the upcast reads.
Upcasts = Mapping[tuple[str, int], Upcast]


def _seal_external_id(fields: Fields) -> Fields:
    """Version 1 of `UserCreated` held it in the clear."""
    external_id = fields.get("external_id")
    if not isinstance(external_id, str):
        return fields
    return {**fields, "external_id": in_the_clear(external_id)}


def _end_no_sessions(fields: Fields) -> Fields:
    """Version 1 of `UserPasswordChanged` did not say which sessions ended: they ended long ago."""
    return fields


UPCASTS: Upcasts = {
    ("UserCreated", 1): _seal_external_id,
    ("UserPasswordChanged", 1): _end_no_sessions,
}
