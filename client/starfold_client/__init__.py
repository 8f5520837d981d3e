"""The typed Python client of Starfold: `Starfold` blocks, `AsyncStarfold` awaits."""

from starfold_client.client import AsyncStarfold, Starfold
from starfold_client.errors import ClientError, Problem
from starfold_client.rows import MovieChanges, NewMovie, NewRating, NewUser

__all__ = [
    "AsyncStarfold",
    "ClientError",
    "MovieChanges",
    "NewMovie",
    "NewRating",
    "NewUser",
    "Problem",
    "Starfold",
]
