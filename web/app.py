"""Wiring of the public pages."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette

from pages.application import Pages, Site
from pages.log_in import LogIn
from pages.rendering import Renderer
from web.accounts import SignUp
from web.drawing import FILTERS
from web.imports import ImportPages
from web.live import LivePages
from web.live_feed import LiveFeed
from web.mailed_links import MailedLinks
from web.movies import MoviePages
from web.people import PeoplePages
from web.settings import WebSettings

BODY_BYTES_MAX = 64 * 1024


def create_app(settings: WebSettings) -> Starlette:
    """Return the application; its lifespan closes the connections to the APIs."""
    renderer = Renderer(
        Path(__file__).parent,
        site_name="Starfold",
        layout="site.html",
        signup="/signup",
        reset="/reset",
    )
    renderer.add_filters(FILTERS)
    site = Site(settings, renderer, name="web", origin=settings.web_url)
    feed = LiveFeed(site.client)
    rooms: list[Pages] = [
        MoviePages(site),
        LivePages(site, feed),
        LogIn(site),
        SignUp(site),
        MailedLinks(site),
        PeoplePages(site),
        ImportPages(site),
    ]
    return site.application(rooms, body_bytes_max=BODY_BYTES_MAX, end_streams=feed.end)
