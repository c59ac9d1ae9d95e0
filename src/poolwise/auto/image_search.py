"""AutoAL on pictures: SearchNet and FitNet are image networks that learn in turn, as the paper describes.

Source: Wang et al., "AutoAL: Automated Active Learning with Differentiable Query Strategy Search", ICML 2025, section 3
(two halves of the labeled items; FitNet alone, then SearchNet, its loss-prediction module and FitNet in turn; items of
high loss should get high scores). Loss-prediction module: Yoo & Kweon, "Learning Loss for Active Learning", CVPR 2019,
section 3.
Differs from the paper: gates sum to the quota exactly (`relaxed_top`) in place of a mixture model and a count penalty;
candidates nominate once, by FitNet's features of items that it was not fitted on; items are joined by number; the
loss-prediction module acts through the layers that it shares with SearchNet; small residual networks with group
normalisation, from random weights, in place of ResNet-18. On cached embeddings use the strategy `autoal`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

from poolwise.auto.diversity import diverse_batch, top_batch
from poolwise.auto.nominations import CANDIDATES, Situation, nominate, situation
from poolwise.auto.rehearsal import LEAST_ROWS, QUOTA, columns
from poolwise.auto.relaxed_top import relaxed_top
from poolwise.auto.search import COLD, HOT
from poolwise.chance import rng_for
from poolwise.errors import BudgetError, InputError, OptionError, ShapeError
from poolwise.models.weights import pick_device, require
from poolwise.types import Array, FloatArray, IndexArray, Selection

BLOCK_ROWS = 512
"""Pictures of one pass without gradients."""
HIDDEN = 32
"""Units for each stage in the loss-prediction module."""


@dataclass(frozen=True, slots=True)
class ImageSearch:
    """How the networks look and learn.

    width : channels of the first of three stages; each later one has twice as many at half the size
    fit_steps : gradient steps of FitNet alone, at least 1
    steps : gradient steps in turn, at least 3
    train_batch_size : pictures of a step, at least 4
    fit_rate, search_rate : learning rates of FitNet (Adam) and SearchNet (SGD); the paper has 0.005 for both
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
        for name, least in (("width", 4), ("fit_steps", 1), ("steps", 3), ("train_batch_size", 4)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}; got {getattr(self, name)}.")
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
    Selection; notes hold the mean weights, FitNet's accuracy on the half it was not fitted on, and the seconds.

    Raises
    ------
    InputError, ShapeError, BudgetError, OptionError
        If something does not fit, or there is too little to learn from.

    Notes
    -----
    Each candidate runs once on the pool and once on half of the labeled items. On the same device with the same seed
    the batch is the same. Measured on one busy core, 64 pictures of 28 x 28 a step: 14 s for 180 steps, all included.
    """
    how = ImageSearch() if settings is None else settings
    labeled, labels = np.asarray(labeled, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(images)), labeled) if unlabeled is None else np.unique(unlabeled)
    present, y = _check(images, labeled, labels, rest, batch_size)
    torch = require("torch", "AutoAL on pictures")
    rng = rng_for(seed, "autoal on pictures")
    clock = [time.perf_counter()]
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(int(rng.integers(2**62)))
        see = _Eye(torch, images, images[labeled], pick_device(how.device))
        lab = _Lab(torch, see, how, rng)
        halves = _halves(y, rng)
        fit_net = lab.fitted(labeled[halves[0]], y[halves[0]], len(present))
        then, right = _situation_of(lab, fit_net, labeled, y, halves)
        task_net = lab.fitted(labeled, y, len(present))
        now = _whole(lab, task_net, labeled, y, rest)
        clock.append(time.perf_counter())
        found = nominate(now, candidates, batch_size, int(rng.integers(2**62)))
        quota = max(1, round(QUOTA * len(halves[1])))
        rehearsed = nominate(then, found.names, quota, int(rng.integers(2**62)))
        grades = columns(rehearsed, found.names, halves[1])
        clock.append(time.perf_counter())
        search_net = lab.searched(fit_net, labeled[halves[1]], y[halves[1]], grades)
        trust = lab.weights(search_net, found.rows)  # (M, K)
    clock.append(time.perf_counter())
    scores = (found.grades * trust).sum(axis=1)
    if how.diverse:
        chosen, gains = diverse_batch(now.arrays["embeddings"], found.rows, scores, labeled, batch_size, rng)
    else:
        chosen, gains = top_batch(found.rows, scores, batch_size)
    seconds = np.diff(clock).round(3).tolist()
    return Selection(
        indices=chosen,
        scores=gains.astype(np.float32),
        strategy="autoal_images",
        options={**asdict(how), "candidates": tuple(candidates)},
        seed=seed,
        seconds=float(time.perf_counter() - clock[0]),
        components={"votes": (found.at(chosen) > 0).sum(axis=1)},
        notes={
            "trust": {name: round(float(w), 4) for name, w in zip(found.names, trust.mean(axis=0), strict=True)},
            "search": "loss",
            "accuracy_of_fit_net": right,
            **found.notes(),
            "nominated": len(found.rows),
            **dict(zip(("seconds_training", "seconds_scoring", "seconds_search"), seconds, strict=True)),
        },
    )


def _check(
    images: Array, labeled: IndexArray, labels: IndexArray, rest: IndexArray, batch_size: int
) -> tuple[IndexArray, IndexArray]:
    """Refuse what does not fit; the classes that have labels, and labels numbered within them."""
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)) or images.dtype != np.uint8:
        raise ShapeError(
            f"images have shape {images.shape} and type {images.dtype}; expected (N, H, W) or (N, H, W, 3) uint8."
        )
    if labeled.shape != labels.shape or labeled.ndim != 1:
        raise ShapeError(f"labeled has shape {labeled.shape} and labels {labels.shape}; expected (L,) both.")
    for name, indices in (("labeled", labeled), ("unlabeled", rest)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(images):
            raise InputError(f"{name} must hold pool indices from 0 to {len(images) - 1}; got {indices.max()}.")
    if len(np.intersect1d(labeled, rest)) or len(np.unique(labeled)) < len(labeled):
        raise InputError("labeled and unlabeled share items, or labeled holds one twice; pass each item once.")
    if not 1 <= batch_size <= len(rest):
        raise BudgetError(f"batch_size must be between 1 and {len(rest)} (unlabeled items); got {batch_size}.")
    present, y = np.unique(labels, return_inverse=True)
    if len(labels) < LEAST_ROWS or len(present) < 2 or present[0] < 0:
        raise InputError(
            f"AutoAL on pictures got {len(labels)} labels of {len(present)} classes; it needs at least {LEAST_ROWS} "
            "labels, of two classes, numbered from 0. Use the strategy 'auto' until then."
        )
    return present, y.astype(np.int64)


def _halves(y: IndexArray, rng: np.random.Generator) -> tuple[IndexArray, IndexArray]:
    """Positions of two halves, sorted, each with every class that has two rows."""
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def _situation_of(
    lab: _Lab, net: Any, labeled: IndexArray, y: IndexArray, halves: tuple[IndexArray, IndexArray]
) -> tuple[Situation, float]:
    """The labeled items as a pool of their own, half of it known; and FitNet's accuracy on the other half."""
    features, logits = lab.look(net, labeled)
    hidden = np.full(len(y), -1, dtype=np.int64)
    hidden[halves[0]] = y[halves[0]]
    right = float((logits[halves[1]].argmax(axis=1) == y[halves[1]]).mean())
    return situation(halves[0], halves[1], hidden, embeddings=features, **lab.head(net)), right


def _whole(lab: _Lab, net: Any, labeled: IndexArray, y: IndexArray, rest: IndexArray) -> Situation:
    n = len(lab.see.images)
    known = np.union1d(labeled, rest)
    seen, _ = lab.look(net, known)
    features = np.zeros((n, seen.shape[1]), dtype=np.float32)
    features[known] = seen
    labels = np.full(n, -1, dtype=np.int64)
    labels[labeled] = y
    return situation(np.sort(labeled), rest, labels, embeddings=features, **lab.head(net))


@dataclass(frozen=True, slots=True)
class _Eye:
    """Pictures as (n, channels, H, W) tensors, scaled by mean and spread of the labeled ones."""

    torch: Any
    images: Array
    known: Array
    device: str
    mean: FloatArray = field(init=False)
    spread: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        flat = self.known.reshape(-1, self.channels).astype(np.float32)
        object.__setattr__(self, "mean", flat.mean(axis=0))
        object.__setattr__(self, "spread", np.maximum(flat.std(axis=0), 1.0))

    @property
    def channels(self) -> int:
        return 3 if self.images.ndim == 4 else 1

    def at(self, items: IndexArray) -> Any:
        x = self.images[items].reshape(len(items), *self.images.shape[1:3], self.channels)
        scaled = ((x - self.mean) / self.spread).transpose(0, 3, 1, 2)
        return self.torch.as_tensor(np.ascontiguousarray(scaled, dtype=np.float32), device=self.device)


@dataclass(frozen=True, slots=True)
class _Lab:
    """Makes, trains and runs the networks."""

    torch: Any
    see: _Eye
    how: ImageSearch
    rng: np.random.Generator

    def network(self, n_outputs: int) -> Any:
        """Three stages, and a linear head on the means of the last one's channels."""
        nn, width = self.torch.nn, self.how.width
        sizes = [self.see.channels, width, 2 * width, 4 * width]
        stages = [_stage(nn, sizes[i], sizes[i + 1], 1 if i == 0 else 2) for i in range(3)]
        net = nn.ModuleDict({"stages": nn.ModuleList(stages), "head": nn.Linear(sizes[-1], n_outputs)})
        net["judges"] = nn.ModuleList([nn.Linear(size, HIDDEN) for size in sizes[1:]])
        net["predicted"] = nn.Linear(3 * HIDDEN, 1)
        return net.to(self.see.device)

    def fitted(self, items: IndexArray, y: IndexArray, n_classes: int) -> Any:
        """A classifier, by plain cross-entropy."""
        net = self.network(n_classes)
        optimizer = self.torch.optim.Adam(net.parameters(), lr=self.how.fit_rate)
        for _ in range(self.how.fit_steps):
            pos = self._some(len(items))
            _step(optimizer, self._losses(net, items[pos], y[pos]).mean())
        return net

    def searched(self, fit_net: Any, items: IndexArray, y: IndexArray, grades: FloatArray) -> Any:
        """A SearchNet, learned in turn with its loss-prediction module and FitNet on the other half."""
        torch, how = self.torch, self.how
        net = self.network(grades.shape[1])
        search = torch.optim.SGD(net.parameters(), lr=how.search_rate, momentum=0.9)
        fit = torch.optim.Adam(fit_net.parameters(), lr=how.fit_rate)
        for step in range(how.steps):
            pos = self._some(len(items))
            count = max(1, round(QUOTA * len(pos)))
            temperature = HOT * (COLD / HOT) ** (step / max(1, how.steps - 1))
            if step % 3 == 0:
                with torch.no_grad():
                    gates = self._gates(net, items[pos], grades[pos], count, temperature)
                _step(fit, (gates * self._losses(fit_net, items[pos], y[pos])).sum() / count)
                continue
            with torch.no_grad():
                losses = self._losses(fit_net, items[pos], y[pos])
            if step % 3 == 1:
                gates = self._gates(net, items[pos], grades[pos], count, temperature)
                _step(search, -(gates * losses).sum() / count)
            elif how.loss_module:
                _step(search, _ranking_loss(self._predicted(net, items[pos]), losses))
        return net

    def weights(self, net: Any, items: IndexArray) -> FloatArray:
        """(n, K) weights of the candidates for some items."""
        _, z = self.look(net, items)
        return np.asarray(softmax(z.astype(np.float64), axis=1))

    def look(self, net: Any, items: IndexArray) -> tuple[Array, Array]:
        """(n, 4 width) means of the last channels and (n, q) outputs, without gradients."""
        parts = []
        with self.torch.no_grad():
            for start in range(0, len(items), BLOCK_ROWS):
                means, z = self._run(net, items[start : start + BLOCK_ROWS])
                parts.append((means[-1].cpu().numpy(), z.cpu().numpy()))
        return np.concatenate([means for means, _ in parts]), np.concatenate([z for _, z in parts])

    def head(self, net: Any) -> dict[str, Array]:
        """The last layer, as strategies name it."""
        head = net["head"]
        return {
            "head_weight": head.weight.detach().cpu().numpy().copy(),
            "head_bias": head.bias.detach().cpu().numpy().copy(),
        }

    def _some(self, n: int) -> IndexArray:
        return self.rng.permutation(n)[: self.how.train_batch_size]

    def _run(self, net: Any, items: IndexArray) -> tuple[list[Any], Any]:
        x, means = self.see.at(items), []
        for stage in net["stages"]:
            x = stage(x)
            means.append(x.mean(dim=(2, 3)))
        return means, net["head"](means[-1])

    def _losses(self, net: Any, items: IndexArray, y: IndexArray) -> Any:
        target = self.torch.as_tensor(y, device=self.see.device)
        return self.torch.nn.functional.cross_entropy(self._run(net, items)[1], target, reduction="none")

    def _predicted(self, net: Any, items: IndexArray) -> Any:
        means, _ = self._run(net, items)
        joined = [judge(mean).relu() for judge, mean in zip(net["judges"], means, strict=True)]
        return net["predicted"](self.torch.cat(joined, dim=1))[:, 0]

    def _gates(self, net: Any, items: IndexArray, grades: FloatArray, count: int, temperature: float) -> Any:
        trust = self._run(net, items)[1].softmax(dim=1)
        told = self.torch.as_tensor(grades.astype(np.float32), device=self.see.device)
        return open_gates(self.torch, (trust * told).sum(dim=1), count, temperature)


def _stage(nn: Any, n_in: int, n_out: int, stride: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1),
        nn.GroupNorm(4, n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1),
        nn.GroupNorm(4, n_out),
        nn.ReLU(),
    )


def open_gates(torch: Any, scores: Any, count: int, temperature: float) -> Any:
    """`relaxed_top` of an (n,) tensor; its derivative, that of `pull_back`, is attached by a term that is 0."""
    gates = relaxed_top(scores.detach().cpu().numpy(), count, temperature)
    fixed = torch.as_tensor(gates, dtype=scores.dtype, device=scores.device)
    slope = fixed * (1 - fixed)
    moved = scores - scores.detach()
    shift = (slope * moved).sum() / slope.sum().clamp(min=torch.finfo(scores.dtype).tiny)
    return fixed + slope * (moved - shift) / temperature


def _ranking_loss(predicted: Any, losses: Any) -> Any:
    """Pairs of items, the one of larger loss should be predicted larger by at least 1 (Yoo & Kweon, equation 2)."""
    half = len(losses) // 2
    apart = predicted[:half] - predicted[half : 2 * half]
    sign = (losses[:half] > losses[half : 2 * half]).to(apart.dtype) * 2 - 1
    return (1 - sign * apart).clamp(min=0).mean()


def _step(optimizer: Any, loss: Any) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
