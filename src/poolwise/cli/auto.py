"""`poolwise auto explain`: what was trusted for each batch, and why."""

from __future__ import annotations

from typing import Annotated

import typer

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.auto.explain import explain as explain_pool
from poolwise.auto.explain import in_words
from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json
from poolwise.store.pool import PoolStore

auto_app = typer.Typer(
    no_args_is_help=True,
    help="Look into choices among strategies.\n\nExample:  poolwise auto explain birds.pool",
)


@auto_app.callback()
def about() -> None:
    """Look into choices among strategies."""


@auto_app.command("explain")
def explain(
    pool: PoolDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say for each batch what was trusted (strategies, head quality, filter), why, and where the time went.

    Example:  poolwise auto explain birds.pool
    """
    records = explain_pool(PoolStore.open(pool))
    if as_json:
        echo_json(records)
    elif not records:
        print(
            f"no batch of {pool.name} was chosen by auto or a choice among strategies yet; "
            f"ask for one with `poolwise query {pool}`"
        )
    else:
        print("\n".join(in_words(record) for record in records))
