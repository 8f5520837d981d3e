"""Compose stored documents into the JSON that the API shows, as bytes."""

from __future__ import annotations

import msgspec

from shared.read_model.statistics import WEIGHT_C_HALF_STARS, WEIGHT_M

WEIGHTED_BY = {"m": WEIGHT_M, "C": WEIGHT_C_HALF_STARS / 2}

_WEIGHTED_BY = b',"weighted_by":' + msgspec.json.encode(WEIGHTED_BY)


def with_ratings(
    details: bytes, statistics: bytes | None, parked: bytes | None, more: bytes = b""
) -> bytes:
    """Return a movie or profile with its statistics, and `stale` if it is parked.

    `more` holds further members of `ratings`, each preceded by a comma.
    """
    stale = b',"stale":true}' if parked is not None else b"}"
    if statistics is None:
        return b"".join((details[:-1], b',"ratings":null', stale))
    return b"".join(
        (details[:-1], b',"ratings":', statistics[:-1], _WEIGHTED_BY, more, b"}", stale)
    )
