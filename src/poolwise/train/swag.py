"""SWAG: a Gaussian over the weights that SGD visits at the end of training, and networks drawn from it.

Source: Maddox, Garipov, Izmailov, Vetrov & Wilson, "A Simple Baseline for Bayesian Uncertainty in Deep Learning",
NeurIPS 2019, Algorithm 1: with the mean m, the mean of squares and the last K deviations D of the iterates,

    theta = m + diag^(1/2) z1 / sqrt(2) + D z2 / sqrt(2 (K - 1)),    diag = mean of squares - m^2,

and batch-norm statistics computed again on the labeled rows for every theta (its section 3.4).
Differs from the paper: weights that are not trained (requires_grad False) are not drawn; moments are kept in float64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.chance import rng_for
from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.kernels.blocks import read_rows
from poolwise.models.backbone import digest_of
from poolwise.models.weights import require
from poolwise.train.heads import Standardized, fit_head, head_settings, standardize
from poolwise.train.networks import (
    BATCH_ROWS,
    NetworkRows,
    TrainSettings,
    as_tensor,
    evaluating,
    fit_network,
    network_digest,
    precision,
    restoring,
    sampled_probs,
    set_tensors,
    tensors_of,
    width_of,
)
from poolwise.types import Array, FloatArray, IndexArray, Rows


class Moments:
    """Running moments of the weights of a network: call `collect` once per epoch of SGD.

    Parameters
    ----------
    rank : K, the newest deviations that are kept, at least 2

    Attributes
    ----------
    count : iterates so far
    mean, square : (P,) float64, means of the weights and of their squares
    deviations : at most K vectors (P,) float32, each an iterate minus the mean at its time
    """

    def __init__(self, rank: int = 20) -> None:
        if rank < 2:
            raise OptionError(f"rank must be at least 2, as deviations are divided by rank - 1; got {rank}. Try 20.")
        self.count = 0
        self.mean: FloatArray = np.empty(0)
        self.square: FloatArray = np.empty(0)
        self.deviations: deque[FloatArray] = deque(maxlen=rank)

    def collect(self, network: Any) -> None:
        """Take the present weights of a network as one more iterate."""
        theta = weights_of(network)
        if self.count == 0:
            self.mean, self.square = np.zeros(len(theta)), np.zeros(len(theta))
        if len(theta) != len(self.mean):
            raise ShapeError(f"the network has {len(theta)} weights; earlier iterates had {len(self.mean)}.")
        self.count += 1
        self.mean += (theta - self.mean) / self.count
        self.square += (np.square(theta) - self.square) / self.count
        self.deviations.append((theta - self.mean).astype(np.float32))

    @property
    def variance(self) -> FloatArray:
        """(P,) diagonal of the iterates' covariance, at least 0."""
        return np.asarray(np.maximum(self.square - np.square(self.mean), 0))

    def draw(self, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw weights (P,) from the Gaussian; `scale` multiplies its covariance (1: as in the paper)."""
        if len(self.deviations) < 2:
            raise InputError(
                f"SWAG has seen {self.count} iterate(s); expected at least 2. Call collect(network) after more epochs."
            )
        theta = np.sqrt(self.variance) * rng.standard_normal(len(self.mean)) / np.sqrt(2)
        for deviation in self.deviations:
            theta += deviation * (rng.standard_normal() / np.sqrt(2 * (len(self.deviations) - 1)))
        return np.asarray(self.mean + np.sqrt(scale) * theta)


def weights_of(network: Any) -> NDArray[np.float64]:
    """All trained weights of a network as one vector (P,), in the order of its parameters."""
    parts = [w.detach().cpu().double().numpy().ravel() for _, w in _trained(network)]
    return np.concatenate(parts)


def swag_samples(
    network: Any,
    moments: Moments,
    inputs: Rows,
    items: IndexArray,
    *,
    samples: int = 20,
    seed: int = 0,
    scale: float = 1.0,
    batch_rows: int = BATCH_ROWS,
) -> NetworkRows:
    """Give the (N, S, C) probabilities of a pool under S networks drawn by SWAG.

    Parameters
    ----------
    network : torch module of the shape that `moments` saw; (n, ...) to (n, C) logits. It is left as it is
    moments : of its weights
    inputs : (N, ...) rows that it gets
    items : (L,) row numbers of the labeled rows, for batch-norm statistics; read only where there are such layers
    samples : S >= 1
    seed : of the drawn weights
    scale : multiplies the covariance, >= 0
    batch_rows : rows of one forward pass

    Returns
    -------
    Rows for `pw.select(..., prob_samples=...)`, computed when they are read; sample s is one network for every row.

    Raises
    ------
    OptionError, InputError
        If `scale` is below 0, fewer than two iterates were collected, or statistics need rows and there are none.

    Notes
    -----
    Memory: S copies of the weights.
    """
    if not scale >= 0:
        raise OptionError(f"scale must be at least 0; got {scale}. Use 1 for the paper's covariance.")
    if len(moments.mean) != len(weights_of(network)):
        raise ShapeError(
            f"the network has {len(weights_of(network))} trained weights; moments are of {len(moments.mean)}."
        )
    draws: list[dict[str, Any]] = []
    with restoring(network):
        for sample in range(samples):
            _assign(network, moments.draw(scale, rng_for(seed, "swag", sample)))
            recompute_statistics(network, inputs, items, batch_rows)
            draws.append({name: tensor.detach().clone() for name, tensor in tensors_of(network).items()})

    def variations() -> Generator[Any, None, None]:
        with restoring(network):
            for values in draws:
                set_tensors(network, values)
                yield network

    facts = {"producer": "swag", "samples": samples, "seed": seed, "scale": scale, "rows": network_digest({}, network)}
    arrays = {"mean": moments.mean, "square": moments.square, "deviations": np.stack(list(moments.deviations))}
    return sampled_probs(inputs, variations, samples, width_of(network, inputs), digest_of(facts, arrays), batch_rows)


def collect_moments(
    network: Any,
    inputs: Rows,
    items: IndexArray,
    labels: IndexArray,
    *,
    seed: int = 0,
    rank: int = 20,
    epochs: int = 30,
    learning_rate: float = 0.05,
    weight_decay: float = 1e-4,
    train_batch_size: int = 64,
) -> Moments:
    """Go on training a fitted network by SGD at a constant learning rate, and collect its weights after every epoch.

    Parameters
    ----------
    network : fitted; it is changed in place, and ends at the last iterate
    inputs, items, labels : see `fit_network`
    rank : deviations kept
    epochs : iterates, at least 2
    learning_rate, weight_decay, train_batch_size : of SGD with momentum 0.9
    """
    if epochs < 2:
        raise OptionError(f"SWAG needs at least 2 epochs to see weights move; got {epochs}. Try 30.")
    moments = Moments(rank)
    settings = TrainSettings(epochs, epochs, train_batch_size, learning_rate, weight_decay, "sgd")
    fit_network(
        network, inputs, items, labels, seed=seed, settings=settings, after_epoch=lambda: moments.collect(network)
    )
    return moments


def fit_swag(
    x: Array,
    y: IndexArray,
    n_classes: int,
    embeddings: Rows,
    *,
    samples: int = 20,
    seed: int = 0,
    hidden: int = 0,
    rank: int = 20,
    swag_epochs: int = 30,
    swag_learning_rate: float = 0.3,
    scale: float = 1.0,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> NetworkRows:
    """Fit a small head on labeled embeddings, run SWAG from there, and give (N, S, C) probabilities of the pool.

    Parameters
    ----------
    x, y, n_classes : (L, D) labeled rows, their (L,) classes, C
    embeddings : (N, D) rows of the pool
    samples, seed, scale : as for `swag_samples`
    rank, swag_epochs, swag_learning_rate : of `collect_moments`
    hidden : 0 for a linear head. A wide head fits few labels without any loss, and SGD then stands still
    epochs, learning_rate, weight_decay : of the head, see `heads.HeadSettings`
    """
    data = standardize(x, y, n_classes)
    head = fit_head(data, head_settings(hidden, 0.0, epochs, learning_rate, weight_decay), seed=seed)
    items = np.arange(len(data.labels))
    moments = collect_moments(
        head,
        data.rows,
        items,
        data.labels,
        seed=seed,
        rank=rank,
        epochs=swag_epochs,
        learning_rate=swag_learning_rate,
    )
    inputs = Standardized(embeddings, data.mean, data.scale)
    return swag_samples(head, moments, inputs, items[:0], samples=samples, seed=seed, scale=scale)


def recompute_statistics(network: Any, inputs: Rows, items: IndexArray, batch_rows: int = BATCH_ROWS) -> None:
    """Set the batch-norm statistics of a network to the mean over one pass of the given rows; weights stay.

    Raises
    ------
    InputError
        If there are batch-norm layers and fewer than two rows.
    """
    torch = require("torch", "SWAG")
    base = torch.nn.modules.batchnorm._BatchNorm
    layers = [module for module in network.modules() if isinstance(module, base) and module.track_running_stats]
    if not layers:
        return
    if len(items) < 2:
        raise InputError(
            f"the network has {len(layers)} batch-norm layers, whose statistics are computed again from labeled rows; "
            f"got {len(items)} rows, expected at least 2. Pass items=indices."
        )
    momenta = [layer.momentum for layer in layers]
    with evaluating(network), torch.no_grad():
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over batches
            layer.train()
        try:
            for pos in np.array_split(items, -(-len(items) // batch_rows)):
                network(as_tensor(network, read_rows(inputs, pos, precision(network))))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum


def _trained(network: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]


def _assign(network: Any, theta: NDArray[np.float64]) -> None:
    """Write a vector (P,) into the trained weights."""
    torch = require("torch", "SWAG")
    start, values = 0, {}
    for name, weight in _trained(network):
        stop = start + weight.numel()
        values[name] = torch.tensor(theta[start:stop].reshape(tuple(weight.shape)))
        start = stop
    set_tensors(network, values)
