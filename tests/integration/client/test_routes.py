"""What callers do with the client: every route, pages, bulk requests of any length."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from starfold_client import MovieChanges, NewMovie, NewRating, NewUser, Starfold, errors
from starfold_client.answers import LeftMovie, ListedMovie, RatedMovie, Session, WithdrawnRating
from tests.integration.client.conftest import Connect
from tests.support.api import PASSWORD
from tests.support.system import eventually


def member(connect: Connect, **options: object) -> tuple[Starfold, UUID]:
    """Return the client of a new member, and their id."""
    client = connect(**options)
    email = f"{uuid4()}@example.org"
    user_id = client.sign_up(email=email, password=PASSWORD, display_name="Ann").user_id
    client.log_in(email=email, password=PASSWORD)
    return client, user_id


def new_movie(service: Starfold, title: str = "Heat") -> UUID:
    return service.create_movie(NewMovie(title=title, year=1995, genres=["Crime"])).movie_id


def test_reads_see_the_client_s_own_writes(connect: Connect, service: Starfold) -> None:
    """Neither the rating nor the account may be missing from what is read next."""
    movie_id = new_movie(service)
    ann, user_id = member(connect, position=service.position)
    assert ann.rate_movie(movie_id, 4.5, review="The diner scene.").status == "created"
    rated = ann.rate_movie.answer(movie_id, 4.0)
    assert (rated.value.status, rated.status, rated.position) == ("changed", 200, ann.position)
    movie = ann.get_movie(movie_id)
    assert (movie.title, movie.ratings.count, movie.ratings.average) == ("Heat", 1, 4.0)
    [rater] = ann.list_movie_ratings.all(movie_id)
    assert (rater.user_id, rater.score, rater.review) == (user_id, 4.0, "The diner scene.")
    [own] = ann.list_user_ratings(user_id).items
    assert (own.movie_id, own.score) == (movie_id, 4.0)
    assert ann.get_me().ratings.count == 1
    [day] = ann.list_movie_history(movie_id).items
    assert (day.date, day.count) == (rater.rated_at.date(), 1)
    assert ann.get_movie_stats(movie_id, as_of=date(2001, 1, 1)).ratings.count == 0
    found = ann.get_user_rating.answer(user_id, movie_id)
    ann.withdraw_rating(movie_id, if_match=found.etag)
    with pytest.raises(errors.NotFound, match="has not rated"):
        ann.get_user_rating(user_id, movie_id)


def test_an_account_from_sign_up_to_erasure(connect: Connect, service: Starfold) -> None:
    ann, user_id = member(connect)
    ann.change_profile(display_name="Anna", visibility="private")
    assert (ann.get_me().display_name, ann.get_me().visibility) == ("Anna", "private")
    anyone = connect(position=ann.position)
    with pytest.raises(errors.NotFound):
        anyone.get_profile(user_id)
    ann.change_password(old=PASSWORD, new=PASSWORD + "!")
    with pytest.raises(errors.Forbidden):
        ann.list_projections()
    service.change_role(user_id, "operator")
    # The role takes effect once the read model has it, also for tokens of before.
    operator = connect(session=ann.session, position=service.position)
    eventually(lambda: operator.list_projections().generations)
    exported = ann.export_me()
    assert (exported.user_id, len(exported.account)) == (user_id, 4)
    assert b"," in ann.export_ratings("csv")
    started = ann.start_import(b"title,year,rating\n", format="csv")
    assert ann.get_import(started.import_id) == started
    assert ann.list_imports().items[0].import_id == started.import_id
    assert ann.get_import_report(started.import_id).startswith(b"file,line,status")
    with pytest.raises(errors.Conflict):
        ann.choose_movies(started.import_id, {0: uuid4()})
    ann.delete_import(started.import_id)
    assert ann.list_imports().items == []
    ann.erase_me()
    assert ann.session is None
    with pytest.raises(errors.NotAuthenticated):
        ann.rate_movie(uuid4(), 1)


def test_a_service_creates_rates_and_erases_for_others(service: Starfold) -> None:
    user = service.create_external_user.answer(f"books:{uuid4()}", "Bob")
    user_id, movie_id = user.value.user_id, new_movie(service)
    assert (user.status, user.location) == (201, f"/v1/users/{user_id}")
    rated_at = datetime(2020, 2, 29, 12, tzinfo=UTC)
    rating = NewRating(movie_id=movie_id, user_id=user_id, score=3.5, rated_at=rated_at)
    assert service.submit_rating(rating).status == "created"
    assert service.get_user_rating(user_id, movie_id).rated_at == rated_at
    before = rated_at - timedelta(days=1)
    earlier = NewRating(movie_id=movie_id, user_id=user_id, score=1, rated_at=before)
    with pytest.raises(errors.RatingSuperseded):
        service.submit_rating(earlier)
    service.erase_user(user_id)
    assert service.get_profile(user_id).erased
    service.log_in_service(service_key(service))
    assert service.create_external_user(f"books:{uuid4()}", "Bob").user_id


def service_key(service: Starfold) -> str:
    key = service.caller.credential(takes_api_key=True)
    assert key is not None
    return key


def test_movies_are_corrected_merged_and_withdrawn(service: Starfold) -> None:
    old, into, empty = (new_movie(service) for _ in range(3))
    version = service.get_movie(old).version
    changed = service.change_movie.answer(old, MovieChanges(title="Heat!"), if_match=version)
    with pytest.raises(errors.StaleVersion):
        service.change_movie(old, MovieChanges(title="Heat?"), if_match=version)
    service.change_movie(old, MovieChanges(genres=[], runtime_min=170), if_match=changed.etag or "")
    movie = service.get_movie(old)
    assert (movie.title, movie.genres, movie.runtime_min) == ("Heat!", [], 170)
    assert service.merge_movie(old, into=into).movie_id == into
    assert service.get_movie(old).movie_id == into
    with pytest.raises(errors.Moved) as moved:
        service.change_movie(old, MovieChanges(title="Heat"), if_match=3)
    assert moved.value.movie_id == into
    service.withdraw_movie(empty)
    with pytest.raises(errors.Gone):
        service.get_movie(empty)


def test_a_list_is_one_page_or_all_of_them(service: Starfold) -> None:
    title = f"Volume {uuid4()}"
    made = [new_movie(service, f"{title} {number}") for number in range(5)]
    first = service.list_movies(q=title, sort="title", limit=2)
    assert [one.movie_id for one in first.items] == made[:2]
    rest = service.list_movies.all(q=title, sort="title", limit=2, cursor=first.next_cursor)
    assert [one.movie_id for one in rest] == made[2:]
    assert len(list(service.list_movies.all(q=title, limit=2, genre="Drama"))) == 0
    assert service.list_movies(q=title, count=True, limit=1).count == 5
    assert first.count is None
    assert "Crime" in [one.genre for one in service.list_genres.all()]


def test_movies_are_found_by_any_of_their_ids(service: Starfold) -> None:
    external_id = f"books:{uuid4()}"
    made = service.create_movie(NewMovie(title="Ran", year=1985, external_id=external_id))
    assert service.find_movie("external", external_id).movie_id == made.movie_id
    other, left = new_movie(service), new_movie(service)
    service.merge_movie(left, into=other)
    found, unknown, gone = service.get_movies([made.movie_id, uuid4(), left])
    assert isinstance(found, ListedMovie)
    assert (found.title, unknown) == ("Ran", None)
    assert gone == LeftMovie(left, "merged", other)
    changed = list(service.list_changed_movies.all(service.position - 1, limit=1))
    assert [one.movie_id for one in changed if isinstance(one, LeftMovie)] == [left]


def test_a_users_ratings_are_followed_in_the_order_of_change(service: Starfold) -> None:
    user = service.create_external_user(f"books:{uuid4()}", "Reader").user_id
    kept, left, other = (new_movie(service) for _ in range(3))
    for movie_id in (left, kept):
        service.submit_rating(NewRating(movie_id=movie_id, score=4, user_id=user))
    service.merge_movie(left, into=other)

    def moved() -> bool:
        changed = list(service.list_changed_user_ratings.all(user, 0, limit=1))
        return [(type(one), one.movie_id) for one in changed] == [
            (RatedMovie, kept),
            (WithdrawnRating, left),
            (RatedMovie, other),
        ]

    eventually(moved)


def test_rows_of_any_number_are_cut_and_each_has_a_result(service: Starfold) -> None:
    """2,345 users, films and ratings need three requests each with at most 1,000 rows."""
    many, run = 2_345, uuid4()
    users = list(
        service.create_external_users(NewUser(f"{run}:{n}", f"Reader {n}") for n in range(many))
    )
    assert [(row.display_name, result.index) for row, result in users] == [
        (f"Reader {n}", n) for n in range(many)
    ]
    movies = [NewMovie(title=f"Film {n}", year=1900 + n % 99) for n in range(3)]
    movies[1] = NewMovie(title="Too old", year=1800)
    made = list(service.create_movies(movies, rows_a_request=2))
    assert [result.status for _, result in made] == ["created", "rejected", "created"]
    refused = made[1][1].problem
    assert refused is not None
    assert refused.errors[0].pointer == "/year"
    movie_id = made[0][1].movie_id
    assert movie_id is not None
    ratings = [
        NewRating(movie_id=movie_id, user_id=result.user_id or "", score=4) for _, result in users
    ]
    results = [result for _, result in service.submit_ratings(ratings, rows_a_request=1_000)]
    assert {result.status for result in results} == {"created"}
    assert service.get_movie(movie_id).ratings.count == many


def test_rows_are_cut_by_bytes(service: Starfold) -> None:
    """1,000 reviews of 10,000 characters of two bytes each exceed the 16 MiB of a request."""
    movie_id = new_movie(service)
    [(_, user)] = service.create_external_users([NewUser(f"bytes:{uuid4()}", "Reader")])
    rows = [
        NewRating(
            movie_id=movie_id,
            user_id=user.user_id or "",
            score=4,
            review="é" * 9_999 + str(n % 10),
            rated_at=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
        )
        for n in range(1_000)
    ]
    results = [result for _, result in service.submit_ratings(rows)]
    assert {result.status for result in results} <= {"created", "changed"}
    assert [result.index for result in results] == list(range(1_000))


def test_readiness_names_a_position(service: Starfold) -> None:
    new_movie(service)
    assert service.command_ready().position >= service.position
    assert service.query_ready().status == "ready"


def test_a_client_shares_its_connections_with_clients_of_other_callers(
    connect: Connect, service: Starfold
) -> None:
    movie_id = new_movie(service)
    ann, user_id = member(connect)
    session = ann.session
    assert isinstance(session, Session)
    other = service.for_caller(session=session, position=service.position)
    assert other.rate_movie(movie_id, 3).status == "created"
    assert other.get_user_rating(user_id, movie_id).score == 3
    other.close()
    assert service.get_movie(movie_id).title == "Heat"
