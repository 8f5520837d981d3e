"""What an operator should look at first, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Positions behind the head that an idle moment does not explain.
LAG_EVENTS_MAX = 1_000
# A projector that runs applies an event within a second, a busy one within some more.
LAG_MAX_S = 30.0
# A server that uses more of its memory or connections may soon refuse some.
FULL_SHARE = 0.9
_USED = {"bytes": "bytes_used", "connections": "connections"}


class Trouble(NamedTuple):
    """What is wrong, perhaps with a generation, which is a projection and a number."""

    generation: tuple[str, int] | None
    text: str


def system_troubles(system: Mapping[str, Any] | None) -> list[Trouble]:
    """Return what is wrong with servers and jobs; without an answer the log is out of reach."""
    if system is None:
        return [Trouble(None, "The event store does not answer")]
    found: list[str] = []
    for server in system["servers"]:
        if not server["answers"]:
            found.append(f"The server of the {server['role']} does not answer")
            continue
        for what in ("bytes", "connections"):
            used, most = server[_USED[what]], server[f"{what}_max"]
            if most and used > FULL_SHARE * most:
                found.append(
                    f"The server of the {server['role']} uses {used / most:.0%}"
                    f" of the {what} that it may use"
                )
    jobs = system["jobs"]
    if jobs is not None and jobs["failed"]:
        found.append(f"Failed jobs: {jobs['failed']:,}; their reasons are in the worker's log")
    if jobs is not None and not jobs["workers"]:
        found.append("No worker runs: replays and audits wait for one")
    return [Trouble(None, text) for text in found]


def generation_troubles(generations: Sequence[dict[str, Any]]) -> list[Trouble]:
    """Return what an operator should look at, the gravest first."""
    stopped, parked, failed, behind = [], [], [], []
    for one in generations:
        place = one["projection"], one["generation"]
        name = f"{place[0]}, generation {place[1]} ({one['state']})"
        if one["stopped"]:
            stopped.append(Trouble(place, f"{name} does not follow the log: {one['stopped']}"))
        if one["parked"]:
            entities = "entity" if one["parked"] == 1 else "entities"
            parked.append(Trouble(place, f"{name} has {one['parked']:,} parked {entities}"))
        if one["audit"] == "failed":
            failed.append(Trouble(place, f"{name} has failed its audit"))
        if one["state"] == "active" and _is_late(one):
            events = "event" if one["lag_events"] == 1 else "events"
            lag = f"{one['lag_events']:,} {events} ({one['lag_s']:,.1f} s)"
            behind.append(Trouble(place, f"{name} is {lag} behind"))
    return [*stopped, *failed, *parked, *behind]


def _is_late(one: dict[str, Any]) -> bool:
    """Whether a generation is behind by many events, or by old ones: its projector may be gone."""
    events, seconds = one["lag_events"] or 0, one["lag_s"] or 0.0
    return events > LAG_EVENTS_MAX or seconds > LAG_MAX_S
