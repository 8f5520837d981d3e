"""Reading MovieLens files, and matching their films to a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops.errors import OperatorError
from ops.imports.movielens import match
from ops.imports.movielens_files import Item, natural_title, read
from tests.support.scenarios.synthetic_movielens import write_movielens


@pytest.mark.parametrize(
    ("title", "natural"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Postino, Il", "Il Postino"),
        ("Enfer, L'", "L'Enfer"),
        ("Seven (Se7en)", "Seven"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Paris, France", "Paris, France"),
    ],
)
def test_a_title_is_written_as_it_is_said(title: str, natural: str) -> None:
    assert natural_title(title) == natural


def _film(title: str, year: int, movie_id: str) -> dict[str, Any]:
    return {"title": title, "year": year, "movie_id": movie_id}


def test_films_are_matched_by_title_and_year_without_case_and_accents() -> None:
    items = [
        Item("1", "Misérables, Les", 1995, ()),
        Item("2", "Fargo", 1996, ()),
        Item("3", "Fargo", 1995, ()),
        Item("4", "Truth About Cats & Dogs, The", 1996, ()),
        Item("5", "unknown", None, ()),
    ]
    catalogue = [
        _film("Les miserables", 1995, "a"),
        _film("FARGO", 1996, "b"),
        _film("The Truth About Cats and Dogs", 1996, "c"),
    ]
    assert match(items, catalogue) == {"1": "a", "2": "b", "4": "c"}


def test_no_two_films_share_a_movie_and_no_film_is_guessed() -> None:
    twice = [Item("1", "Chasing Amy", 1997, ()), Item("2", "Chasing Amy", 1997, ())]
    assert match(twice, [_film("Chasing Amy", 1997, "a")]) == {"1": "a"}
    remade = [_film("Chasing Amy", 1997, "a"), _film("Chasing Amy", 1997, "b")]
    assert match(twice, remade) == {}


def test_lines_that_cannot_be_read_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path, seed=1)
    whole = read(folder)
    with (folder / "ml-100k.inter").open("ab") as stream:
        stream.write(b"1\t2\n1\t2\tfive\t880000000\n\xff\t1\t3\t880000000\n1\t2\t3\t1e99\n")
        stream.write(b"1\t2\tnan\t880000000\n1\t2\t3\tnan\n1\t2\t9\t880000000\n")
    files = read(folder)
    assert files.ratings == whole.ratings
    first = len(whole.ratings) + 2
    assert [line.line for line in files.malformed] == list(range(first, first + 7))
    assert files.malformed[0].reason == "2 fields instead of 4"


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path, seed=1)
    (folder / "ml-100k.item").write_text("")
    with pytest.raises(OperatorError, match=r"ml-100k\.item"):
        read(folder)
