"""Monte-Carlo dropout: probabilities of a network under masks of its dropout layers, and of nothing else.

Source: Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; masks shared by all items as in Kirsch, van
Amersfoort & Gal, "BatchBALD", NeurIPS 2019, section 3.2 ("consistent" dropout).
Differs from the papers: the network stays in evaluation mode and masks are put on the outputs of its dropout layers by
hooks, so batch normalisation is never random. (Code that calls `network.train()` to get dropout gets batch statistics
instead; where a network has no dropout layer that is all it gets, and we refuse.) Masks follow from the seed, the
sample and the layer, not from the rows that happen to be read together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import InputError, ShapeError
from poolwise.models.weights import require
from poolwise.train.heads import Standardized, fit_head, head_settings, standardize
from poolwise.train.networks import BATCH_ROWS, NetworkRows, evaluating, network_digest, sampled_probs, width_of
from poolwise.types import Array, IndexArray, Rows

WHOLE_CHANNELS = ("Dropout1d", "Dropout2d", "Dropout3d")
"""Layers that drop channels, which are axis 1 of their input."""


def dropout_samples(
    network: Any, inputs: Rows, *, samples: int = 20, seed: int = 0, batch_rows: int = BATCH_ROWS
) -> NetworkRows:
    """Give the (N, S, C) probabilities of a pool under S masks of a trained network's dropout layers.

    Parameters
    ----------
    network : torch module with dropout layers (Dropout, Dropout1d, Dropout2d, Dropout3d); (n, ...) to (n, C) logits.
        Dropout that is written as a function call inside `forward` is not seen
    inputs : (N, ...) rows that it gets: embeddings, images, ...
    samples : S >= 1
    seed : of the masks
    batch_rows : rows of one forward pass

    Returns
    -------
    Rows for `pw.select(..., prob_samples=...)`, computed when they are read; sample s is the same masks for every row.

    Raises
    ------
    InputError
        If no dropout layer has a rate above 0, or one is of another kind; on reading, if none of them is called.
    """
    layers = dropout_layers(network)

    def variations() -> Generator[Any, None, None]:
        with evaluating(network):
            for sample in range(samples):
                with _masks(network, layers, seed, sample):
                    yield network

    facts = {"producer": "dropout", "samples": samples, "seed": seed}
    digest = network_digest(facts, network)
    return sampled_probs(inputs, variations, samples, width_of(network, inputs), digest, batch_rows)


def fit_dropout(
    x: Array,
    y: IndexArray,
    n_classes: int,
    embeddings: Rows,
    *,
    samples: int = 20,
    seed: int = 0,
    hidden: int = 128,
    dropout: float = 0.2,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> NetworkRows:
    """Fit a small head with dropout on labeled embeddings, and give its (N, S, C) probabilities of the pool.

    Parameters
    ----------
    x, y, n_classes : (L, D) labeled rows, their (L,) classes, C
    embeddings : (N, D) rows of the pool
    samples, seed : as for `dropout_samples`; the seed is also that of the fit
    hidden, dropout, epochs, learning_rate, weight_decay : of the head, see `heads.HeadSettings`
    """
    data = standardize(x, y, n_classes)
    head = fit_head(data, head_settings(hidden, dropout, epochs, learning_rate, weight_decay), seed=seed)
    return dropout_samples(head, Standardized(embeddings, data.mean, data.scale), samples=samples, seed=seed)


def dropout_layers(network: Any) -> dict[str, Any]:
    """List the dropout layers with a rate above 0 by name.

    Raises
    ------
    InputError
        If there is none, or one of a kind whose masks are not drawn here (AlphaDropout).
    """
    nn = require("torch", "Monte-Carlo dropout").nn
    known = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    base = nn.modules.dropout._DropoutNd
    found = {name: module for name, module in network.named_modules() if isinstance(module, base) and module.p > 0}
    strange = [f"{name} ({type(module).__name__})" for name, module in found.items() if not isinstance(module, known)]
    if strange:
        raise InputError(
            f"layer {strange[0]} is no dropout whose masks are known; expected Dropout, Dropout1d, Dropout2d or "
            "Dropout3d. Use one of these, or `deep ensembles` (train/ensembles.py)."
        )
    if not found:
        raise InputError(
            f"{type(network).__name__} has no dropout layer with a rate above 0, so all its samples would be equal. "
            "Add torch.nn.Dropout layers and train it with them, or use an ensemble, SWAG or Laplace samples."
        )
    return found


@contextmanager
def _masks(network: Any, layers: dict[str, Any], seed: int, sample: int) -> Iterator[None]:
    """Let the dropout layers apply the masks of one sample while the network is in evaluation mode."""
    calls: dict[str, int] = {}
    drawn: dict[tuple[str, int], Any] = {}
    n_rows = [0]

    def begin(module: Any, inputs: tuple[Any, ...]) -> None:
        calls.clear()
        n_rows[0] = len(inputs[0])

    def hook(name: str, number: int) -> Any:
        def apply(module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
            call = calls[name] = calls.get(name, -1) + 1
            if len(output) != n_rows[0]:
                raise ShapeError(
                    f"dropout layer {name!r} got {tuple(output.shape)} for {n_rows[0]} items; expected items along "
                    "the first axis, as masks are drawn per item. Reshape before it, or set its rate to 0."
                )
            mask = drawn.get((name, call))
            shape = tuple(output.shape[1:])
            if mask is None or tuple(mask.shape) != shape:
                rng = rng_for(seed, "dropout", sample, number, call)
                mask = drawn[name, call] = _draw(rng, module, shape, output)
            return output * mask

        return apply

    handles = [network.register_forward_pre_hook(begin)]
    handles += [module.register_forward_hook(hook(name, k)) for k, (name, module) in enumerate(layers.items())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not drawn:
        raise InputError(
            f"no dropout layer of {type(network).__name__} is called in its forward pass ({', '.join(layers)}), so all "
            "samples would be equal. Call the layers themselves, not torch.nn.functional or a fused path."
        )


def _draw(rng: np.random.Generator, module: Any, shape: tuple[int, ...], like: Any) -> Any:
    """Draw a mask of one item: 0 with probability p, else 1 / (1 - p); longer sequences extend shorter ones."""
    torch = require("torch", "Monte-Carlo dropout")
    dropped = (shape[0], *(1 for _ in shape[1:])) if type(module).__name__ in WHOLE_CHANNELS else shape
    keep = rng.random(dropped) >= module.p
    scale = 1 / (1 - module.p) if module.p < 1 else 0.0
    return torch.tensor(np.broadcast_to(keep * scale, shape).copy(), device=like.device, dtype=like.dtype)
