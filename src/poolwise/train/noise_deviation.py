"""Noise deviations: how far a network's outputs move when its weights get small random noise, measured by running it.

Source: Li, Yang, Gu, Zhan, Wang, Xu & Xu, "Deep Active Learning with Noise Stability", AAAI 2024, arXiv:2205.13340;
per-layer noise of exact relative length as in the authors' code, noise over all weights at once as in Algorithm 1.
Differs from the paper: deviations are divided by zeta too (they keep their size in float16, and picks do not change);
softmax deviations come from logit differences, so that nothing cancels; optionally each deviation is projected to few
numbers by one random matrix, which keeps inner products on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import InputError, OptionError, unknown_name
from poolwise.kernels.blocks import read_rows, softmax_in_place
from poolwise.kernels.deviations import SMALLEST_NORM, moved
from poolwise.models.weights import require
from poolwise.train.heads import Standardized, fit_head, head_settings, standardize
from poolwise.train.networks import (
    BATCH_ROWS,
    NetworkRows,
    finite,
    network_digest,
    precision,
    restoring,
    run_network,
    set_tensors,
    width_of,
)
from poolwise.types import Array, FloatArray, IndexArray, Rows

Scope = Literal["layer", "global"]
Output = Literal["probs", "logits", "features"]

PRECISE = ("torch.float32", "torch.float64")

NOISE_BYTES = 512 * 2**20
"""Noise that is kept in memory; what does not fit is drawn again for every `INPUT_BYTES` of inputs."""


class Noise:
    """K changes of the weights, the same ones whenever they are asked for.

    Parameters
    ----------
    network : whose weights change
    names : of those that do
    count, zeta, scope, seed : see `noise_deviations`
    """

    def __init__(self, network: Any, names: Sequence[str], count: int, zeta: float, scope: Scope, seed: int) -> None:
        there = dict(network.named_parameters())
        self.shapes = {name: tuple(there[name].shape) for name in names}
        self.lengths = {name: float(there[name].detach().double().norm()) for name in names}
        self.count, self.zeta, self.scope, self.seed = count, zeta, scope, seed
        size = 4 * count * sum(int(np.prod(shape)) for shape in self.shapes.values())
        self._kept: dict[int, dict[str, Any]] | None = {} if size <= NOISE_BYTES else None

    def facts(self) -> dict[str, Any]:
        """What the numbers follow from, but the weights."""
        names = ("count", "zeta", "scope", "seed")
        return {name: getattr(self, name) for name in names} | {"weights": list(self.shapes)}

    def of(self, number: int, like: dict[str, Any]) -> dict[str, Any]:
        """Change `number` as tensors beside those of `like`, by name."""
        if self._kept is not None and number in self._kept:
            return self._kept[number]
        torch = require("torch", "noise deviations")
        found = {
            name: torch.tensor(e, dtype=like[name].dtype, device=like[name].device)
            for name, e in self.draw(number).items()
        }
        if self._kept is not None:
            self._kept[number] = found
        return found

    def draw(self, number: int) -> dict[str, FloatArray]:
        """Change `number` in float64: of each weight zeta times its length, or of all together."""
        drawn = {
            name: rng_for(self.seed, "noise", number, place).standard_normal(shape)
            for place, (name, shape) in enumerate(self.shapes.items())
        }
        sizes = {name: float(np.sqrt(np.square(e).sum())) for name, e in drawn.items()}
        if self.scope == "layer":
            return {name: e * (self.zeta * self.lengths[name] / sizes[name]) for name, e in drawn.items()}
        whole = float(np.sqrt(sum(length**2 for length in self.lengths.values())))
        drawn_size = float(np.sqrt(sum(size**2 for size in sizes.values())))
        return {name: e * (self.zeta * whole / drawn_size) for name, e in drawn.items()}


def noise_deviations(
    network: Any,
    inputs: Rows,
    *,
    perturbations: int = 30,
    zeta: float = 1e-3,
    scope: Scope = "layer",
    part: str | Sequence[str] = "network",
    output: Output = "probs",
    antithetic: bool = False,
    sketch: int | None = None,
    seed: int = 0,
    batch_rows: int = BATCH_ROWS,
) -> NetworkRows:
    """Measure how a network's outputs move under random changes of its weights.

    Parameters
    ----------
    network : torch module in float32 or float64; (n, ...) to (n, C) logits. It runs in evaluation mode, and every bit
        of it is restored after each reading
    inputs : (N, ...) rows that it gets
    perturbations : K >= 1 changes, the same for all items
    zeta : size of a change relative to the weights, > 0
    scope : "layer" changes every parameter called `weight` by zeta times its own length; "global" all parameters
        together, by zeta times the length of them all
    part : "network", "last_block" (see `last_block`), or names of modules: where weights are changed
    output : what moves: "probs" (softmax), "logits", or "features", the input of the last Linear (for regression)
    antithetic : half the difference of +noise and -noise, which cancels the second order; twice the cost
    sketch : project each deviation to so many numbers; default all Q = C (or features)
    seed : of noise and projections
    batch_rows : rows of one forward pass

    Returns
    -------
    Rows (N, K, Q) for `pw.select("noise_stability_network", noise_deviations=...)`.

    Raises
    ------
    OptionError, UnknownNameError
        If K is below 1, zeta not above 0, `part` names no module, or nothing in it has a length to be changed by.
    InputError
        On reading: if an output is not finite, or moves although its length is 0; the item is named.

    Notes
    -----
    K + 1 passes over the pool (2 K + 1 with `antithetic`), whatever `part`. A weight of length 0 stays as it is.
    """
    if perturbations < 1:
        raise OptionError(f"perturbations must be at least 1; got {perturbations}. Try 30.")
    if not zeta > 0:
        raise OptionError(f"zeta must be above 0; got {zeta}. Without noise nothing moves; try 1e-3.")
    if sketch is not None and sketch < 1:
        raise OptionError(f"sketch must be at least 1; got {sketch}. Leave it out to keep all numbers.")
    names = _changed(network, scope, part)
    noise = Noise(network, names, perturbations, zeta, scope, seed)
    if not any(noise.lengths.values()):
        raise OptionError(
            f"all weights of part={part!r} are 0, so noise relative to them is none. Choose another part."
        )
    with _giving(network, output):
        full = width_of(network, inputs)
    width = full if sketch is None else sketch

    def fill(items: IndexArray, out: Array) -> None:
        x = read_rows(inputs, items, precision(network))
        with restoring(network) as saved, _giving(network, output):
            clean = finite(run_network(network, x, batch_rows), items)  # (n, q)
            p = softmax_in_place(clean.copy()) if output == "probs" else clean
            length = np.sqrt(np.square(p).sum(axis=1))  # (n,)

            def movement(number: int, sign: int) -> FloatArray:
                set_tensors(network, {name: saved[name] + sign * e for name, e in noise.of(number, saved).items()})
                change = finite(run_network(network, x, batch_rows), items) - clean
                return moved(p, change[:, None, :])[:, 0] if output == "probs" else change

            for number in range(perturbations):
                d = movement(number, 1)
                d = (d - movement(number, -1)) / 2 if antithetic else d
                _refuse_zero(length, d, items, output)
                d = d / (np.where(length > 0, length, 1) * zeta)[:, None]
                out[:, number] = d if sketch is None else d @ _sketch(seed, number, full, width)

    facts = {"producer": "noise", "output": output, "sketch": sketch, "antithetic": antithetic, **noise.facts()}
    return NetworkRows(inputs, perturbations, width, network_digest(facts, network), fill)


def _sketch(seed: int, number: int, full: int, width: int) -> FloatArray:
    """Projection of deviation `number`, (q, width); it keeps squared lengths on average."""
    return rng_for(seed, "sketch", number).standard_normal((full, width)) / float(np.sqrt(width))


def fit_noise(
    x: Array,
    y: IndexArray,
    n_classes: int,
    embeddings: Rows,
    *,
    samples: int = 30,
    seed: int = 0,
    zeta: float = 1e-3,
    scope: Scope = "layer",
    part: str = "network",
    antithetic: bool = False,
    sketch: int | None = None,
    hidden: int = 128,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> NetworkRows:
    """Fit a small head on labeled embeddings, and give its (N, K, C) deviations over the pool.

    Parameters
    ----------
    x, y, n_classes : (L, D) labeled rows, their (L,) classes, C
    embeddings : (N, D) rows of the pool
    samples : K perturbations
    seed : of the fit and the noise
    zeta, scope, part, antithetic, sketch : as for `noise_deviations`
    hidden, epochs, learning_rate, weight_decay : of the head, see `heads.HeadSettings`
    """
    data = standardize(x, y, n_classes)
    head = fit_head(data, head_settings(hidden, 0.0, epochs, learning_rate, weight_decay), seed=seed)
    return noise_deviations(
        head,
        Standardized(embeddings, data.mean, data.scale),
        perturbations=samples,
        zeta=zeta,
        scope=scope,
        part=part,
        antithetic=antithetic,
        sketch=sketch,
        seed=seed,
    )


def last_block(network: Any) -> str:
    """Name the last block of a network.

    That is its last child with two or more weighted modules; where this child only holds others (a sequence, a list,
    a wrapper) the last block of it; and where there is no such child, the last weighted one.

    For a ResNet that is the last residual block, for a transformer the last encoder layer, for a plain sequence of
    layers the last of them.
    """
    nn = require("torch", "noise deviations").nn
    children = [(name, child) for name, child in network.named_children() if _n_weighted(child)]
    if not children:
        raise OptionError(f"{type(network).__name__} has no submodule with weights; use part='network'.")
    blocks = [(name, child) for name, child in children if _n_weighted(child) >= 2]
    name, block = (blocks or children)[-1]
    mere = isinstance(block, nn.Sequential | nn.ModuleList) or sum(map(bool, map(_n_weighted, block.children()))) == 1
    descend = mere or len(children) == 1
    return f"{name}.{last_block(block)}" if blocks and descend else name


def _n_weighted(module: Any) -> int:
    return sum("weight" in dict(inner.named_parameters(recurse=False)) for inner in module.modules())


def _changed(network: Any, scope: Scope, part: str | Sequence[str]) -> list[str]:
    """Names of the parameters that get noise."""
    if isinstance(part, str):
        prefixes = [""] if part == "network" else [last_block(network) if part == "last_block" else part]
    else:
        prefixes = list(part)
    modules = dict(network.named_modules())
    for name in prefixes:
        if name not in modules:
            raise unknown_name("module", name, ["network", "last_block", *(key for key in modules if key)])
    inside = [
        name
        for name, weight in network.named_parameters()
        if any(prefix == "" or name.startswith(prefix + ".") for prefix in prefixes)
        and (scope == "global" or name.rpartition(".")[2] == "weight")
    ]
    if not inside:
        raise OptionError(f"part={part!r} has no weights to change. Use part='network'.")
    narrow = [name for name in inside if str(dict(network.named_parameters())[name].dtype) not in PRECISE]
    if narrow:
        raise OptionError(
            f"weight {narrow[0]!r} is {dict(network.named_parameters())[narrow[0]].dtype}, in which noise of a "
            "thousandth is lost; expected float32 or float64. Pass network.float()."
        )
    return inside


@contextmanager
def _giving(network: Any, output: Output) -> Iterator[None]:
    """With "features" let the network return the input of its last Linear instead of its logits."""
    nn = require("torch", "noise deviations").nn
    if output != "features":
        yield
        return
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise OptionError(f"{type(network).__name__} has no Linear layer whose input could be the features; use probs.")
    caught: list[Any] = []

    def catch(module: Any, inputs: tuple[Any, ...]) -> None:
        caught[:] = inputs[:1]

    def give(module: Any, inputs: tuple[Any, ...], logits: Any) -> Any:
        if not caught:
            raise InputError("the last Linear layer is not called, so its input is unknown; use output='probs'.")
        return caught.pop()

    handles = [linear[-1].register_forward_pre_hook(catch), network.register_forward_hook(give)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _refuse_zero(length: FloatArray, moved: FloatArray, items: IndexArray, output: Output) -> None:
    """An output of length 0 that stays 0 has not moved; one that leaves 0 has no relative movement."""
    wrong = items[(length <= SMALLEST_NORM) & moved.any(axis=1)]
    if len(wrong):
        raise InputError(
            f"the {output} of item {wrong[0]} have length 0 without noise, so their relative movement is not defined "
            f"({len(wrong)} of {len(items)} items). Use output='probs', whose length is never 0."
        )
