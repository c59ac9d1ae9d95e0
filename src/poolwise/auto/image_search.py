"""AutoAL on pictures: SearchNet and FitNet are image networks that learn in turn, as the paper describes.

Source: Wang et al., "AutoAL: Automated Active Learning with Differentiable Query Strategy Search", ICML 2025, section 3
(two halves of the labeled items; FitNet alone, then SearchNet, its loss-prediction module and FitNet in turn; items of
high loss should get high scores).
Differs from the paper: gates sum to the quota exactly (`relaxed_top`) in place of a mixture model and a count penalty;
candidates nominate once, by FitNet's features of items that it was not fitted on; items are joined by number; the
loss-prediction module acts through the layers that it shares with SearchNet; small convolutional networks with group
normalisation, from random weights, in place of ResNet-18. On cached embeddings use the strategy `autoal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from poolwise.auto.clock import Clock
from poolwise.auto.diversity import diverse_batch, top_batch
from poolwise.auto.nominations import CANDIDATES, Nominations, Situation, nominate, situation
from poolwise.auto.rehearsal import LEAST_ROWS, QUOTA, columns
from poolwise.auto.relaxed_top import relaxed_top
from poolwise.auto.search import COLD, HOT, Trial, aim_at, compared
from poolwise.chance import rng_for
from poolwise.errors import BudgetError, InputError, OptionError, ShapeError
from poolwise.models.weights import pick_device, require
from poolwise.train.image_nets import ImageNets, Pictures, head_of, ranking_loss, step
from poolwise.types import Array, FloatArray, IndexArray, Selection


@dataclass(frozen=True, slots=True)
class ImageSearch:
    """How the networks look and learn.

    width : channels of the first of three stages, a multiple of 4; each later one has twice as many at half the size
    fit_steps : gradient steps of FitNet alone, and of the network that nominates, at least 1
    steps : gradient steps in turn, at least 3; 0 learns no weights: all candidates count alike, on the same nominations
    train_batch_size : pictures of a step, at least 4
    fit_rate, search_rate : learning rates of FitNet (Adam) and SearchNet (SGD, falling with the temperature of the
        gates); the paper has 0.005 for both
    loss_module : whether SearchNet also learns to predict FitNet's losses
    diverse : cover the nominated items, weighted by their scores, in place of the best scores alone
    device : "auto", "cpu", "cuda", ...
    """

    width: int = 16
    fit_steps: int = 200
    steps: int = 400
    train_batch_size: int = 128
    fit_rate: float = 0.005
    search_rate: float = 0.005
    loss_module: bool = True
    diverse: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("width", 4), ("fit_steps", 1), ("train_batch_size", 4)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if self.width % 4:
            raise OptionError(f"width must be a multiple of 4 (groups of channels); got {self.width}.")
        if self.steps != 0 and self.steps < 3:
            raise OptionError(f"steps must be at least 3, or 0 for equal weights; got {self.steps}.")
        if not (self.fit_rate > 0 and self.search_rate > 0):
            raise OptionError(f"learning rates must be above 0; got {self.fit_rate} and {self.search_rate}.")


def autoal_images(
    images: Array,
    labeled: IndexArray,
    labels: IndexArray,
    unlabeled: IndexArray | None = None,
    *,
    batch_size: int,
    seed: int = 0,
    candidates: Sequence[str] = CANDIDATES,
    settings: ImageSearch | None = None,
) -> Selection:
    """Learn on labeled pictures whom to trust for which picture, and let the candidates choose with these weights.

    Parameters
    ----------
    images : (N, H, W) or (N, H, W, 3) uint8
    labeled : (L,) int64 pool indices, at least 12
    labels : (L,) their classes, >= 0, of at least two kinds
    unlabeled : (U,) pool indices; default all others
    batch_size : B, 1 <= B <= U
    seed : of all weights and draws
    candidates : any strategies but those that choose among strategies
    settings : see ImageSearch

    Returns
    -------
    Selection; notes hold the mean weights, FitNet's accuracy on the half it was not fitted on, what the weights are
    worth there against equal ones, and the seconds. `PoolStore.ask` records it in a pool.

    Raises
    ------
    InputError, ShapeError, BudgetError, OptionError
        If something does not fit, or there is too little to learn from.

    Notes
    -----
    Each candidate runs once on the pool and once on half of the labeled items, on the features of a network that is
    fitted to the labels (`classify` tells its probabilities). On the same device with the same seed the batch is the
    same. Measured on one core: see benchmarks/results/autoal-images.md.
    """
    how = ImageSearch() if settings is None else settings
    labeled, labels = np.asarray(labeled, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(images)), labeled) if unlabeled is None else np.unique(unlabeled)
    present, y = _check(images, labeled, labels, rest)
    if not 1 <= batch_size <= len(rest):
        raise BudgetError(f"batch_size must be between 1 and {len(rest)} (unlabeled items); got {batch_size}.")
    torch = require("torch", "AutoAL on pictures")
    clock = Clock()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        nets = _nets(torch, images, labeled, how)
        task_net = _task_net(nets, how, labeled, y, len(present), seed)
        now = _whole(nets, task_net, labeled, y, rest)
        clock.lap("training")
        rng = rng_for(seed, "autoal on pictures")
        found = nominate(now, candidates, batch_size, int(rng.integers(2**62)))
        clock.lap("scoring")
        trust, facts = np.full(found.grades.shape, 1 / len(found.names)), {"search": "equal weights"}
        if how.steps and len(found.names) > 1:
            torch.manual_seed(int(rng.integers(2**62)))
            trust, facts = _learned(nets, how, found, labeled, y, len(present), rng)
    clock.lap("search")
    scores = (found.grades * trust).sum(axis=1)
    if how.diverse:
        spread = rng_for(seed, "spread over pictures")
        chosen, gains = diverse_batch(now.arrays["embeddings"], found.rows, scores, labeled, batch_size, spread)
    else:
        chosen, gains = top_batch(found.rows, scores, batch_size)
    clock.lap("choice")
    return Selection(
        indices=chosen,
        scores=gains.astype(np.float32),
        strategy="autoal_images",
        options={**asdict(how), "candidates": tuple(candidates)},
        seed=seed,
        seconds=sum(clock.laps.values()),
        components={"votes": (found.at(chosen) > 0).sum(axis=1)},
        notes={
            "trust": {name: round(float(w), 4) for name, w in zip(found.names, trust.mean(axis=0), strict=True)},
            **facts,
            **found.notes(),
            "nominated": len(found.rows),
            **clock.laps,
        },
    )


def classify(
    images: Array,
    labeled: IndexArray,
    labels: IndexArray,
    items: IndexArray,
    *,
    seed: int = 0,
    settings: ImageSearch | None = None,
) -> FloatArray:
    """Fit the network that nominates for `autoal_images` on labeled pictures, and tell its probabilities for others.

    Parameters
    ----------
    images, labeled, labels : as `autoal_images`
    items : (n,) pool indices
    seed, settings : as `autoal_images`; the same ones give the same network

    Returns
    -------
    (n, C) float64, rows sum to 1, C = largest label + 1; 0 for classes without labels.

    Raises
    ------
    InputError, ShapeError
        If something does not fit, or there is too little to learn from.
    """
    how = ImageSearch() if settings is None else settings
    labeled, labels = np.asarray(labeled, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    present, y = _check(images, labeled, labels, labeled[:0])
    torch = require("torch", "a network on pictures")
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        nets = _nets(torch, images, labeled, how)
        net = _task_net(nets, how, labeled, y, len(present), seed)
        z = nets.look(net, np.asarray(items, dtype=np.int64))[1] if len(items) else np.empty((0, len(present)))
    out = np.zeros((len(items), int(present[-1]) + 1))
    out[:, present] = softmax(z.astype(np.float64), axis=1)
    return out


def _check(images: Array, labeled: IndexArray, labels: IndexArray, rest: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Refuse what does not fit; the classes that have labels, and labels numbered within them."""
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)) or images.dtype != np.uint8:
        raise ShapeError(
            f"images have shape {images.shape} and type {images.dtype}; expected (N, H, W) or (N, H, W, 3) uint8."
        )
    if labeled.shape != labels.shape or labeled.ndim != 1:
        raise ShapeError(f"labeled has shape {labeled.shape} and labels {labels.shape}; expected (L,) both.")
    for name, indices in (("labeled", labeled), ("unlabeled", rest)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(images):
            wrong = indices.min() if indices.min() < 0 else indices.max()
            raise InputError(f"{name} must hold pool indices from 0 to {len(images) - 1}; got {wrong}.")
    if len(np.intersect1d(labeled, rest)) or len(np.unique(labeled)) < len(labeled):
        raise InputError("labeled and unlabeled share items, or labeled holds one twice; pass each item once.")
    present, y = np.unique(labels, return_inverse=True)
    if len(labels) < LEAST_ROWS or len(present) < 2 or present[0] < 0:
        raise InputError(
            f"AutoAL on pictures got {len(labels)} labels of {len(present)} classes; it needs at least {LEAST_ROWS} "
            "labels, of two classes, numbered from 0. Use the strategy 'auto' until then."
        )
    return present, y.astype(np.int64)


def _nets(torch: Any, images: Array, labeled: IndexArray, how: ImageSearch) -> ImageNets:
    see = Pictures(torch, images, images[labeled], pick_device(how.device))
    return ImageNets(torch, see, how.width, how.train_batch_size)


def _task_net(nets: ImageNets, how: ImageSearch, labeled: IndexArray, y: IndexArray, n_classes: int, seed: int) -> Any:
    """A network on all labels, by chance of its own."""
    rng = rng_for(seed, "network on pictures")
    nets.torch.manual_seed(int(rng.integers(2**62)))
    return nets.fitted(labeled, y, n_classes, how.fit_steps, how.fit_rate, rng)


def _whole(nets: ImageNets, net: Any, labeled: IndexArray, y: IndexArray, rest: IndexArray) -> Situation:
    n = len(nets.see.images)
    known = np.union1d(labeled, rest)
    seen, _ = nets.look(net, known)
    features = np.zeros((n, seen.shape[1]), dtype=np.float32)
    features[known] = seen
    labels = np.full(n, -1, dtype=np.int64)
    labels[labeled] = y
    return situation(np.sort(labeled), rest, labels, embeddings=features, **head_of(net))


def _learned(
    nets: ImageNets,
    how: ImageSearch,
    found: Nominations,
    labeled: IndexArray,
    y: IndexArray,
    n_classes: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, dict[str, Any]]:
    """Weights of the candidates for each nominated item, (M, K), and what they are worth on the labeled items."""
    halves = _halves(y, rng)
    fit_net = nets.fitted(labeled[halves[0]], y[halves[0]], n_classes, how.fit_steps, how.fit_rate, rng)
    then, z = _half_known(nets, fit_net, labeled, y, halves[0], halves[1])
    quota = max(1, round(QUOTA * len(halves[1])))
    rehearsed = nominate(then, found.names, quota, int(rng.integers(2**62)))
    grades = columns(rehearsed, found.names, halves[1])
    items, classes = labeled[halves[1]], y[halves[1]]
    surprise = -np.log(np.maximum(softmax(z.astype(np.float64), axis=1)[np.arange(len(z)), classes], 1e-12))
    search_net = searched(nets, how, fit_net, items, classes, grades, rng)
    trial = Trial(grades, np.ones((len(items), 1)), quota, aim_at(surprise, quota))
    facts = {
        "search": "loss",
        "accuracy_of_fit_net": float((z.argmax(axis=1) == classes).mean()),
        **compared([trial], [weights_of(nets, search_net, items)]),
    }
    return weights_of(nets, search_net, found.rows), facts


def _halves(y: IndexArray, rng: np.random.Generator) -> tuple[IndexArray, IndexArray]:
    """Positions of two halves, sorted, each with every class that has two rows."""
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def _half_known(
    nets: ImageNets, net: Any, labeled: IndexArray, y: IndexArray, known: IndexArray, offered: IndexArray
) -> tuple[Situation, Array]:
    """The labeled items as a pool of their own, half of it known; and a network's outputs for the other half."""
    features, z = nets.look(net, labeled)
    hidden = np.full(len(y), -1, dtype=np.int64)
    hidden[known] = y[known]
    return situation(known, offered, hidden, embeddings=features, **head_of(net)), z[offered]


def searched(
    nets: ImageNets,
    how: ImageSearch,
    fit_net: Any,
    items: IndexArray,
    y: IndexArray,
    grades: FloatArray,
    rng: np.random.Generator,
) -> Any:
    """Train a SearchNet in turn with its loss-prediction module and FitNet, on items that FitNet has not seen.

    Parameters
    ----------
    fit_net : a classifier; goes on learning, from items whose gates are open
    items : (n,) pool indices
    y : (n,) their classes
    grades : (n, K) of the candidates
    rng : draws the train batches

    Returns
    -------
    A network of K outputs.
    """
    torch = nets.torch
    net = nets.network(grades.shape[1])
    search = torch.optim.SGD(net.parameters(), lr=how.search_rate, momentum=0.9)
    fit = torch.optim.Adam(fit_net.parameters(), lr=how.fit_rate)
    for turn in range(how.steps):
        pos = nets.some(len(items), rng)
        count = max(1, round(QUOTA * len(pos)))
        temperature = HOT * (COLD / HOT) ** (turn / max(1, how.steps - 1))
        if turn % 3 == 0:
            with torch.no_grad():
                gates = _gates(nets, net, items[pos], grades[pos], count, temperature)
            step(fit, (gates * nets.losses(fit_net, items[pos], y[pos])).sum() / count)
            continue
        with torch.no_grad():
            losses = nets.losses(fit_net, items[pos], y[pos])
        for group in search.param_groups:
            group["lr"] = how.search_rate * temperature / HOT  # derivatives grow as the gates harden
        if turn % 3 == 1:
            gates = _gates(nets, net, items[pos], grades[pos], count, temperature)
            step(search, -(gates * losses).sum() / count)
        elif how.loss_module:
            step(search, ranking_loss(nets.predicted(net, items[pos]), losses))
    return net


def weights_of(nets: ImageNets, net: Any, items: IndexArray) -> FloatArray:
    """(n, K) weights that a SearchNet gives the candidates for some items."""
    return np.asarray(softmax(nets.look(net, items)[1].astype(np.float64), axis=1))


def _gates(nets: ImageNets, net: Any, items: IndexArray, grades: FloatArray, count: int, temperature: float) -> Any:
    trust = nets.run(net, items)[1].softmax(dim=1)
    told = nets.torch.as_tensor(grades.astype(np.float32), device=nets.see.device)
    return open_gates(nets.torch, (trust * told).sum(dim=1), count, temperature)


def open_gates(torch: Any, scores: Any, count: int, temperature: float) -> Any:
    """`relaxed_top` of an (n,) tensor; its derivative, that of `pull_back`, is attached by a term that is 0."""
    gates = relaxed_top(scores.detach().cpu().numpy(), count, temperature)
    fixed = torch.as_tensor(gates, dtype=scores.dtype, device=scores.device)
    slope = fixed * (1 - fixed)
    moved = scores - scores.detach()
    shift = (slope * moved).sum() / slope.sum().clamp(min=torch.finfo(scores.dtype).tiny)
    return fixed + slope * (moved - shift) / temperature
