"""The site of the documents: it builds without a warning and loads nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("properdocs"), "build", "--site-dir", site],
        check=False,
        cwd=source,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = built(ROOT, folder)
    assert build.returncode == 0, build.stderr
    assert "WARNING" not in build.stderr
    return folder


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A copy of what the site is built from, to change."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "properdocs.yml", tmp_path)
    return tmp_path


class _Links(HTMLParser):
    """Links of the navigation, and whatever a page makes a browser load."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.navigation: list[str] = []
        self.loaded: list[str] = []
        self._in_navigation = False
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_navigation |= tag == "nav"
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data"} and value and tag != "a":
                self.loaded.append(value)
            elif name == "href" and value and self._in_navigation:
                self.navigation.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_navigation &= tag != "nav"


def test_every_document_is_a_page_of_the_navigation(site: Path) -> None:
    documents = {
        document.relative_to(ROOT / "docs").with_suffix(".html")
        for document in (ROOT / "docs").rglob("*.md")
    }
    pages = {
        Path(str(page).replace("README.html", "index.html"))
        for page in documents
        if (page.parent / "index.html") not in documents or page.name != "README.html"
    }
    listed = {Path(link) for link in _Links(site / "index.html").navigation if "#" not in link}
    assert listed == pages
    assert [page for page in pages if not (site / page).exists()] == []


def test_no_page_loads_anything_from_another_address(site: Path) -> None:
    """Nor does a style sheet or a script name one to load."""
    pages = list(site.rglob("*.html"))
    loaded = {(page, address) for page in pages for address in _Links(page).loaded}
    assert any(address.endswith("style.css") for _, address in loaded)
    for page, address in loaded - {(page, "data:,") for page in pages}:
        assert not re.match(r"\w+:|//", address), f"{page}: {address}"
        assert (page.parent / address).exists(), f"{page}: {address}"
    for file in [*site.rglob("*.css"), *site.rglob("*.js")]:
        found = re.findall(r"(?:import|fetch|url|open)\W{1,4}(?:https?:)?//", file.read_text())
        assert found == [], file


def test_every_fence_of_code_is_shown_as_code(site: Path) -> None:
    assert [page for page in site.rglob("*.html") if "```" in page.read_text()] == []


@pytest.mark.parametrize(
    ("page", "text", "told"),
    [
        ("data.md", "[away](nowhere.md)", "nowhere.md"),
        ("data.md", "[away](http.md#nothing)", "nothing"),
        ("another.md", "# A page that the navigation lacks", "another.md"),
        ("data.md", '<img src="https://example.org/a.png">', "loads from outside"),
        ("data.md", "<style>p { background: url(//example.org/a) }</style>", "loads from outside"),
    ],
)
def test_a_fault_of_a_document_fails_the_build(
    documents: Path, page: str, text: str, told: str
) -> None:
    with (documents / "docs" / page).open("a") as document:
        document.write(f"\n{text}\n")
    build = built(documents, documents / "site")
    assert build.returncode != 0
    assert told in build.stdout + build.stderr


def test_a_new_guide_appears_in_the_navigation(documents: Path) -> None:
    guide = documents / "docs/howto/a_new_guide.md"
    guide.parent.mkdir(exist_ok=True)
    guide.write_text("# A new guide\n\n```python run here\nprint(1)\n```\n")
    build = built(documents, documents / "site")
    assert build.returncode == 0, build.stderr
    assert "howto/a_new_guide.html" in _Links(documents / "site/index.html").navigation
    assert "```" not in (documents / "site/howto/a_new_guide.html").read_text()
