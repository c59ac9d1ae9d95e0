"""`poolwise sample`: what many models say about every item, for strategies that ask where models disagree."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json, say, show_progress
from poolwise.pool import Pool
from poolwise.registry import parse_settings
from poolwise.train.sample import sampler_named


def sample(
    pool: PoolDir,
    source: Annotated[
        str, typer.Option("--from", help="laplace, bootstrap (no torch); dropout, ensemble, swag, noise (torch).")
    ] = "bootstrap",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Models, or perturbations for noise; default as the source says.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the pool's seed.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="An option of the source, such as hidden=64; say it again for more."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit many small models on the labels so far, and keep what each says about every item.

    `poolwise query --strategy bald` (or epig, batchbald, mean_std, ...) then uses these models until new labels come;
    without them it draws heads by Laplace's method. `--from noise` measures instead how far a head's outputs move
    under noise on its weights, for the strategy noise_stability_network. Fine-tuned networks: `Pool.sample` in Python.

    Example:  poolwise sample birds.pool --from bootstrap --samples 20
    """
    options = parse_settings(sampler_named(source).heads, setting or [])
    with show_progress():
        done = Pool.open(pool).sample(source, samples=samples, seed=seed, **options)
    if as_json:
        echo_json(dataclasses.asdict(done))
    else:
        print(done.summary())
        strategy = "noise_stability_network" if source == "noise" else "bald"
        say(f"Next: poolwise query {shlex.quote(str(pool))} --strategy {strategy} --batch-size 50")
