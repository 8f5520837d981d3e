"""What the site's builder does beyond its configuration in `properdocs.yml`."""

from __future__ import annotations

import re
from pathlib import Path

from properdocs.config.defaults import ProperDocsConfig
from properdocs.exceptions import PluginError
from properdocs.structure.pages import Page

# What a browser loads by itself; a link that a reader follows is none of these.
_LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source|object|video|audio)\b[^>]*"""
    r"""\b(?:src|href|data|srcset)\s*=\s*["']?\s*(?:https?:)?//[^\s"'>]+"""
    r"""|(?:@import|url\()\s*(?:url\()?["']?\s*(?:https?:)?//[^\s"')]+""",
    re.IGNORECASE,
)


def on_config(config: ProperDocsConfig) -> ProperDocsConfig:
    """Put the pages of each folder that the navigation names in its place."""
    docs = Path(config.docs_dir)
    config.nav = [
        {title: _pages(docs, place) if place.endswith("/") else place}
        for entry in config.nav or []
        for title, place in entry.items()
        if (docs / place).exists()
    ]
    return config


def _pages(docs: Path, folder: str) -> list[str]:
    """The folder's pages by name, its own page first."""
    pages = sorted((docs / folder).glob("*.md"), key=lambda one: (one.stem != "README", one.name))
    return [str(page.relative_to(docs)) for page in pages]


def on_page_markdown(markdown: str, page: Page, config: ProperDocsConfig, **_others: object) -> str:
    """Show what GitHub shows: fences with more than a language, links out of `docs/` as text."""
    docs = Path(config.docs_dir)

    def without_link(link: re.Match[str]) -> str:
        text, target = link.groups()
        file = (docs / page.file.src_uri).parent.joinpath(target).resolve()
        return text if file.exists() and not file.is_relative_to(docs) else link[0]

    markdown = re.sub(r"^( *```\w+) .*$", r"\1", markdown, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]+)\]\((\.\./[^)#:]+)\)", without_link, markdown)


def on_post_build(config: ProperDocsConfig) -> None:
    """Raise if a page or a style sheet loads anything from another address."""
    for file in sorted(Path(config.site_dir).rglob("*")):
        if file.suffix in {".html", ".css", ".svg"} and (found := _LOADED.search(file.read_text())):
            raise PluginError(f"{file.relative_to(config.site_dir)} loads from outside: {found[0]}")
