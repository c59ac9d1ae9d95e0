"""Arrays of sampled models, made for a whole pool and kept with it: sampled probabilities, and noise deviations.

An array's name holds the digest of the models that made it, and the pool remembers which labels these had seen: when
labels have come since, the array is stale and no query reads it.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poolwise.errors import InputError, OptionError, ShapeError, unknown_name
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.posterior import SampledProbs
from poolwise.models.backbone import digest_of
from poolwise.progress import task
from poolwise.registry import Option, check_options
from poolwise.store.arrays import FLOAT16_MAX, array_name
from poolwise.store.pool import PoolStore
from poolwise.train.ensembles import ensemble_samples, fit_bootstrap, fit_ensemble
from poolwise.train.laplace import laplace_samples
from poolwise.train.linear_probe import fit_linear
from poolwise.train.mc_dropout import dropout_samples, fit_dropout
from poolwise.train.networks import NetworkRows
from poolwise.train.noise_deviation import Output, Scope, fit_noise, noise_deviations
from poolwise.train.swag import collect_moments, fit_swag, swag_samples
from poolwise.types import Array, IndexArray, PoolState, Rows

SAMPLED = "sampled"
"""Setting of the pool: kind of array -> its full name, what made it, and the digest of the labels it had seen."""

PART_BYTES, PART_ROWS = 16 * 2**20, 8192
"""Largest part on disk: what is computed at once, and the most that a crash can lose."""


@dataclass(frozen=True, slots=True)
class Maker:
    """A function that makes rows, with the options of its signature, for `registry.check_options`."""

    name: str
    function: Callable[..., Rows]
    lifted: dict[str, Option] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Option]:
        """Keyword-only parameters, but for `samples` and `seed`, which all have."""
        hints = typing.get_type_hints(self.function)
        return {
            p.name: Option(p.name, hints[p.name], p.default)
            for p in inspect.signature(self.function).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in ("samples", "seed")
        }


@dataclass(frozen=True, slots=True)
class Sampler:
    """One way to sample models.

    kind : array it makes
    heads : fits small heads; called with (x, y, n_classes, embeddings)
    network : takes a trained network; called with (network, inputs, items, labels). None where there is no such thing
    """

    kind: str
    heads: Maker
    network: Maker | None = None


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What sampling did.

    array : full name, such as "prob_samples@0123456789ab"
    source : what made it
    samples, width : S, and C (or Q)
    n_items, n_new : rows the array has now, and rows made by this call
    megabytes : size on disk
    """

    array: str
    source: str
    samples: int
    width: int
    n_items: int
    n_new: int
    megabytes: float
    seconds: float

    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.source}: {self.n_new} new rows in {self.seconds:.1f} s; {self.array} has {self.n_items} rows of "
            f"{self.samples} x {self.width} ({self.megabytes:.1f} MB)"
        )


def sample_pool(
    store: PoolStore,
    state: PoolState,
    inputs: Rows,
    source: str,
    *,
    samples: int | None = None,
    seed: int,
    network: Any = None,
    embeddings: str | None = None,
    options: Mapping[str, Any],
) -> SampleReport:
    """Sample models that were fitted on the labels of a pool, and write what they say about every item as float16.

    A stopped call goes on with the next part when it is typed again. An array that it replaces is removed.

    Parameters
    ----------
    state : whose labels the models see
    inputs : (N, ...) rows of the models
    source : a name of `SAMPLERS`
    samples : S; default as the sampler says
    network : a trained torch module (for "ensemble": a sequence of them) instead of small heads
    embeddings : full name of the array that the inputs are; None where they are none
    options : of the sampler

    Raises
    ------
    UnknownNameError, OptionError, InputError, MissingExtraError
    """
    start = time.perf_counter()
    sampler = sampler_named(source)
    maker = sampler.heads if network is None else sampler.network or sampler.heads
    chosen = {"seed": seed, **({} if samples is None else {"samples": samples}), **check_options(maker, dict(options))}
    if network is None:
        rows = _of_heads(store, state, sampler, inputs, chosen)
    else:
        rows = _of_network(store, state, sampler, network, inputs, chosen)
    digest = _digest(rows)
    seen = labels_digest(store, state)
    name = array_name(sampler.kind, digest_of({"models": digest, "labels": seen, "embeddings": embeddings}))
    n_new = sum(len(missing) for missing in store.arrays.missing_rows(name, store.n_items))
    _write(store, name, rows, {"source": source, "digest": digest, "seed": seed})
    record = {"array": name, "source": source, "samples": rows.shape[1], "labels": seen, "embeddings": embeddings}
    store.settings[SAMPLED] = {**store.settings.get(SAMPLED, {}), sampler.kind: record}
    for old in store.arrays.names(sampler.kind):
        if old != name:
            store.arrays.remove(old)
    size = 2 * store.n_items * rows.shape[1] * rows.shape[2] / 1e6
    seconds = time.perf_counter() - start
    return SampleReport(name, source, rows.shape[1], rows.shape[2], store.n_items, n_new, size, seconds)


def stored_samples(
    store: PoolStore, state: PoolState, kind: str, embeddings: str | None
) -> tuple[Rows | None, dict[str, str]]:
    """Open the sampled array of a pool if it is fresh.

    Parameters
    ----------
    state : with the labels that a query would see
    kind : "prob_samples" or "noise_deviations"
    embeddings : full name of the pool's current embeddings

    Returns
    -------
    The rows or None, and notes for the batch: what made them, or why they cannot be used and what to type.
    """
    record = store.settings.get(SAMPLED, {}).get(kind)
    if record is None:
        return None, {}
    again = f"renew with `poolwise sample {store.path} --from {record['source']}`"
    if record["labels"] != labels_digest(store, state):
        return None, {f"stale_{kind}": f"{record['source']}: labels came since; {again}"}
    if record["embeddings"] not in (None, embeddings):
        return None, {f"stale_{kind}": f"{record['source']}: other embeddings are in use now; {again}"}
    if store.arrays.missing_rows(record["array"], store.n_items):
        return None, {f"stale_{kind}": f"{record['source']}: items were added since; {again}"}
    return store.arrays.read(record["array"], store.n_items), {kind: f"{record['source']}, {record['samples']} samples"}


def labels_digest(store: PoolStore, state: PoolState) -> str:
    """Hash the labeled items, their classes and the class names to 16 hexadecimal digits."""
    total = hashlib.sha256("\n".join(store.classes).encode())
    total.update(state.labeled.tobytes())
    total.update(state.labels[state.labeled].tobytes())
    return total.hexdigest()[:16]


def sampler_named(name: str) -> Sampler:
    """Look a sampler up.

    Raises
    ------
    UnknownNameError
    """
    if name not in SAMPLERS:
        raise unknown_name("source of samples", name, SAMPLERS)
    return SAMPLERS[name]


def _of_heads(
    store: PoolStore, state: PoolState, sampler: Sampler, embeddings: Rows, options: Mapping[str, Any]
) -> Rows:
    x = load_rows(embeddings, state.labeled)  # (L, D)
    return sampler.heads.function(x, state.labels[state.labeled], len(store.classes), embeddings, **options)


def _of_network(
    store: PoolStore, state: PoolState, sampler: Sampler, network: Any, inputs: Rows, options: Mapping[str, Any]
) -> Rows:
    if sampler.network is None:
        known = ", ".join(name for name, one in SAMPLERS.items() if one.network)
        raise OptionError(
            f"{sampler.heads.name} samples linear heads, not a network. Leave network out, or use one of {known}."
        )
    rows = sampler.network.function(network, inputs, state.labeled, state.labels[state.labeled], **options)
    if sampler.kind == "prob_samples" and rows.shape[2] != len(store.classes):
        raise ShapeError(
            f"the network has {rows.shape[2]} outputs; pool {store.name!r} has {len(store.classes)} classes: "
            f"{', '.join(store.classes[:5])}. Train it on these classes, in this order."
        )
    return rows


def _digest(rows: Rows) -> str:
    if isinstance(rows, NetworkRows):
        return rows.digest
    assert isinstance(rows, SampledProbs)
    return digest_of({}, {"weights": rows.weights, "biases": rows.biases})


def _write(store: PoolStore, name: str, rows: Rows, producer: Mapping[str, Any]) -> None:
    """Write the rows that are not there, part by part, as float16."""
    step = min(PART_ROWS, max(1, PART_BYTES // (2 * rows.shape[1] * rows.shape[2])))
    missing = store.arrays.missing_rows(name, store.n_items)
    with task(f"sample {store.name}", sum(len(gap) for gap in missing)) as work:
        for gap in missing:
            start = gap.start
            while start < gap.stop:  # parts end at multiples of the step, wherever a stopped call has ended
                stop = min(gap.stop, (start // step + 1) * step)
                block = np.asarray(rows[slice(start, stop)])
                largest = float(np.abs(block).max(initial=0))
                if largest > FLOAT16_MAX:
                    raise InputError(
                        f"{name} rows {start} to {stop - 1} hold {largest:.3g}, beyond the largest float16. Outputs "
                        "with lengths near 0 do this; use output='probs'."
                    )
                # Rounded here on purpose: what float16 cannot hold (below 6e-8) moves no score.
                store.arrays.write_part(name, start, block.astype(np.float16), producer=producer)
                work.advance(stop - start)
                start = stop


def _laplace(
    x: Array, y: IndexArray, n_classes: int, embeddings: Rows, *, samples: int = 16, seed: int = 0
) -> SampledProbs:
    head = fit_linear(x, y, n_classes, seed=seed)
    return laplace_samples(head, x, embeddings, samples=samples, seed=seed)


def _dropout_of(
    network: Any, inputs: Rows, items: IndexArray, labels: IndexArray, *, samples: int = 20, seed: int = 0
) -> NetworkRows:
    return dropout_samples(network, inputs, samples=samples, seed=seed)


def _ensemble_of(
    network: Sequence[Any], inputs: Rows, items: IndexArray, labels: IndexArray, *, samples: int = 0, seed: int = 0
) -> NetworkRows:
    members = list(network)
    if samples not in (0, len(members)):
        raise OptionError(f"samples={samples}, but the ensemble has {len(members)} members. Leave samples out.")
    return ensemble_samples(members, inputs)


def _swag_of(
    network: Any,
    inputs: Rows,
    items: IndexArray,
    labels: IndexArray,
    *,
    samples: int = 20,
    seed: int = 0,
    rank: int = 20,
    epochs: int = 20,
    learning_rate: float = 0.01,
    weight_decay: float = 1e-4,
    scale: float = 1.0,
) -> NetworkRows:
    """Run SWAG on a copy of a network, on the labeled items."""
    own = copy.deepcopy(network)
    moments = collect_moments(
        own,
        inputs,
        items,
        labels,
        seed=seed,
        rank=rank,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    return swag_samples(own, moments, inputs, items, samples=samples, seed=seed, scale=scale)


def _noise_of(
    network: Any,
    inputs: Rows,
    items: IndexArray,
    labels: IndexArray,
    *,
    samples: int = 30,
    seed: int = 0,
    zeta: float = 1e-3,
    scope: Scope = "layer",
    part: str | tuple[str, ...] = "network",
    output: Output = "probs",
    antithetic: bool = False,
    sketch: int | None = None,
) -> NetworkRows:
    return noise_deviations(
        network,
        inputs,
        perturbations=samples,
        seed=seed,
        zeta=zeta,
        scope=scope,
        part=part,
        output=output,
        antithetic=antithetic,
        sketch=sketch,
    )


SAMPLERS: dict[str, Sampler] = {
    "laplace": Sampler("prob_samples", Maker("laplace", _laplace)),
    "bootstrap": Sampler("prob_samples", Maker("bootstrap", fit_bootstrap)),
    "dropout": Sampler("prob_samples", Maker("dropout", fit_dropout), Maker("dropout", _dropout_of)),
    "ensemble": Sampler("prob_samples", Maker("ensemble", fit_ensemble), Maker("ensemble", _ensemble_of)),
    "swag": Sampler("prob_samples", Maker("swag", fit_swag), Maker("swag", _swag_of)),
    "noise": Sampler("noise_deviations", Maker("noise", fit_noise), Maker("noise", _noise_of)),
}
"""All ways to sample models, by name."""
