"""The public pages' settings."""

from __future__ import annotations

from pages.settings import PagesSettings
from shared.process.setting_types import Port


class WebSettings(PagesSettings):
    """Settings from `STARFOLD_*`; the public pages need both APIs and nothing else."""

    port: Port = 8082
