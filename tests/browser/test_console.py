"""The operators' console in a real Chromium with script, on a whole running system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Locator, Page, StorageState, expect

from console.pages import troubles
from shared.ids import MovieId, UserId
from shared.read_model.keys import partition_of
from tests.conftest import wait_ready
from tests.support.api import PASSWORD, Api, User
from tests.support.browser import NAME, REVIEW, TITLE, Visitor, log_in, tab_to
from tests.support.builders import impossible_rating
from tests.support.log import append_raw
from tests.support.operated import Operated
from tests.support.read_models import active, wait_until_applied
from tests.support.reader import Reader
from tests.support.system import RunningProjector, System, eventually

MAIL = str(UUID(int=1))
REASON = "<script>alert(2)</script> \u202eticket"

expect.set_options(timeout=20_000)

New = Callable[..., Visitor]


@pytest.fixture(scope="module")
def projector(module_system: System) -> RunningProjector:
    return module_system.start_projector(event_index=True)


@pytest.fixture(scope="module")
def api(module_system: System, projector: RunningProjector) -> Iterator[Api]:
    """A whole running system, whose projector keeps the event index too."""
    command, query = module_system.start_command_api(), module_system.start_query_api()
    with Api(command.url, query.url, module_system.service_key()) as client:
        wait_ready(client)
        yield client


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api) -> Iterator[Operated]:
    one = Operated(module_system, command_url=str(api.command.base_url).rstrip("/"))
    one.hire_worker()
    yield one
    one.close()


@pytest.fixture(scope="module")
def session(browser: Browser, operated: Operated, api: Api) -> StorageState:
    """The cookies of an operator who has logged in by the form."""
    with Visitor(browser, operated.url) as visitor:
        page = log_in(visitor, api.sign_up(role="operator"))
        return page.context.storage_state()


@pytest.fixture
def new(browser: Browser, operated: Operated, session: StorageState) -> New:
    """Return a visitor who is logged in as the operator."""
    return lambda **options: Visitor(browser, operated.url, storage_state=session, **options)


def generation(page: Page, projection: str, number: int) -> Locator:
    region = page.get_by_role("region", name=projection)
    header = page.get_by_role("rowheader", name=str(number), exact=True)
    return region.get_by_role("row").filter(has=header)


def confirm(page: Page, link: Locator, button: str) -> None:
    link.click()
    page.get_by_role("button", name=button, exact=True).click()


def acts(page: Page, name: str) -> Locator:
    """The lines of the audit log that are that act's."""
    page.goto(f"/acts?act={name}")
    return page.locator("tbody tr")


def test_lag_rises_without_a_projector_and_falls_with_one(
    module_system: System,
    projector: RunningProjector,
    api: Api,
    new: New,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The overview renews itself; what is behind for long is red, and comes first."""
    monkeypatch.setattr(troubles, "LAG_MAX_S", 1.0)
    movie_id, user = api.movie(), api.sign_up()
    wait_until_applied(module_system.projector_wiring())
    with new() as visitor:
        page = visitor.open("/")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="movies"))
        expect(page.get_by_text("Nothing stands still")).to_be_visible()
        projector.stop()
        try:
            api.rate(user, movie_id, 4)
            first = page.locator("main section, main table").first
            expect(first).to_contain_text("movies, generation 1 (active) is 1 event (")
            expect(row).to_have_class("trouble")
            visitor.require_accessible()
        finally:
            module_system.start_projector(event_index=True)
        expect(page.get_by_text("Nothing stands still")).to_be_visible()
        expect(row).not_to_have_class("trouble")
        expect(
            page.get_by_role("img", name="movies is up to date; at most 1 event")
        ).to_be_visible()


def test_a_replay_to_the_end_by_buttons_while_a_page_reads(
    operated: Operated, api: Api, new: New
) -> None:
    movie_id = api.movie()
    api.rate(api.sign_up(), movie_id, 4)
    api.read(f"/v1/movies/{movie_id}")
    (before,) = (
        one["generation"]
        for one in operated.get("/projections")["generations"]
        if (one["projection"], one["state"]) == ("movies", "active")
    )
    after = before + 1
    with new() as visitor, Reader(api, movie_id) as reader:
        page = visitor.open("/projections")
        page.get_by_role("link", name="Replay movies").click()
        page.get_by_label("Make it live once it is ready").uncheck()
        page.get_by_role("button", name="Replay").click()
        new_one, old_one = generation(page, "movies", after), generation(page, "movies", before)
        expect(new_one.get_by_role("progressbar")).to_be_visible()
        operated.work()
        expect(new_one).to_contain_text("passed")
        confirm(page, new_one.get_by_role("link", name="Make live"), "Make it live")
        expect(new_one).to_contain_text("active")
        api.rate(api.sign_up(), movie_id, 2)
        api.read(f"/v1/movies/{movie_id}")
        confirm(page, old_one.get_by_role("link", name="Roll back"), "Roll back")
        expect(old_one).to_contain_text("active")
        eventually(lambda: 2 in reader.counts)
        visitor.expected = {422}
        new_one.get_by_role("link", name="Purge").click()
        typed = page.get_by_label("to confirm", exact=False)
        typed.fill("movies")
        page.get_by_role("button", name="Purge").click()
        expect(typed).to_have_attribute("aria-invalid", "true")
        typed.fill(f"movies-{after}")
        page.get_by_role("button", name="Purge").click()
        expect(page.get_by_role("heading", name="Projections")).to_be_visible()
        expect(new_one).to_have_count(0)
        for name, lines in (("replay", 1), ("switch", 2), ("purge", 1)):
            expect(acts(page, name)).to_have_count(lines)
            expect(page.locator("tbody tr").first).to_contain_text("done")
    assert reader.faults == []


def test_a_verification_finds_a_difference_and_repairs_it(
    module_system: System, api: Api, new: New
) -> None:
    movie_id = api.movie()
    wiring = module_system.projector_wiring()
    wait_until_applied(wiring)
    # The index has read the movie: otherwise it would report the missing document, to be healed.
    api.read("/v1/movies")
    movie = UUID(movie_id)
    key = active(wiring, "movies").keys(partition_of(movie)).document("stats", movie.hex)
    module_system.redis.delete(key)
    with new() as visitor:
        page = visitor.open("/verifications")
        page.get_by_role("link", name="Verify read models").click()
        page.get_by_label("Only this movie").fill(movie_id)
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_text("1 difference.")).to_be_visible()
        visitor.require_good_when_narrow()
        confirm(page, page.get_by_role("link", name="Repair"), "Verify")
        expect(page.get_by_text("1 difference, repaired.")).to_be_visible()
        assert module_system.redis.exists(key)


def test_one_parked_entity_is_retried_and_another_discarded(
    module_system: System, api: Api, new: New
) -> None:
    user_id, movie_id = api.sign_up().user_id, api.movie()
    append_raw(module_system, impossible_rating(UserId(UUID(user_id)), MovieId(UUID(movie_id))))
    wait_until_applied(module_system.projector_wiring())
    with new() as visitor:
        page = visitor.open("/parked")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=user_id))
        confirm(page, row.get_by_role("link", name="Retry"), "Retry")
        still_parked = page.get_by_role("row").filter(has_text="still_parked")
        expect(still_parked).to_contain_text("1")
        page.get_by_role("link", name="Parked").last.click()
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=movie_id))
        row.get_by_role("link", name="Discard").click()
        page.get_by_label("Reason").fill(REASON)
        page.get_by_label("to confirm", exact=False).fill(movie_id)
        page.get_by_role("button", name="Discard").click()
        expect(row).to_contain_text("discarded")
        expect(row.get_by_role("link", name="Discard")).to_have_count(0)
        expect(acts(page, "discard").filter(has_text=movie_id)).to_contain_text(REASON)
        visitor.require_good_when_narrow()


def test_an_event_is_found_by_its_request_and_revealed_for_a_reason(
    operated: Operated, api: Api, new: New
) -> None:
    """Until then no answer of the console has anything personal, nor ever a password hash."""
    email, secrets = "found@example.org", ("found@example.org", "<b>Bö", "&lt;b&gt;Bö", "$argon2")
    body = {"email": email, "password": PASSWORD, "display_name": NAME}
    made = api.post("/v1/users", body)
    request_id, user_id = made.headers["x-request-id"], made.json()["user_id"]
    user = User(user_id, email, api.log_in(email)["access_token"])
    api.rate(user, api.movie(TITLE), 0.5, review=REVIEW)
    by_request = f"/events?correlation={request_id}"
    eventually(lambda: operated.get(by_request)["items"])
    eventually(lambda: len(operated.get(f"/events?user={user_id}")["items"]) == 3)
    with new() as visitor:
        page = visitor.open("/events")
        page.get_by_label("Request").fill(request_id)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tbody tr")).to_have_count(2)
        row = page.get_by_role("row").filter(has_text="UserCreated")
        position = row.get_by_role("link").inner_text()
        row.get_by_role("link").click()
        expect(page.get_by_role("row").filter(has_text="email")).to_contain_text("sealed")
        same_request = page.locator("div", has=page.get_by_text("Same request", exact=True)).last
        same_request.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("EmailReserved")
        page.go_back()
        page.get_by_role("link", name="Stream").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        rows = [one["position"] for one in operated.get(f"/events?user={user_id}")["items"]]
        paths = ["/", by_request, f"/events?user={user_id}", "/events/export", "/acts"]
        for path in [*paths, *(f"/events/{one}" for one in rows), f"/events/{position}/reveal"]:
            source = page.request.get(path).text()
            assert not [one for one in (*secrets, "longlong") if one in source], path
        page.goto(f"/events/{position}")
        page.get_by_role("link", name="Reveal personal fields").click()
        visitor.expected = {422}
        page.get_by_label("Reason").fill("   ")
        page.get_by_role("button", name="Reveal").click()
        expect(page.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
        visitor.require_good_when_narrow()
        page.get_by_label("Reason").fill(REASON)
        page.get_by_role("button", name="Reveal").click()
        expect(page.get_by_role("row").filter(has_text="email")).to_contain_text(email)
        expect(page.get_by_role("row").filter(has_text="display_name")).to_contain_text(NAME)
        assert "$argon2" not in page.content()
        visitor.require_good_when_narrow()
        page.get_by_role("link", name="The act in the audit log").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Event reveal")
        expect(page.get_by_role("row").filter(has_text="reason")).to_contain_text(REASON)
        api.command.delete("/v1/users/me", headers=user.headers)
        page.goto(f"/events/{position}")
        expect(page.get_by_role("row").filter(has_text="email")).to_contain_text("erased")
        expect(page.get_by_role("link", name="Reveal personal fields")).to_have_count(0)


def test_a_form_is_one_act_however_often_it_is_sent(operated: Operated, new: New) -> None:
    """Neither a second click nor Back, Forward or Reload repeats it."""
    with new() as visitor:
        page = visitor.open("/verifications/begin")
        page.get_by_label("Projection").select_option("changes")
        page.get_by_role("button", name="Verify").dblclick()
        expect(page.get_by_text("No difference")).to_be_visible()
        done = len(operated.recorded("verify"))
        page.go_back()
        expect(page.get_by_role("heading", name="Verify read models")).to_be_visible()
        page.go_forward()
        expect(page.get_by_text("No difference")).to_be_visible()
        assert len(operated.recorded("verify")) == done
        page.goto("/verifications")
        times = page.locator("tbody th").all_inner_texts()
        assert len(times) == done
        page.goto("/events/1/reveal")
        page.get_by_label("Reason").fill("a ticket")
        page.get_by_role("button", name="Reveal").click()
        expect(page.get_by_role("heading", name="Personal fields")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Personal fields")).to_be_visible()
        revealed = [
            one for one in operated.recorded("event reveal") if one.parameters["position"] == 1
        ]
        assert len(revealed) == 1


def test_a_new_key_is_shown_once(new: New) -> None:
    with new() as visitor:
        page = visitor.open("/keys/create")
        page.get_by_label("Name").fill(NAME)
        page.get_by_label("ratings: rate").check()
        page.get_by_role("button", name="Create the key").click()
        secret = page.locator("code.secret").inner_text()
        visitor.require_good_when_narrow()
        page.reload()
        expect(page.get_by_role("heading", name="New key")).to_be_visible()
        assert secret not in page.content()
        page.get_by_role("link", name="Keys").last.click()
        row = page.get_by_role("row").filter(has_text=NAME)
        confirm(page, row.get_by_role("link", name="Revoke"), "Revoke")
        expect(row).to_contain_text("revoked")


def test_an_act_is_done_by_keyboard_alone(operated: Operated, new: New) -> None:
    with new(reduced_motion="reduce") as visitor:
        page = visitor.open("/verifications")
        for goal in (
            page.get_by_role("link", name="Verify read models"),
            page.get_by_role("button", name="Verify"),
        ):
            tab_to(page, goal)
            page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Verification")).to_be_visible()
        assert page.evaluate("document.getAnimations().length") == 0


PAGES = (
    "/",
    "/projections",
    "/projections/movies/replay",
    "/projections/movies/generations/1/switch",
    "/projections/movies/generations/1/cancel",
    "/projections/movies/generations/1/purge",
    "/verifications",
    "/verifications/begin",
    "/parked",
    "/parked/retry",
    "/parked/{parked}/retry",
    "/parked/{parked}/discard",
    "/events",
    "/events/{position}",
    "/events/{position}/reveal",
    "/events?user=nobody",
    "/users",
    "/users/{user}",
    "/users/{user}/role",
    "/users/{user}/end-sessions",
    "/users/{user}/erase",
    "/keys",
    "/keys/create",
    "/keys/{key}/revoke",
    "/mails",
    "/acts",
    "/acts/{act}",
    "/mails",
    f"/mails/{MAIL}/reveal",
    "/login",
    "/nowhere",
)


def test_every_page_is_accessible_and_fits_a_narrow_window(
    module_system: System, operated: Operated, api: Api, new: New
) -> None:
    module_system.servers.home.outbox.mkdir(exist_ok=True)
    (module_system.servers.home.outbox / f"20260101T000000-{MAIL}-reset.eml").touch()
    user_id, movie_id = api.sign_up(name=NAME).user_id, api.movie(TITLE, description="x" * 5_000)
    append_raw(module_system, impossible_rating(UserId(UUID(user_id)), MovieId(UUID(movie_id))))
    wait_until_applied(module_system.projector_wiring())
    # The event index follows the log by itself.
    path = f"/events?type=MovieCreated&movie={movie_id}"
    (created,) = eventually(lambda: operated.get(path)["items"])
    act_id = operated.act("POST", "/parked/retry", status=202)["act_id"]
    operated.ended(act_id)
    key_id = operated.get("/keys")["items"][0]["key_id"]
    ids = {"parked": f"movies-{movie_id}", "position": created["position"], "act": act_id}
    ids |= {"user": user_id, "key": key_id}
    with new() as visitor:
        visitor.expected = {404, 422}
        for path in PAGES:
            page = visitor.open(path.format(**ids))
            assert page.locator("h1").count() == 1
            visitor.require_good_when_narrow()
        page = visitor.open(f"/events/{created['position']}")
        expect(page.get_by_role("row").filter(has_text="details.title")).to_contain_text(TITLE)


def test_a_member_is_refused_by_every_page(browser: Browser, operated: Operated, api: Api) -> None:
    with Visitor(browser, operated.url) as visitor:
        visitor.expected = {403}
        log_in(visitor, api.sign_up())
        nobody = str(UUID(int=1))
        ids = dict.fromkeys(("act", "user", "key"), nobody)
        ids |= {"parked": f"movies-{nobody}", "position": "1"}
        for path in PAGES[:-2]:
            page = visitor.open(path.format(**ids))
            expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
        visitor.require_good_when_narrow()
