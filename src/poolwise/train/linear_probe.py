"""Linear probe: multinomial logistic regression on cached embeddings, refitted in milliseconds.

The penalty strength is chosen out of fold, and one temperature is fitted on the same out-of-fold
logits, so neither has seen the rows it is judged on. Rows are centred and divided by one
number (the root of their mean squared distance to the mean) before fitting; both are folded back,
so the head applies to raw embeddings.

Source: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2
(temperature scaling); targets smoothed by 1 / (n + 2) as in Platt, "Probabilistic outputs for support vector
machines", 1999, section 2.2, as rows that are all predicted rightly would otherwise ask for temperature 0.
Differs from the paper: the temperature is fitted on out-of-fold logits of the labeled rows, as there is
no validation set to spend labels on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from threadpoolctl import ThreadpoolController

from poolwise.chance import rng_for
from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.train.multinomial import Basis, principal, solve
from poolwise.types import Array, IndexArray

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Grid of penalty strengths, for rows of mean squared length 1 and a loss summed over rows."""
FIRST_STRENGTH = 0.1
"""Where the search begins, and what is used when there is too little to choose by."""
MIN_JUDGES = 10
"""Fewer out-of-fold rows than this decide neither strength nor temperature."""
TEMPERATURES = (0.05, 20.0)
ENOUGH_JUDGES = 200
"""Strengths are compared on no more folds than give this many rows; the temperature uses all folds."""
_FOLD_TOLERANCE = 1e-3
_BLAS = ThreadpoolController()
"""One thread in every fit: sums in another order would change the last digits, and with them near ties of a query."""
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How a linear probe is fitted.

    strength : penalty strength; None chooses it out of fold
    class_weight : "none", or "balanced" to give every class present the same total weight
    folds : parts of the out-of-fold predictions, at least 2
    calibrate : fit the temperature; False leaves it at 1
    """

    strength: float | None = None
    class_weight: Literal["none", "balanced"] = "none"
    folds: int = 4
    calibrate: bool = True

    def __post_init__(self) -> None:
        if self.strength is not None and not (np.isfinite(self.strength) and self.strength > 0):
            raise OptionError(f"strength must be a number above 0, or None to choose it; got {self.strength!r}.")
        if self.class_weight not in ("none", "balanced"):
            raise OptionError(f"class_weight must be 'none' or 'balanced'; got {self.class_weight!r}.")
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or self.folds < 2:
            raise OptionError(f"folds must be a whole number of at least 2; got {self.folds!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """A fitted linear head for raw embeddings.

    weight, bias : (C, D), (C,) float32; logits = x @ weight.T + bias
    temperature : probabilities are softmax(logits / temperature)
    strength : penalty strength it was fitted with
    searched_at : number of rows when the strength was last chosen; 0 if it never was
    digest : 16 hexadecimal digits that change when any of the numbers does
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float
    strength: float
    searched_at: int
    digest: str

    @property
    def head_weight(self) -> NDArray[np.float32]:
        """(C, D) weights whose softmax is calibrated: what strategies get as `head_weight`."""
        return self.weight / np.float32(self.temperature)

    @property
    def head_bias(self) -> NDArray[np.float32]:
        """(C,) biases that go with `head_weight`."""
        return self.bias / np.float32(self.temperature)

    def logits(self, x: Array) -> NDArray[np.float32]:
        """Compute the (n, C) logits of (n, D) embeddings, before the temperature."""
        if x.ndim != 2 or x.shape[1] != self.weight.shape[1]:
            raise ShapeError(f"embeddings have shape {x.shape}; this head needs (n, {self.weight.shape[1]}).")
        return np.asarray(x, dtype=np.float32) @ self.weight.T + self.bias

    def probs(self, x: Array) -> NDArray[np.float32]:
        """Compute the calibrated (n, C) probabilities of (n, D) embeddings."""
        return _softmax(self.logits(x) / np.float32(self.temperature))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that are not arrays, as JSON holds them."""
        return {
            "temperature": self.temperature,
            "strength": self.strength,
            "searched_at": self.searched_at,
            "digest": self.digest,
        }


def make_head(weight: Array, bias: Array, temperature: float, strength: float, searched_at: int) -> LinearHead:
    """Build a head from its numbers, for instance when read back from a file; the digest is computed."""
    weight = np.ascontiguousarray(weight, dtype=np.float32)
    bias = np.ascontiguousarray(bias, dtype=np.float32)
    parts = (weight.tobytes(), bias.tobytes(), np.array([temperature, strength, searched_at], dtype="<f8").tobytes())
    digest = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    weight.flags.writeable = bias.flags.writeable = False
    return LinearHead(weight, bias, float(temperature), float(strength), int(searched_at), digest)


def fit_linear(
    x: Array,
    y: Array,
    n_classes: int,
    *,
    settings: ProbeSettings | None = None,
    seed: int = 0,
    start: LinearHead | None = None,
) -> LinearHead:
    """Fit a calibrated linear head on labeled embeddings.

    Parameters
    ----------
    x : (L, D) float, L >= 1
    y : (L,) int classes in [0, n_classes)
    n_classes : C >= 1, from the task, not from the labels seen so far
    settings : see ProbeSettings
    seed : decides the folds
    start : head of an earlier round. Its strength is kept until the rows have doubled since it was chosen, and is
        where the search begins then. Its weights are not used: to begin at them takes more steps than to
        begin at the class shares (measured: 85 against 37 at 600 x 256 rows of 200 classes).

    Returns
    -------
    LinearHead. Classes without labeled rows get weight 0 and a bias so low that at each labeled row all of them
    together have at most 1 / (L + 1) of the probability of the least likely class that is present. With one class
    only, all weights are 0.

    Raises
    ------
    InputError
        If there are no rows, values are not finite, or a label is outside [0, n_classes).
    ShapeError
        If x, y and start do not fit together.

    Notes
    -----
    Time O(L D min(L, D)) for one rotation, then O(L min(L, D) C) for each of some 20 steps of each of `folds` + 1
    fits, and of 3 or more for each fold that the strength is chosen on; one thread.
    """
    settings = settings or ProbeSettings()
    x, y = check_rows(x, y, n_classes)
    _check_start(start, n_classes, x.shape[1])
    with _BLAS.limit(limits=1):
        return _fit(x, y, n_classes, settings, seed, start)


def _fit(
    x: Array, y: IndexArray, n_classes: int, settings: ProbeSettings, seed: int, start: LinearHead | None
) -> LinearHead:
    present, dense = np.unique(y, return_inverse=True)
    if len(present) == 1:
        bias = np.full(n_classes, -_absence(len(y), n_classes - 1))
        bias[present] = 0
        return make_head(np.zeros((n_classes, x.shape[1])), bias, 1.0, settings.strength or FIRST_STRENGTH, 0)
    basis = principal(x)
    weights = _row_weights(dense, settings.class_weight)
    strength, temperature, searched_at = _tune(basis, dense, weights, settings, seed, start)
    found = solve(basis, dense, len(present), weights[:, None], np.array([strength]), tolerance=_TOLERANCE)[0]
    weight, bias = _to_raw(found, basis, present, n_classes, temperature)
    return make_head(weight, bias, temperature, strength, searched_at)


def bootstrap_heads(
    x: Array, y: Array, n_classes: int, *, count: int, seed: int = 0, settings: ProbeSettings | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit several heads, each on the labeled rows with random weights (exponential, mean 1): a Bayesian bootstrap.

    Strength and temperature are those of the head that weighs all rows alike.

    Parameters
    ----------
    x, y, n_classes, settings : as for `fit_linear`
    count : S >= 1 heads
    seed : of folds and weights; the first heads are the same whatever the count

    Returns
    -------
    (S, C, D) weights and (S, C) biases whose softmax is calibrated, for raw embeddings.

    Raises
    ------
    InputError, ShapeError, OptionError
        As `fit_linear`.

    Notes
    -----
    Time as S fits of one fold each, in one solve; no fold is repeated.
    """
    if count < 1:
        raise OptionError(f"samples must be at least 1; got {count}. Try 20.")
    settings = settings or ProbeSettings()
    head = fit_linear(x, y, n_classes, settings=settings, seed=seed)
    x, y = check_rows(x, y, n_classes)
    present, dense = np.unique(y, return_inverse=True)
    if len(present) == 1:
        return np.stack([head.head_weight] * count), np.stack([head.head_bias] * count)
    chance = rng_for(seed, "bootstrap weights").standard_exponential((count, len(y)))  # (S, L)
    chance *= _row_weights(dense, settings.class_weight)
    chance /= chance.mean(axis=1, keepdims=True)
    with _BLAS.limit(limits=1):
        basis = principal(x)
        found = solve(
            basis,
            dense,
            len(present),
            np.ascontiguousarray(chance.T, dtype=np.float32),
            np.full(count, head.strength),
            tolerance=_TOLERANCE,
        )
        raw = [_to_raw(one, basis, present, n_classes, head.temperature) for one in found]
    weights = np.stack([weight for weight, _ in raw]) / np.float32(head.temperature)
    biases = np.stack([bias for _, bias in raw]) / np.float32(head.temperature)
    return weights.astype(np.float32), biases.astype(np.float32)


def out_of_fold_logits(
    x: Array,
    y: Array,
    n_classes: int,
    *,
    folds: int = 4,
    seed: int = 0,
    strength: float = FIRST_STRENGTH,
    class_weight: Literal["none", "balanced"] = "none",
) -> NDArray[np.float32]:
    """Predict each row by a head that was fitted without it.

    Folds are stratified: the rows of a class are spread over the folds in random order.

    Returns
    -------
    (L, C) float32 logits, before any temperature. A class that is absent from the rows a head was
    fitted on gets a low logit, as in `fit_linear`; L = 1 gives zeros.

    Raises
    ------
    InputError, ShapeError
        As `fit_linear`.
    """
    settings = ProbeSettings(strength=strength, class_weight=class_weight, folds=folds)
    x, y = check_rows(x, y, n_classes)
    present, dense = np.unique(y, return_inverse=True)
    out = np.zeros((len(y), n_classes), dtype=np.float32)
    if len(y) == 1:
        return out
    fold_of = _folds(dense, folds, seed)
    weights = _row_weights(dense, settings.class_weight)
    with _BLAS.limit(limits=1):
        z = _held_out(
            principal(x), dense, len(present), weights, fold_of, int(fold_of.max()) + 1, np.array([strength])
        )[:, 0]  # (L, P)
    counts = np.array([(fold_of != fold).sum() for fold in range(int(fold_of.max()) + 1)])
    out[:] = (z.min(axis=1) - _absence(counts[fold_of], n_classes - len(present)))[:, None]
    out[:, present] = z
    return out


def check_rows(x: Array, y: Array, n_classes: int) -> tuple[Array, IndexArray]:
    """Check (L, D) embeddings and (L,) labels, and return them with labels as int64.

    Raises
    ------
    InputError, ShapeError
        As `fit_linear`.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise ShapeError(f"embeddings have shape {x.shape} and labels {y.shape}; expected (L, D) and (L,).")
    if not len(y):
        raise InputError("a linear probe needs at least one labeled row; got none. Label some items first.")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise InputError(f"embeddings row {row} holds NaN or inf; every value must be finite. Drop that item.")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= n_classes:
        raise InputError(
            f"labels must be whole numbers from 0 to {n_classes - 1} (n_classes = {n_classes}); "
            f"got {y.min()} to {y.max()} ({y.dtype})."
        )
    return x, y.astype(np.int64)


def _check_start(start: LinearHead | None, n_classes: int, width: int) -> None:
    if start is not None and start.weight.shape != (n_classes, width):
        raise ShapeError(
            f"start has weights of shape {start.weight.shape}; expected ({n_classes}, {width}). Leave start out."
        )


def _absence(n_rows: Any, n_absent: Any) -> Any:
    """How far below the least likely class the absent ones lie: together 1 / (L + 1) of its probability."""
    return np.log((n_rows + 1.0) * np.maximum(n_absent, 1))


def _row_weights(y: IndexArray, class_weight: str) -> NDArray[np.float32]:
    """(L,) weights with mean 1."""
    if class_weight == "none":
        return np.ones(len(y), dtype=np.float32)
    counts = np.bincount(y)
    return (len(y) / (len(counts) * counts[y])).astype(np.float32)


def _folds(y: IndexArray, folds: int, seed: int) -> IndexArray:
    """Deal the rows, sorted by class and shuffled within, to the folds one by one: (L,) fold numbers."""
    order = rng_for(seed, "probe folds").permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold_of = np.empty(len(y), dtype=np.int64)
    fold_of[order] = np.arange(len(y)) % min(folds, len(y))
    return fold_of


def _held_out(
    basis: Basis,
    y: IndexArray,
    n_classes: int,
    weights: NDArray[np.float32],
    fold_of: IndexArray,
    n_folds: int,
    strengths: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Out-of-fold logits for each strength, (L, G, C); zeros for rows of folds from `n_folds` on."""
    n_grid = len(strengths)
    kept = np.where(fold_of[:, None] == np.arange(n_folds), 0, weights[:, None]).astype(np.float32)  # (L, F)
    heads = solve(
        basis, y, n_classes, np.repeat(kept, n_grid, axis=1), np.tile(strengths, n_folds), tolerance=_FOLD_TOLERANCE
    ).reshape(n_folds, n_grid, -1, n_classes)
    out = np.zeros((len(y), n_grid, n_classes), dtype=np.float32)
    for fold in range(n_folds):
        here = fold_of == fold
        seen = np.bincount(y[~here], minlength=n_classes) > 0
        for g in range(n_grid):
            z = basis.rows @ heads[fold, g, :-1] + heads[fold, g, -1]  # (L, C)
            low = z[~here][:, seen].min(initial=0.0) - _absence((~here).sum(), (~seen).sum())
            out[here, g] = np.where(seen, z[here], low)
    return out


def _tune(
    basis: Basis,
    y: IndexArray,
    weights: NDArray[np.float32],
    settings: ProbeSettings,
    seed: int,
    start: LinearHead | None,
) -> tuple[float, float, int]:
    """Choose strength and temperature by out-of-fold log loss: (strength, temperature, rows at the search)."""
    n_classes, n_rows = int(y.max()) + 1, len(y)
    fixed, searched_at = settings.strength, 0
    if fixed is None and start is not None and n_rows < 2 * start.searched_at:
        fixed, searched_at = start.strength, start.searched_at
    fold_of = _folds(y, settings.folds, seed)
    # A class whose only row is held out says nothing about the others' confidence.
    judges = np.bincount(y)[y] > 1
    if judges.sum() < MIN_JUDGES or (fixed is not None and not settings.calibrate):
        return fixed or FIRST_STRENGTH, 1.0, searched_at
    n_folds = int(fold_of.max()) + 1

    def judge(strengths: list[float], folds: int) -> list[tuple[float, float]]:
        """Out-of-fold loss and temperature of each strength, on the rows of the first folds."""
        z = _held_out(basis, y, n_classes, weights, fold_of, folds, np.array(strengths))
        rows = judges & (fold_of < folds)
        return [_calibrate(z[rows, g], y[rows], weights[rows], settings.calibrate) for g in range(len(strengths))]

    if fixed is not None:
        return fixed, judge([fixed], n_folds)[0][1], searched_at
    few = next(n for n in range(1, n_folds + 1) if n == n_folds or (judges & (fold_of < n)).sum() >= ENOUGH_JUDGES)
    begin = start.strength if start is not None and start.strength in STRENGTHS else FIRST_STRENGTH
    strength, temperature = _search(lambda strengths: judge(strengths, few), STRENGTHS.index(begin))
    if few < n_folds and settings.calibrate:
        temperature = judge([strength], n_folds)[0][1]
    return strength, temperature, n_rows


def _search(judge: Callable[[list[float]], list[tuple[float, float]]], best: int) -> tuple[float, float]:
    """Walk the grid of strengths to the nearest least loss: (strength, temperature)."""
    results: dict[int, tuple[float, float]] = {}
    while True:
        new = [p for p in (best - 1, best, best + 1) if 0 <= p < len(STRENGTHS) and p not in results]
        results.update(zip(new, judge([STRENGTHS[p] for p in new]), strict=True) if new else ())
        # Equal losses keep the stronger penalty, the simpler head.
        winner = min(results, key=lambda p: (results[p][0], -p))
        if winner == best:
            return STRENGTHS[best], results[best][1]
        best = winner


def _calibrate(
    z: NDArray[np.float32], y: IndexArray, weights: NDArray[np.float32], calibrate: bool
) -> tuple[float, float]:
    """Find the temperature of least weighted log loss against smoothed targets: (loss, temperature)."""
    z = z.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    smooth = 1 / (len(y) + 2)
    own = (1 - smooth) * z[np.arange(len(y)), y] + smooth * z.mean(axis=1)

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        losses = np.log(np.exp(z * inverse).sum(axis=1)) - own * inverse
        return float(losses @ weights / weights.sum())

    if not calibrate:
        return loss(0.0), 1.0
    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-3})
    if loss(0.0) <= found.fun + 1e-9:  # logits without information: any temperature does as well
        return loss(0.0), 1.0
    return float(found.fun), float(np.exp(found.x))


def _to_raw(found: Array, basis: Basis, present: IndexArray, n_classes: int, temperature: float) -> tuple[Array, Array]:
    """Fold rotation, scale and mean back into a head for raw embeddings; absent classes get low biases."""
    inner = found[:-1].astype(np.float64)  # (r, P)
    offset = found[-1].astype(np.float64)
    inner -= inner.mean(axis=1, keepdims=True)
    offset -= offset.mean()
    logits = basis.rows @ inner + offset  # (L, P)
    weight = np.zeros((n_classes, len(basis.axes)), dtype=np.float32)
    weight[present] = (basis.axes @ inner / basis.scale).T
    bias = np.full(n_classes, logits.min() - temperature * _absence(len(logits), n_classes - len(present)))
    bias[present] = offset - weight[present].astype(np.float64) @ basis.mean
    return weight, bias


def _softmax(z: Array) -> NDArray[np.float32]:
    z = z - z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z
