"""`poolwise select`: arrays in files in, a batch out; no pool needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.cli.output import echo_csv, echo_json, show_progress
from poolwise.errors import InputError
from poolwise.query import select as select_arrays
from poolwise.registry import STRATEGIES, parse_settings
from poolwise.store.arrays import open_rows

_ArrayFile = Annotated[
    Path | None, typer.Option(exists=True, help="A .npy, .npz, .safetensors or .parquet file, or a folder of parts.")
]


def select(
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Items to choose.")] = 100,
    embeddings: _ArrayFile = None,
    logits: _ArrayFile = None,
    probs: _ArrayFile = None,
    labels: Annotated[
        Path | None, typer.Option(exists=True, help="(N,) class numbers, -1 where unlabeled (.npy, .npz).")
    ] = None,
    labeled: Annotated[Path | None, typer.Option(exists=True, help="Pool indices of labeled items.")] = None,
    unlabeled: Annotated[Path | None, typer.Option(exists=True, help="Pool indices that may be chosen.")] = None,
    head: Annotated[
        Path | None,
        typer.Option(exists=True, help="Last linear layer: .npz or .safetensors with weight (C, D) and bias (C,)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same batch.")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", metavar="OPTION=VALUE")] = None,
    engine: Annotated[str, typer.Option(help="Where the workers run: local (threads), processes, or ray.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Workers that share the rows; the batch stays the same.")] = 1,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster; default: start Ray here.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=2, help="2 is approximate, for pools of tens of millions.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the batch here (.json or .csv).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Choose a batch from array files, larger than memory if need be.

    Example:  poolwise select --strategy coreset --embeddings feats.npy --batch-size 100 > batch.csv
    """
    arrays: dict[str, Any] = {
        name: None if path is None else open_rows(path)
        for name, path in {"embeddings": embeddings, "logits": logits, "probs": probs}.items()
    }
    for name, path in {"labels": labels, "labeled": labeled, "unlabeled": unlabeled}.items():
        arrays[name] = None if path is None else np.asarray(open_rows(path)[:])
    if head is not None:
        arrays["head_weight"], arrays["head_bias"] = read_head(head)
    options = parse_settings(STRATEGIES[strategy], setting or [])
    with show_progress():
        selection = select_arrays(
            strategy,
            batch_size=batch_size,
            seed=seed,
            engine=engine,
            workers=workers,
            address=address,
            rounds=rounds,
            **arrays,
            **options,
        )
    if out is not None:
        selection.save(out)
    if as_json:
        echo_json(selection.to_dict())
    else:
        echo_csv(selection.rows())


def read_head(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read weight (C, D) and bias (C,) of a linear layer from .npz or .safetensors, without unpickling.

    Raises
    ------
    InputError
        If the file holds no array named `weight` or `head_weight`.
    """
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        arrays = load_file(path)
    else:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files} if hasattr(file, "files") else {"weight": file}
    weight = arrays.get("weight", arrays.get("head_weight"))
    if weight is None:
        raise InputError(
            f"{path.name} holds {sorted(arrays)}; expected 'weight' (C, D) and optionally 'bias' (C,). "
            "Write it with numpy.savez(path, weight=W, bias=a)."
        )
    return weight, arrays.get("bias", arrays.get("head_bias"))
