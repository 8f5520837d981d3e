"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path(".starfold")

HomeOption = Annotated[Path, typer.Option("--home", help="Folder of a local Starfold.")]
