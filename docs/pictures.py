"""Write the pictures of the documents: `python docs/pictures.py HOME WEB CONSOLE [FOLDER]`.

HOME is that of a Starfold that runs for this alone, with the catalogue that ships: made-up people
rate some of its films. WEB and CONSOLE are the addresses of its pages.
"""

from __future__ import annotations

import base64
import random
import shutil
import sys
from pathlib import Path

import msgspec
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from ops.home.folder import Home
from starfold_client import Starfold

PEOPLE = ("Ada", "Bo", "Carmen", "Dmitri", "Elif", "Femi", "Grete", "Hugo", "Imani", "Jun")
FILMS = 60
SHOWN = "Casablanca"
REVIEW = "Every line is quoted, and still it moves."
SIZE = (1100, 900)
QUALITY = 0.72
# Encodes a picture as WebP, which is a third of a PNG.
_ENCODE = """async ([png, quality]) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"),
    { width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


class Camera:
    """Opens pages in Chromium and writes what they show, as WebP."""

    def __init__(self, browser: Browser, site: str, folder: Path) -> None:
        width, height = SIZE
        viewport = ViewportSize(width=width, height=height)
        self._context = browser.new_context(base_url=site, viewport=viewport)
        # Posters come from elsewhere: a picture shows what this site serves.
        self._context.route(lambda url: not url.startswith(site), lambda route: route.abort())
        self._encoder = browser.new_page()
        self._folder = folder
        self.page: Page = self._context.new_page()

    def log_in(self, email: str, password: str) -> None:
        self.page.goto("/login")
        self.page.get_by_label("E-mail address").fill(email)
        self.page.locator("input[type=password]").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("button", name="Log out").wait_for()

    def take(self, name: str, path: str) -> None:
        self.page.goto(path)
        png = base64.b64encode(self.page.screenshot()).decode()
        encoded = self._encoder.evaluate(_ENCODE, [png, QUALITY])
        (self._folder / f"{name}.webp").write_bytes(base64.b64decode(encoded))


def rate(home: Home) -> str:
    """Have people rate films, and return the id of the film to show."""
    addresses = home.addresses()
    drawn = random.Random(1942)  # noqa: S311  # It makes up ratings and guards nothing.
    with Starfold(addresses.command_url, addresses.query_url) as anyone:
        films = list(anyone.list_movies(sort="title", limit=FILMS).items)
        shown = anyone.list_movies(q=SHOWN, limit=1).items[0]
        for number, name in enumerate(PEOPLE):
            person = anyone.for_caller()
            email = f"{name.lower()}@example.org"
            person.sign_up(email=email, password=f"a password of {name}", display_name=name)
            person.log_in(email=email, password=f"a password of {name}")
            review = REVIEW if number == 0 else None
            person.rate_movie(shown.movie_id, drawn.choice((3.5, 4.0, 4.5, 5.0)), review=review)
            for film in drawn.sample(films, 15):
                person.rate_movie(film.movie_id, drawn.randint(3, 10) / 2)
    return str(shown.movie_id)


def main(home: Home, web: str, console: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    film = rate(home)
    operator = msgspec.json.decode(home.operator_file.read_bytes())
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        camera = Camera(browser, web, folder)
        camera.log_in("ada@example.org", "a password of Ada")
        camera.take("film", f"/movies/{film}")
        camera = Camera(browser, console, folder)
        camera.log_in(operator["email"], operator["password"])
        camera.take("console", "/")
        camera.take("console-projections", "/projections")
        browser.close()


if __name__ == "__main__":
    home, web, console, *folder = sys.argv[1:]
    main(Home(Path(home)), web, console, Path(*(folder or ["docs/images"])))
