"""`poolwise select`: arrays in files in, a batch out; no pool needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.cli.arguments import Address, Device, Engine, Rounds, Setting, Workers
from poolwise.cli.around import Beta, Keep, MaxPerGroup, Stochastic, Within, all_options, read_values
from poolwise.cli.output import echo_csv, echo_json, say, show_progress, tell_of_workers
from poolwise.errors import InputError
from poolwise.query import select as select_arrays
from poolwise.registry import DETECTORS, STRATEGIES
from poolwise.store.arrays import open_rows
from poolwise.store.files import explained
from poolwise.store.formats import names_in, open_file
from poolwise.types import ARRAYS, Array

_ArrayFile = Annotated[
    Path | None, typer.Option(exists=True, help="A .npy, .npz, .safetensors or .parquet file, or a folder of parts.")
]


def select(
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Items to choose.")] = 100,
    embeddings: _ArrayFile = None,
    logits: _ArrayFile = None,
    probs: _ArrayFile = None,
    prob_samples: _ArrayFile = None,
    noise_deviations: _ArrayFile = None,
    labels: Annotated[
        Path | None, typer.Option(exists=True, help="(N,) class numbers, -1 where unlabeled (.npy, .npz).")
    ] = None,
    labeled: Annotated[Path | None, typer.Option(exists=True, help="Pool indices of labeled items.")] = None,
    unlabeled: Annotated[Path | None, typer.Option(exists=True, help="Pool indices that may be chosen.")] = None,
    head: Annotated[
        Path | None,
        typer.Option(exists=True, help="Last linear layer: .npz or .safetensors with weight (C, D) and bias (C,)."),
    ] = None,
    ood: Annotated[
        str | None,
        typer.Option(
            metavar="DETECTOR|FILE", help="Keep back what a detector, or (N,) scores of your own, call foreign."
        ),
    ] = None,
    foreign: Annotated[
        Path | None, typer.Option(exists=True, help="Pool indices of items rejected by annotators, or an (N,) mask.")
    ] = None,
    costs: Annotated[
        Path | None, typer.Option(help="(N,) prices, above 0: an array file, or a table's column (FILE#COLUMN).")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="(N,) groups, numbers or names: an array file, or a table's column.")
    ] = None,
    max_per_group: MaxPerGroup = None,
    within: Within = None,
    keep: Keep = None,
    stochastic: Stochastic = None,
    beta: Beta = None,
    array: Annotated[
        list[str] | None,
        typer.Option("--array", metavar="NAME=FILE", help="Any other array a strategy names, such as prob_samples."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same batch.")] = 0,
    setting: Setting = None,
    device: Device = None,
    engine: Engine = "local",
    workers: Workers = 1,
    address: Address = None,
    rounds: Rounds = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the batch here (.json or .csv).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Choose a batch from array files, larger than memory if need be.

    Row i of every file is item i. With --costs every strategy prefers what is worth its price; with --groups and
    --max-per-group no group fills the batch.

    Example:  poolwise select --strategy coreset --embeddings feats.npy --batch-size 100 > batch.csv
    """
    spec = STRATEGIES[strategy]
    if out is not None:
        check_out(out)
    arrays: dict[str, Any] = {
        name: None if path is None else open_rows(path)
        for name, path in {
            "embeddings": embeddings,
            "logits": logits,
            "probs": probs,
            "prob_samples": prob_samples,
            "noise_deviations": noise_deviations,
        }.items()
    }
    whole = {"labels": labels, "labeled": labeled, "unlabeled": unlabeled, "foreign": foreign}
    for name, path in whole.items():
        arrays[name] = None if path is None else np.asarray(open_rows(path)[:])
    arrays["costs"] = None if costs is None else read_values(costs, "cost")
    arrays["groups"] = None if groups is None else read_values(groups, "group")
    arrays |= named_arrays(array or [], arrays)
    if ood is not None and ood not in DETECTORS and Path(ood.rpartition("#")[0] or ood).exists():
        arrays["ood_scores"] = read_values(Path(ood), "ood_score")
        ood = None if "ood_scores" in (*spec.needs, *spec.uses) else "given"
    if head is not None:
        arrays["head_weight"], arrays["head_bias"] = read_head(head)
    around = {"within": within, "keep": keep, "max_per_group": max_per_group, "stochastic": stochastic, "beta": beta}
    options = all_options(spec, setting, **around)
    if max_per_group is not None and groups is None:
        raise InputError("--max-per-group needs the group of every item, which is missing; add --groups FILE.")
    with show_progress():
        selection = select_arrays(
            strategy,
            batch_size=batch_size,
            seed=seed,
            device=device,
            engine=engine,
            workers=workers,
            address=address,
            rounds=rounds,
            ood=ood,
            **arrays,
            **options,
        )
    tell_of_workers(selection, workers)
    if device is not None:
        say(f"device {selection.notes['device']}")
    if out is not None:
        with explained(out):
            selection.save(out)
    if as_json:
        echo_json(selection.to_dict())
    else:
        echo_csv(selection.rows())


def check_out(path: Path) -> None:
    """Refuse a place where the batch cannot be written, before it is chosen.

    Raises
    ------
    InputError
        If the ending is neither .json nor .csv, or there is no such folder.
    """
    if path.suffix not in (".json", ".csv"):
        raise InputError(f"--out {str(path)!r}: expected a name ending in .json or .csv.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out {str(path)!r}: there is no folder {str(path.parent)!r}; make it, or choose another.")


def named_arrays(settings: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """Open the arrays of `--array NAME=FILE`.

    Raises
    ------
    InputError
        If a name is not an array that a strategy can take, has a flag of its own that was used, or comes twice.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, path = setting.partition("=")
        if not equals or name not in ARRAYS:
            raise InputError(f"--array {setting!r}: expected NAME=FILE with a name of {', '.join(ARRAYS)}.")
        if name in found or given.get(name) is not None:
            raise InputError(f"--array {setting!r}: {name} is given twice; leave one out.")
        found[name] = open_rows(path)
    return found


def read_head(path: Path) -> tuple[Array, Array | None]:
    """Read weight (C, D) and bias (C,) of a linear layer from .npz or .safetensors; a .npy file is a weight alone.

    Raises
    ------
    InputError
        If the file is of another kind, or holds no array named `weight` or `head_weight`.
    StoreError, CorruptArrayError
        If it cannot be read, or is damaged.
    """
    if path.suffix.lower() == ".npy":
        return open_file(path)[:], None
    names = names_in(path)
    weight, bias = (next((n for n in (kind, f"head_{kind}") if n in names), None) for kind in ("weight", "bias"))
    if weight is None:
        raise InputError(
            f"{path.name} holds {sorted(names)}; expected 'weight' (C, D) and optionally 'bias' (C,). "
            "Write it with numpy.savez(path, weight=W, bias=a)."
        )
    return open_file(path, weight)[:], None if bias is None else open_file(path, bias)[:]
