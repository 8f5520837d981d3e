"""The client behind a bad network: refusals, lost answers, sessions that end, cut streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from uuid import UUID, uuid4

import pytest

from shared.ids import UserId
from shared.web.tokens import TOKEN_LIFETIME_S, TokenIssuer
from starfold_client import NewMovie, NewRating, Starfold, errors
from starfold_client.answers import LiveReset, LiveUpdate, Session
from tests.integration.client.conftest import Connect
from tests.support.api import PASSWORD, Api
from tests.support.both_clients import Clients
from tests.support.faults.faulty_front import Cut, FaultyFront, Lose, Refuse
from tests.support.system import System

REFRESH = "/v1/sessions/refresh"
CALLS = 20


@pytest.fixture
def commands(api: Api) -> Iterator[FaultyFront]:
    with FaultyFront(str(api.command.base_url)) as front:
        yield front


@pytest.fixture
def reads(api: Api) -> Iterator[FaultyFront]:
    with FaultyFront(str(api.query.base_url)) as front:
        yield front


@pytest.fixture
def ann(clients: Clients, commands: FaultyFront, reads: FaultyFront) -> Starfold:
    """A logged-in member's client behind both fronts."""
    client = clients(commands.url, reads.url)
    email = f"{uuid4()}@example.org"
    client.sign_up(email=email, password=PASSWORD, display_name="Ann")
    client.log_in(email=email, password=PASSWORD)
    return client


@pytest.fixture
def behind(service: Starfold, clients: Clients, commands: FaultyFront, api: Api) -> Starfold:
    """A service's client whose commands go through the front."""
    key = service.caller.credential(takes_api_key=True)
    return clients(commands.url, str(api.query.base_url), api_key=key)


@pytest.fixture
def movie_id(service: Starfold, ann: Starfold) -> UUID:
    made = service.create_movie(NewMovie(title="Heat", year=1995))
    ann.caller.note(service.position)
    return made.movie_id


def test_a_refusal_for_a_while_is_waited_out(
    ann: Starfold, movie_id: UUID, commands: FaultyFront, reads: FaultyFront
) -> None:
    reads.faults += [Refuse(503, {"Retry-After": "0"}), Refuse(429), Refuse(502)]
    assert ann.get_movie(movie_id).title == "Heat"
    assert reads.count(f"/v1/movies/{movie_id}") == 4
    commands.faults += [Refuse(503, {"Retry-After": "1"}), Refuse(504)]
    assert ann.rate_movie(movie_id, 4).status == "created"


def test_each_pause_is_announced_with_its_reason(
    clients: Clients, movie_id: UUID, commands: FaultyFront, reads: FaultyFront
) -> None:
    paused: list[tuple[str, float]] = []
    client = clients(
        commands.url,
        reads.url,
        on_pause=lambda failed, seconds: paused.append((type(failed).__name__, seconds)),
    )
    reads.faults += [Lose(), Refuse(503, {"Retry-After": "1"})]
    assert client.get_movie(movie_id).movie_id == movie_id
    assert [reason for reason, _ in paused] == ["ConnectionFailed", "TryLater"]
    assert paused[1][1] >= 1


def test_a_wait_beyond_the_patience_is_not_begun(
    ann: Starfold, movie_id: UUID, reads: FaultyFront
) -> None:
    """The error says when to come back."""
    reads.faults.append(Refuse(503, {"Retry-After": "3600"}))
    with pytest.raises(errors.TryLater) as refused:
        ann.get_movie(movie_id)
    assert refused.value.retry_after_s == 3_600
    assert reads.count(f"/v1/movies/{movie_id}") == 1


def test_a_write_whose_answer_was_lost_is_repeated_under_its_key(
    ann: Starfold, movie_id: UUID, commands: FaultyFront
) -> None:
    """The repeat gets the first answer, and the rating counts once."""
    commands.faults += [Lose(), Lose()]
    rated = ann.rate_movie.answer(movie_id, 4.5)
    assert (rated.value.status, rated.position) == ("created", ann.position)
    attempts = [one for one in commands.seen if one.method == "PUT"]
    assert len(attempts) == 3
    assert len({one.headers["idempotency-key"] for one in attempts}) == 1
    ann.rate_movie(movie_id, 4)
    keys = {one.headers["idempotency-key"] for one in commands.seen if one.method == "PUT"}
    assert len(keys) == 2
    assert ann.get_movie(movie_id).ratings.count == 1


def test_rows_whose_results_were_lost_are_not_doubled(
    behind: Starfold, commands: FaultyFront
) -> None:
    """Films without an external id would exist twice, but for the request's key."""
    title = f"Lost {uuid4()}"
    movies = [NewMovie(title=title, year=1900 + n) for n in range(5)]
    commands.faults += [Lose(), Refuse(503)]
    made = list(behind.create_movies(movies, rows_a_request=3))
    assert {result.status for _, result in made} == {"created"}
    listed = [one.movie_id for one in behind.list_movies.all(q=title)]
    assert sorted(listed) == sorted(result.movie_id for _, result in made if result.movie_id)
    user_id = behind.create_external_user(f"faults:{uuid4()}", "Bob").user_id
    ratings = [NewRating(movie_id=one, user_id=user_id, score=2) for one in listed]
    commands.faults.append(Lose())
    results = [result.status for _, result in behind.submit_ratings(ratings)]
    assert results == ["created"] * 5
    first, again = (
        [
            result.movie_id
            for _, result in behind.create_movies(movies, rows_a_request=3, idempotency_key=key)
        ]
        for key in 2 * [f"key-{uuid4()}"]
    )
    assert first == again
    assert not {*first} & {*listed}


def test_a_command_that_cannot_be_repeated_says_that_its_outcome_is_unknown(
    ann: Starfold, commands: FaultyFront
) -> None:
    commands.faults.append(Lose())
    with pytest.raises(errors.ConnectionFailed):
        ann.change_password(old=PASSWORD, new=PASSWORD + "!")
    assert commands.count("/v1/users/me/password") == 1


def test_an_expired_token_is_renewed_once_for_all_calls(
    ann: Starfold,
    clients: Clients,
    movie_id: UUID,
    module_system: System,
    commands: FaultyFront,
    reads: FaultyFront,
) -> None:
    late = expired(ann, module_system)
    client = clients(commands.url, reads.url, session=late, position=ann.position)
    calls = [lambda: client.get_movie(movie_id).title, lambda: client.get_me().display_name]
    with ThreadPoolExecutor(CALLS) as pool:
        results = list(pool.map(lambda call: call(), calls * (CALLS // 2)))
    assert results == ["Heat", "Ann"] * (CALLS // 2)
    assert commands.count(REFRESH) == 1
    assert client.session is not None
    assert client.session.refresh_token != late.refresh_token


def test_a_token_that_ends_soon_is_renewed_before_it_is_used(
    ann: Starfold, clients: Clients, commands: FaultyFront, reads: FaultyFront
) -> None:
    """Even if the answer with the new tokens was lost."""
    assert ann.session is not None
    ending = Session(ann.session.access_token, ann.session.refresh_token, expires_in_s=5)
    client = clients(commands.url, reads.url, session=ending)
    commands.faults.append(Lose())
    client.get_me()
    assert commands.count(REFRESH) == 2
    assert [one.path for one in reads.seen] == ["/v1/users/me"]


def test_a_session_that_was_ended_elsewhere_ends_the_client_s(
    ann: Starfold, clients: Clients, commands: FaultyFront, reads: FaultyFront
) -> None:
    """Calls fail, rather than continue as nobody, until the client logs in again."""
    other = clients(commands.url, reads.url, session=ann.session)
    email = ann.get_me().email
    other.log_out()
    ann.caller.note(other.position)

    def failure(_: int) -> type[BaseException]:
        with pytest.raises(errors.NotAuthenticated) as refused:
            ann.get_me()
        return refused.type

    with ThreadPoolExecutor(CALLS) as pool:
        assert set(pool.map(failure, range(CALLS))) == {errors.NotAuthenticated}
    assert commands.count(REFRESH) == 1
    with pytest.raises(errors.NotAuthenticated):
        ann.list_movies()
    assert email is not None
    ann.log_in(email=email, password=PASSWORD)
    assert ann.get_me().email == email


def test_live_updates_continue_after_a_cut(
    ann: Starfold, service: Starfold, movie_id: UUID, reads: FaultyFront
) -> None:
    """What happened between the connections is not missed."""
    reads.faults += [Cut(60), Refuse(503)]
    updates = ann.stream([movie_id], after=ann.position)
    seen: list[LiveUpdate | LiveReset] = []
    for score in (3, 4.5):
        ann.rate_movie(movie_id, score)
        seen += islice(updates, 1)
    updates.close()
    assert [(one.movie_id, one.average) for one in seen if isinstance(one, LiveUpdate)] == [
        (movie_id, 3),
        (movie_id, 4.5),
    ]
    streams = [one for one in reads.seen if one.path.startswith("/v1/stream")]
    assert len(streams) == 3
    assert seen[-1].position == ann.position


def test_live_updates_say_when_they_cannot_continue(ann: Starfold, movie_id: UUID) -> None:
    """A position that the log has not reached belongs to another one."""
    updates = ann.stream(after=2**40)
    [first] = islice(updates, 1)
    updates.close()
    assert isinstance(first, LiveReset)


def test_live_updates_renew_an_expired_token(
    ann: Starfold,
    clients: Clients,
    movie_id: UUID,
    module_system: System,
    commands: FaultyFront,
    reads: FaultyFront,
) -> None:
    client = clients(commands.url, reads.url, session=expired(ann, module_system))
    updates = client.stream([movie_id], after=ann.position)
    ann.rate_movie(movie_id, 2)
    assert [one.position for one in islice(updates, 1)] == [ann.position]
    updates.close()
    assert commands.count(REFRESH) == 1


def test_no_secret_shows(
    ann: Starfold, service: Starfold, commands: FaultyFront, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    commands.faults.append(Lose())
    with pytest.raises(errors.ConnectionFailed) as failed:
        ann.change_password(old=PASSWORD, new=PASSWORD + "!")
    with pytest.raises(errors.InvalidInput) as refused:
        ann.change_password(old=PASSWORD, new="short")
    session, key = ann.session, service.caller.credential(takes_api_key=True)
    assert session is not None
    assert key is not None
    shown = [repr(session), str(session), repr(ann.caller), repr(service.caller), caplog.text]
    shown += [repr(error.value) + str(error.value.__cause__) for error in (failed, refused)]
    for secret in (PASSWORD, session.access_token, session.refresh_token, key):
        assert not [text for text in shown if secret in text]


def test_proxy_variables_do_not_concern_this_machine(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert connect().query_ready().status == "ready"
    with pytest.raises(errors.ConnectionFailed):
        connect(trust_env=True, patience_s=0).query_ready()


def test_an_address_where_nobody_answers_is_given_up(clients: Clients) -> None:
    nobody = clients("http://127.0.0.1:9", "http://127.0.0.1:9", patience_s=0.3)
    with pytest.raises(errors.ConnectionFailed, match=r"GET http://127\.0\.0\.1:9/ready"):
        nobody.query_ready()
    with pytest.raises(errors.ConnectionFailed, match="GET /v1/stream"):
        next(nobody.stream())


def expired(client: Starfold, system: System) -> Session:
    """Return the client's session with an access token that has expired."""
    assert client.session is not None
    me = client.get_me()
    key = system.command_settings().token_private_key.get_secret_value()
    issuer = TokenIssuer(key, issuer="starfold", audience="starfold")
    long_ago = time.time() - TOKEN_LIFETIME_S - 100
    token = issuer.issue(UserId(me.user_id), "member", now_s=long_ago)
    return Session(token, client.session.refresh_token)
