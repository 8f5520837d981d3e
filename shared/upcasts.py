"""How stored events of an older schema version become the current one.

Each upcast takes the stored fields (a dict, as decoded from MessagePack) of version n of a topic
and returns those of version n + 1. Upcasts are applied in turn and never removed: the log keeps
what was once written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Fields = dict[str, object]
Upcast = Callable[[Fields], Fields]
# By topic and the schema version that the upcast reads.
Upcasts = Mapping[tuple[str, int], Upcast]

UPCASTS: Upcasts = {}
