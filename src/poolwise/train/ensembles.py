"""Ensembles: probabilities of S models that were fitted independently.

Source: Lakshminarayanan, Pritzel & Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles", NeurIPS 2017 (other first weights and another order of the rows for each member, all rows for all).
Bootstrap heads: Rubin, "The Bayesian Bootstrap", Annals of Statistics 1981; Newton & Raftery, "Approximate Bayesian
inference with the weighted likelihood bootstrap", JRSS B 1994.
Differs from the papers: no adversarial training. The bootstrap weighs labeled rows by exponential numbers instead of
drawing them, so that no class disappears where it has one or two labels.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from poolwise.chance import rng_for
from poolwise.errors import OptionError
from poolwise.kernels.posterior import SampledProbs
from poolwise.progress import task
from poolwise.train.heads import Standardized, fit_head, head_settings, standardize
from poolwise.train.linear_probe import bootstrap_heads
from poolwise.train.networks import (
    BATCH_ROWS,
    NetworkRows,
    TrainSettings,
    evaluating,
    fit_network,
    network_digest,
    sampled_probs,
    seeded,
    width_of,
)
from poolwise.types import Array, IndexArray, Rows


def ensemble_samples(members: Sequence[Any], inputs: Rows, *, batch_rows: int = BATCH_ROWS) -> NetworkRows:
    """Give the (N, S, C) probabilities of a pool under S trained networks.

    Parameters
    ----------
    members : S torch modules; (n, ...) to (n, C) logits
    inputs : (N, ...) rows that they get
    batch_rows : rows of one forward pass

    Returns
    -------
    Rows for `pw.select(..., prob_samples=...)`, computed when they are read; sample s is member s.

    Raises
    ------
    OptionError
        If there are fewer than two members.
    """
    if len(members) < 2:
        raise OptionError(f"an ensemble needs at least 2 members; got {len(members)}. Ask for samples=5.")

    def variations() -> Generator[Any, None, None]:
        with evaluating(*members):
            yield from members

    digest = network_digest({"producer": "ensemble"}, *members)
    return sampled_probs(inputs, variations, len(members), width_of(members[0], inputs), digest, batch_rows)


def fit_members(
    make: Callable[[], Any],
    inputs: Rows,
    items: IndexArray,
    labels: IndexArray,
    *,
    size: int = 5,
    seed: int = 0,
    settings: TrainSettings | None = None,
) -> list[Any]:
    """Train the members of a deep ensemble of any network; the same seed gives the same members.

    Parameters
    ----------
    make : builds an untrained network, with first weights from torch's random state, which is set for each member
    inputs, items, labels, settings : see `fit_network`
    size : S
    """
    members = []
    with task("members", size) as work:
        for number in range(size):
            own = int(rng_for(seed, "member", number).integers(2**62))
            with seeded(own):
                network = make()
            fit_network(network, inputs, items, labels, seed=own, settings=settings)
            members.append(network.eval())
            work.advance()
    return members


def fit_ensemble(
    x: Array,
    y: IndexArray,
    n_classes: int,
    embeddings: Rows,
    *,
    samples: int = 10,
    seed: int = 0,
    hidden: int = 128,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> NetworkRows:
    """Fit S small heads from different first weights, and give their (N, S, C) probabilities of the pool.

    Parameters
    ----------
    x, y, n_classes : (L, D) labeled rows, their (L,) classes, C
    embeddings : (N, D) rows of the pool
    samples : S >= 2 members
    seed : of first weights and order of the rows
    hidden, epochs, learning_rate, weight_decay : of the heads, see `heads.HeadSettings`
    """
    data = standardize(x, y, n_classes)
    settings = head_settings(hidden, 0.0, epochs, learning_rate, weight_decay)
    seeds = [int(rng_for(seed, "member", number).integers(2**62)) for number in range(samples)]
    with task("members", samples) as work:
        members = []
        for own in seeds:
            members.append(fit_head(data, settings, seed=own))
            work.advance()
    return ensemble_samples(members, Standardized(embeddings, data.mean, data.scale))


def fit_bootstrap(
    x: Array, y: IndexArray, n_classes: int, embeddings: Rows, *, samples: int = 20, seed: int = 0
) -> SampledProbs:
    """Fit S linear heads on reweighted labeled rows (Bayesian bootstrap), and give their probabilities of the pool.

    Needs no torch, and takes little longer than one linear probe.

    Parameters
    ----------
    x, y, n_classes : (L, D) labeled rows, their (L,) classes, C
    embeddings : (N, D) rows of the pool
    samples : S >= 1 heads
    seed : of the weights of the rows

    Returns
    -------
    Rows (N, S, C) for `pw.select(..., prob_samples=...)`, computed when they are read.
    """
    weights, biases = bootstrap_heads(x, y, n_classes, count=samples, seed=seed)
    return SampledProbs(embeddings, weights, biases)
