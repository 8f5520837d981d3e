"""The OpenAPI documents as files: `make openapi` writes them, and a test compares them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_api.app
import console.app
import query_api.app
from command_api.settings import CommandSettings
from console.settings import ConsoleSettings
from query_api.settings import QuerySettings
from tests.contract.test_docs import SECRETS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "openapi"
COMMAND = "make openapi"


def documents() -> dict[str, str]:
    """Return the text of each file by its name: sorted and indented, for small differences."""
    apps = {
        "command.json": command_api.app.create_app(CommandSettings(**SECRETS)),
        "operator-api.json": console.app.create_app(ConsoleSettings(**SECRETS)),
        "query.json": query_api.app.create_app(QuerySettings(**SECRETS)),
    }
    return {
        name: json.dumps(_timeless(app.openapi()), indent=2, sort_keys=True, ensure_ascii=False)
        + "\n"
        for name, app in apps.items()
    }


def _timeless(value: Any) -> Any:
    """Leave out the latest year of a film, which depends on the day."""
    if isinstance(value, dict):
        kept = {name: _timeless(inner) for name, inner in value.items()}
        if isinstance(year := kept.get("year"), dict):
            year.pop("maximum", None)
        return kept
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
