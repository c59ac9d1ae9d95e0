"""`poolwise embed`: one vector per item, made once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from poolwise.cli.arguments import Address, Engine, PoolDir
from poolwise.cli.output import echo_json, say, show_progress
from poolwise.pool import Pool

SHOWN = 5
"""Unreadable items that are named on the terminal; `--json` lists all."""


def embed(
    pool: PoolDir,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="pixels, tfidf, timm:MODEL, transformers:MODEL, sentence-transformers:MODEL; default by items."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(exists=True, help="A local .safetensors file or model folder instead of the hub.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged parts again.")] = False,
    engine: Engine = "local",
    workers: Annotated[int, typer.Option(min=1, help="Workers that share the parts; the rows stay the same.")] = 1,
    address: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Embed every item that has no embedding yet; a stopped run continues where it was.

    Example:  poolwise embed birds.pool --backbone pixels
    """
    with show_progress():
        opened = Pool.open(pool)
        where: dict[str, Any] = {"engine": engine, "workers": workers, "address": address}
        done = opened.embed(backbone, weights=weights, device=device, repair=repair, **where)
    if as_json:
        facts = dataclasses.asdict(done)
        echo_json({**facts, "unreadable": {str(index): why for index, why in done.unreadable.items()}})
    else:
        print(done.summary())
        for index, why in list(done.unreadable.items())[:SHOWN]:
            say(f"unreadable: {opened.store.item(index).item_id}: {why}")
        say(f"Next: {opened.status().next_step}")
