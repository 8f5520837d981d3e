"""The catalogue's index: orders, filters, search, pages."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.catalogue.entry import Entry
from query_api.catalogue.index import ORDERS, SORTS, Filter, Index, Sort
from query_api.catalogue.search import Found, page, search, wanted_words
from shared.ids import MovieId, Position
from shared.read_model.documents import movie_document
from shared.read_model.statistics import BINS, statistics_of
from tests.support.builders import later, movie_fields

EVERYTHING = Filter()


def put(
    index: Index, number: int, *scores: int, title: str = "", year: int = 1979, **others: Any
) -> None:
    title = title or f"Film {number:03}"
    details = movie_fields(title=title, year=year, genres=("Drama",), **others)
    movie = movie_document(MovieId(UUID(int=number)), details, later(number), Position(number), 1)
    histogram = tuple(scores.count(n) for n in range(1, BINS + 1))
    statistics = statistics_of(histogram, Position(number))
    encode = msgspec.json.encode
    index.put(movie.movie_id.bytes, encode(movie), encode(statistics))


def title(entry: Entry) -> str:
    shown: str = msgspec.json.decode(entry.item)["title"]
    return shown


def titles(index: Index, wanted: Filter = EVERYTHING, sort: Sort = "title") -> list[str]:
    return [title(entry) for _, entry in page(index, sort, wanted, after=None, limit=100)]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("weighted", ["Film 003", "Film 002", "Film 001"]),
        ("average", ["Film 002", "Film 003", "Film 001"]),
        ("count", ["Film 003", "Film 001", "Film 002"]),
        ("newest", ["Film 003", "Film 002", "Film 001"]),
        ("title", ["Film 001", "Film 002", "Film 003"]),
    ],
)
def test_orders(sort: Sort, expected: list[str]) -> None:
    index = Index()
    put(index, 1, 1)
    put(index, 2, 10)
    put(index, 3, *[9] * 40)
    assert titles(index, sort=sort) == expected


@pytest.mark.parametrize(("moved_max", "merge_one_in"), [(0, 0), (3, 1), (100, 0), (100, 1_000)])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.lists(st.integers(1, BINS), max_size=2),
            st.sampled_from(["", "Alien", "Zardoz"]),
            st.sampled_from([None, *ORDERS]),
        ),
        max_size=30,
    )
)
def test_orders_are_those_of_the_movies_as_they_are_whenever_they_are_read(
    moved_max: int, merge_one_in: int, puts: list[tuple[int, list[int], str, Sort | None]]
) -> None:
    """Movies move once or often between two reads, and are merged or moved one by one."""
    index, last = Index(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("query_api.catalogue.index.MOVED_MAX", moved_max)
        patch.setattr("query_api.catalogue.index.MERGE_ONE_IN", merge_one_in)
        patch.setattr("query_api.catalogue.slicing.CHUNK_MAX", 4)
        for number, scores, name, read in [*puts, *((1, [], "", order) for order in ORDERS)]:
            put(index, number, *scores, title=name)
            last[number] = scores, name
            if read is not None:
                fresh = Index()
                for of_movie, (its_scores, its_name) in last.items():
                    put(fresh, of_movie, *its_scores, title=its_name)
                assert titles(index, sort=read) == titles(fresh, sort=read)


@pytest.mark.parametrize("sorted_max", [0, 500])
@pytest.mark.parametrize("q", [None, "film"])
@pytest.mark.parametrize("sort", SORTS)
def test_rows_that_stay_come_once_while_others_move(
    sort: Sort, q: str | None, sorted_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.catalogue.search.SORT_CANDIDATES_MAX", sorted_max)
    wanted = Filter(q="film") if sort == "match" else Filter(q=q)
    index = Index()
    for number in range(1, 60):
        put(index, number, number % 10 + 1)
    moving = UUID(int=30).bytes
    seen: list[bytes] = []
    after = None
    while found := page(index, sort, wanted, after=after, limit=7):
        seen += [entry.film.movie_id for _, entry in found]
        after = found[-1][0]
        put(index, 30, *[len(seen) % 10 + 1] * len(seen), title=f"Film {len(seen):03}")
    stayed = [movie_id for movie_id in seen if movie_id != moving]
    assert len(stayed) == len(set(stayed)) == 58


@pytest.mark.parametrize("sorted_max", [0, 500])
def test_the_best_match_comes_first(sorted_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("query_api.catalogue.search.SORT_CANDIDATES_MAX", sorted_max)
    index = Index()
    put(index, 1, *[10] * 90, title="The Great Alien Hunt")
    put(index, 2, *[9] * 80, title="Aliens")
    put(index, 3, 1, title="Alien")
    put(index, 4, *[8] * 70, title="Àlien Nation")
    expected = ["Alien", "Aliens", "Àlien Nation", "The Great Alien Hunt"]
    assert titles(index, Filter(q="ALIEN"), "match") == expected
    first = page(index, "match", Filter(q="ALIEN"), after=None, limit=2)
    rest = page(index, "match", Filter(q="ALIEN"), after=first[-1][0], limit=9)
    assert [title(entry) for _, entry in rest] == expected[2:]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("q", ["t " * 100, "th film", "film t th the a b c d e f g h i", None])
def test_a_search_pauses_and_finds_the_same(
    sort: Sort, q: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that finds nothing: no step of it looks at more than a slice of the movies."""
    index = Index()
    for number in range(1, 400):
        put(index, number, number % 10 + 1, title=f"The Film a b c d e f g h {number:03}")
    q = q or ("t" if sort == "match" else None)
    whole = {genre: Filter(genre=genre, q=q) for genre in (None, "western")}
    expected = {genre: page(index, sort, one, after=None, limit=30) for genre, one in whole.items()}
    monkeypatch.setattr("query_api.catalogue.slicing.SLICE_S", 0.0)
    monkeypatch.setattr("query_api.catalogue.search.CHUNK", 20)
    monkeypatch.setattr("query_api.catalogue.search.SORT_CANDIDATES_MAX", 0)
    for genre, wanted in whole.items():
        searching = search(index, sort, wanted, after=None, limit=30)
        pauses = 0
        found: Found | None = None
        while found is None:
            try:
                next(searching)
            except StopIteration as ended:
                found = list(ended.value)
            else:
                pauses += 1
                put(index, 500 + pauses, title=f"Zz {pauses}", year=1900)
        assert found == expected[genre]
        assert pauses >= 399 // 20 or genre is None


def test_a_search_looks_for_ten_words_each_once() -> None:
    assert wanted_words(["t"] * 100) == ["t"]
    assert wanted_words(["the", "theatre", "t"]) == ["theatre"]
    assert wanted_words(list("bcdefghijklmn")) == list("bcdefghijk")


def test_search_finds_the_beginning_of_every_word_without_case_or_accents() -> None:
    index = Index()
    put(index, 1, title="Amélie from Montmartre")
    put(index, 2, title="The Amelioration")
    put(index, 3, title="Montage")
    assert titles(index, Filter(q="AMEL mont")) == ["Amélie from Montmartre"]
    assert titles(index, Filter(q="amé")) == ["Amélie from Montmartre", "The Amelioration"]
    assert titles(index, Filter(q="elie")) == []
    assert titles(index, Filter(q="%")) == []


@pytest.mark.parametrize(
    ("name", "searches"),
    [
        ("Schindler's List", ["schindlers", "schindler's list", "schindler"]),
        ("Spider-Man 2", ["spiderman", "spider-man", "spider", "man 2"]),
        ("L.A. Confidential", ["la conf", "l.a. confidential"]),
        ("WALL\u00b7E", ["walle", "wall"]),
    ],
)
def test_a_title_is_found_with_and_without_what_stands_inside_its_words(
    name: str, searches: list[str]
) -> None:
    index = Index()
    put(index, 1, title=name)
    put(index, 2, title="Something Else")
    assert [titles(index, Filter(q=q)) for q in searches] == [[name]] * len(searches)


@pytest.mark.parametrize(
    ("name", "searches"),
    [
        ("$", ["$", " $ "]),
        ("…", ["…", "..."]),
        ("!!!", ["!!!", "!"]),
        ("Kış Uykusu", ["KIŞ UYKUSU", "kis uykusu", "kış"]),
        ("Søndagsengler", ["sondagsengler", "SØND"]),
        ("Żółta Łódź", ["zolta lodz", "ŻÓŁTA"]),
        ("Đorđe", ["dorde"]),
        ("Ærlighet", ["aerlighet"]),
        ("Cœur", ["coeur"]),
        ("Große Straße", ["grosse strasse", "GROSSE STRASSE", "GROẞE"]),
        ("Þór", ["thor"]),
        ("ΟΔΥΣΣΕΥΣ", ["οδυσσευς"]),
        ("ﬁlm", ["film", "FILM"]),
    ],
)
def test_symbols_and_letters_of_every_script_are_found(name: str, searches: list[str]) -> None:
    index = Index()
    put(index, 1, title=name)
    put(index, 2, title="Something Else")
    assert [titles(index, Filter(q=q)) for q in searches] == [[name]] * len(searches)


@pytest.mark.parametrize(
    ("q", "first"),
    [
        ("godfather", "The Godfather"),
        ("the godfather", "The Godfather"),
        ("a godfather", "The Godfather"),
        ("avventura", "L'Avventura"),
        ("L’avventura", "L'Avventura"),
        ("the", "The"),
        ("thing", "The Thing"),
    ],
)
def test_a_leading_article_does_not_count(q: str, first: str | None) -> None:
    index = Index()
    put(index, 1, title="The Godfather")
    put(index, 2, *[10] * 40, title="Godfather of Harlem")
    put(index, 3, title="L'Avventura")
    put(index, 4, *[10] * 40, title="Nuova avventura")
    put(index, 5, title="The")
    put(index, 6, title="The Thing")
    put(index, 7, *[10] * 40, title="Thingummy")
    assert next(iter(titles(index, Filter(q=q), "match")), None) == first


def test_a_renamed_movie_is_found_by_its_new_title_alone() -> None:
    index = Index()
    put(index, 1, title="Working Title")
    put(index, 1, title="Stalker")
    assert titles(index, Filter(q="working")) == []
    assert titles(index, Filter(q="stalk")) == ["Stalker"]
    assert titles(index) == ["Stalker"]


def test_filters_hold_together() -> None:
    index = Index()
    for number, year in enumerate(range(1970, 1990), start=1):
        put(index, number, year=year)
    wanted = Filter(genre="drama", year_min=1975, year_max=1976, q="film")
    assert titles(index, wanted) == ["Film 006", "Film 007"]
    assert titles(index, Filter(genre="western")) == []
    assert titles(index, Filter(director="nobody")) == []


@pytest.mark.parametrize("merge_one_in", [0, 1_000])
def test_a_movie_that_is_removed_is_in_no_order_and_no_search(
    monkeypatch: pytest.MonkeyPatch, merge_one_in: int
) -> None:
    monkeypatch.setattr("query_api.catalogue.index.MERGE_ONE_IN", merge_one_in)
    index = Index()
    for number in range(1, 5):
        put(index, number, number)
    for sort in ORDERS:
        assert "Film 002" in titles(index, sort=sort)
    put(index, 2, 9)
    put(index, 5, 9)
    revision = index.genres_revision
    for number in (2, 5, 7):
        index.remove(UUID(int=number).bytes)
    assert index.genres_revision > revision
    for sort in ORDERS:
        assert sorted(titles(index, sort=sort)) == ["Film 001", "Film 003", "Film 004"]
    assert titles(index, Filter(q="002"), sort="match") == []
    put(index, 2, 9)
    assert titles(index, Filter(q="002"), sort="match") == ["Film 002"]


def test_a_search_goes_on_where_what_it_found_is_removed() -> None:
    index = Index()
    for number in range(1, 4):
        put(index, number, number)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("query_api.catalogue.slicing.SLICE_S", -1.0)
        paused = search(index, "match", Filter(q="film"), after=None, limit=10)
        next(paused)
        index.remove(UUID(int=2).bytes)
        found: Found = []
        try:
            while True:
                next(paused)
        except StopIteration as ended:
            found = ended.value
    assert [title(entry) for _, entry in found] == ["Film 001", "Film 003"]


def test_an_index_is_sorted_in_slices_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while it is loaded, when each movie would cost the more the more there are."""
    monkeypatch.setattr("query_api.catalogue.index.MOVED_MAX", 0)
    monkeypatch.setattr("query_api.catalogue.slicing.RUN", 3)
    monkeypatch.setattr("query_api.catalogue.slicing.CHUNK_MAX", 4)
    monkeypatch.setattr("query_api.catalogue.slicing.SLICE_S", -1.0)
    loaded, followed = Index(is_loading=True), Index()
    assert titles(followed) == []
    numbers = [7, 2, 9, 4, 1, 8, 3, 6, 5, 10]
    for number in numbers:
        put(followed, number, number % 4 + 1)
    with monkeypatch.context() as patch:
        patch.delattr(Index, "sorted_keys")
        for number in numbers:
            put(loaded, number, number % 4 + 1)
    pauses = sum(1 for _ in loaded.sort())
    assert pauses >= (len(ORDERS) + 1) * 2 * len(numbers) // 3
    for order in ORDERS:
        assert list(loaded.sorted_keys(order)) == list(followed.sorted_keys(order))
    assert loaded.words == followed.words
    since, until = Position(4), Position(9)
    expected = followed.changes.after(since, until, 100)
    assert loaded.changes.after(since, until, 100) == expected != []


def test_an_index_that_was_replaced_leaves_memory_at_once() -> None:
    """No cycle keeps it until the collector looks at everything that lives long."""
    index = Index(is_loading=True)
    for number in range(1, 50):
        put(index, number, 5)
    for _ in index.sort():
        pass
    put(index, 1, 7)
    assert [titles(index, sort=order) for order in ORDERS]
    assert titles(index, Filter(q="film", genre="Drama"), sort="match")
    assert index.changes.after(Position(0), Position(100), 10)
    gone = weakref.ref(index)
    gc.disable()
    try:
        del index
        assert gone() is None
    finally:
        gc.enable()
