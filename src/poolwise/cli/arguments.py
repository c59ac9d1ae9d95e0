"""Arguments that many verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PoolDir = Annotated[Path, typer.Argument(metavar="POOL", help="A pool directory.")]
"""Whether it is a pool is checked on opening it, which says what to type if it is none."""
