"""Examples for the documentation of the routes. The framework drops what is null: nothing is."""

from __future__ import annotations

from query_api.views.rendering import WEIGHTED_BY

_MOVIE_ID = "8d3f2f0e-6c1b-8f7a-9b0e-2f6f1f3a9c11"
_USER_ID = "01a20a3c-c0ff-7c1d-a50f-874aed4ed724"
_CURSOR = "kqVjb3VudJP-pGhlYXTEEI0_Lw5sG4-Kmw4vbx86nBE"
_RATINGS = {
    "count": 2,
    "average": 4.25,
    "median": 4.25,
    "weighted_average": 3.5556,
    "histogram": [0, 0, 0, 0, 0, 0, 0, 1, 1, 0],
    "position": 42,
}

MOVIE = {
    "movie_id": _MOVIE_ID,
    "title": "Heat",
    "year": 1995,
    "genres": ["Crime", "Drama"],
    "directors": ["Michael Mann"],
    "writers": ["Michael Mann"],
    "cast": ["Al Pacino", "Robert De Niro"],
    "runtime_min": 170,
    "languages": ["English"],
    "countries": ["United States"],
    "certificate": "R",
    "description": "A thief and a detective.",
    "imdb_id": "tt0113277",
    "poster_url": "https://example.org/heat.jpg",
    "external_id": "films:949",
    "created_at": "2026-01-31T12:00:00Z",
    "version": 1,
    "ratings": {**_RATINGS, "weighted_by": WEIGHTED_BY},
}
MOVIES_PAGE = {
    "items": [
        {
            "movie_id": _MOVIE_ID,
            "title": "Heat",
            "year": 1995,
            "genres": ["Crime", "Drama"],
            "external_id": "films:949",
            "ratings": {"count": 2, "average": 4.25, "weighted_average": 3.5556},
        }
    ],
    "next_cursor": _CURSOR,
}
STATS = {
    "movie_id": _MOVIE_ID,
    "as_of": "2026-01-31",
    "ratings": {**_RATINGS, "weighted_by": WEIGHTED_BY},
}
HISTORY_PAGE = {
    "items": [
        {"date": "2026-01-30", "count": 1, "average": 4.0},
        {"date": "2026-01-31", "count": 2, "average": 4.25},
    ],
    "next_cursor": _CURSOR,
}
RATERS_PAGE = {
    "items": [
        {
            "user_id": _USER_ID,
            "display_name": "Ann",
            "erased": False,
            "score": 4.5,
            "review": "The diner scene.",
            "rated_at": "2026-01-31T12:00:00Z",
        }
    ],
    "next_cursor": _CURSOR,
}
PROFILE = {
    "user_id": _USER_ID,
    "display_name": "Ann",
    "visibility": "public",
    "erased": False,
    "created_at": "2026-01-31T12:00:00Z",
    "ratings": {
        **_RATINGS,
        "weighted_by": WEIGHTED_BY,
        "genres": [
            {"genre": "Crime", "count": 2, "average": 4.25},
            {"genre": "Drama", "count": 1, "average": 4.5},
        ],
        "favourite_genres": ["Crime"],
        "first": {"movie_id": _MOVIE_ID, "score": 4.5, "rated_at": "2026-01-31T12:00:00Z"},
        "last": {"movie_id": _MOVIE_ID, "score": 4.5, "rated_at": "2026-01-31T12:00:00Z"},
    },
}
OWN_PROFILE = {**PROFILE, "email": "ann@example.org"}
RATING = {
    "movie_id": _MOVIE_ID,
    "title": "Heat",
    "year": 1995,
    "movie_average": 4.25,
    "score": 4.5,
    "difference": 0.25,
    "review": "The diner scene.",
    "rated_at": "2026-01-31T12:00:00Z",
}
RATINGS_PAGE = {"items": [RATING], "next_cursor": _CURSOR}
PROJECTIONS = {
    "at": "2026-01-31T12:00:00Z",
    "head": 1042,
    "generations": [
        {
            "projection": "movies",
            "generation": 2,
            "state": "active",
            "definition": 2,
            "audit": "passed",
            "checkpoint": 1040,
            "lag_events": 2,
            "lag_s": 0.004,
            "events_per_s": 310.5,
            "parked": 0,
            "stopped": "log-diverged",
        }
    ],
}
STREAM = f"""retry: 2000
id: 1042

data: {{"movie_id":"{_MOVIE_ID}","count":2,"average":4.25}}
id: 1043

"""
READY = {
    "status": "ready",
    "generations": {"movies": 2, "profiles": 1, "changes": 1},
    "index_position": 1042,
}
METRICS = "# TYPE starfold_streams gauge\nstarfold_streams 3.0\n"
