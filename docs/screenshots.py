"""Write pictures of the pages: `python docs/screenshots.py URL [FOLDER]`.

Each page in light and dark, wide and narrow. The Starfold at the URL needs its catalogue; the
pictures go to `build/screenshots` unless a folder is named.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

WIDE, NARROW = (1200, 860), (320, 700)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main(site: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in SCHEMES:
            for width, height in (WIDE, NARROW):
                context = browser.new_context(
                    base_url=site,
                    color_scheme=scheme,
                    viewport={"width": width, "height": height},
                )
                # Posters come from elsewhere: a picture shows what this site serves.
                context.route(lambda url: not url.startswith(site), lambda route: route.abort())
                page = context.new_page()
                page.goto("/?sort=count")
                film = page.locator(".film").first.get_attribute("href")
                for name, path in (
                    ("catalogue", "/?sort=count"),
                    ("film", film or "/"),
                    ("signup", "/signup"),
                    ("error", "/nowhere"),
                ):
                    page.goto(path)
                    page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2] if len(sys.argv) > 2 else "build/screenshots"))
