"""Options that many commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path(".starfold")

HomeOption = Annotated[Path, typer.Option("--home", help="The folder of a local Starfold.")]
