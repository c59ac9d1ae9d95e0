"""Arguments that many verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PoolDir = Annotated[Path, typer.Argument(metavar="POOL", help="A pool directory.")]
"""Whether it is a pool is checked on opening it, which says what to type if it is none."""

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="An option of the strategy (`poolwise strategies NAME` lists them); say it again for more.",
    ),
]
Engine = Annotated[str, typer.Option(help="Where the workers run: local (threads), processes, or ray.")]
Workers = Annotated[int, typer.Option(min=1, help="Workers that share the rows; the batch stays the same.")]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster; default: start Ray here.")]
Device = Annotated[
    str | None, typer.Option(help="cuda, cuda:1 or cpu: compute through torch there; the batch stays the same.")
]
Rounds = Annotated[int, typer.Option(min=1, max=2, help="2 is approximate, for pools of tens of millions.")]
