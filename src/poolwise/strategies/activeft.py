"""ActiveFT: move B vectors to where the pool is dense while they repel one another, and take the items nearest to them.

Source: Xie, Lu, Yan, Yang, Tomizuka & Zhan, "Active Finetuning: Exploiting Annotation Budget in the
Pretraining-Finetuning Paradigm", CVPR 2023, section 3 (temperature 0.07, Adam with rate 1e-3, 300 steps, balance 1).
Differs from the paper: slopes are taken along the sphere (the term of a vector with itself, e^(1/temperature), has none
there, but across it would drown the others in Adam's scale); each step reads a random part of the pool; labeled items
take part as vectors that stay where they are, so that later batches go elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.sampling import Shortlists, fill, row_blocks
from poolwise.progress import task
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

STEP_ROWS = 2048
"""Items that a step reads at least; four for each vector where there are more vectors."""

MOST_LABELED = 1000
"""Labeled items that take part; a random part of them where there are more."""

NUMBERS = 2**22
"""Size of the blocks of similarities."""

KEPT_NUMBERS = 2**24
"""Similarities of all pairs of vectors up to this size are kept for the second use in a step."""

FLOAT32_ERROR = 1e-5
"""Inner products of unit rows in float32 are off by less."""

Matrix = NDArray[np.float64]


@strategy(
    "activeft",
    family="diversity",
    paper="arXiv:2303.14382",
    cost="300 steps of max(2048, 4 B) items against B vectors, then one pass against them: minutes for B = 1000",
    use_when="One batch, bought at once, for fine-tuning a pretrained model: it follows the density of the pool.",
)
def activeft(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    temperature: float = 0.07,
    rate: float = 1e-3,
    steps: int = 300,
    balance: float = 1.0,
) -> Picks:
    """Fit vectors to the pool by gradient steps, then give each, in order, the most similar item that is left.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    labeled : (L,) int64 pool indices, sorted; they repel the vectors
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws the first vectors and the items of each step
    temperature : tau, at least 0.01
    rate : learning rate of Adam, > 0
    steps : gradient steps, >= 0; 0 takes random items
    balance : beta >= 0, weight of the repulsion

    Returns
    -------
    Picks; scores are the cosines to the vectors. Component `share` is the part of the items (of the last step) for
    which a pick's vector is the most similar one. Notes `loss_before` and `loss_after` are on the same items.

    Raises
    ------
    OptionError
        If an option is out of range.

    Notes
    -----
    Time steps x max(2048, 4 B) (B + L) D, then U B D; memory (B + max(2048, 4 B)) D + U numbers and one block.
    """
    if temperature < 0.01 or rate <= 0 or steps < 0 or balance < 0:
        raise OptionError(
            f"activeft: temperature must be at least 0.01, rate above 0, steps and balance at least 0; "
            f"got {temperature}, {rate}, {steps}, {balance}."
        )
    unit = UnitRows(embeddings)
    start = rng.choice(unlabeled, batch_size, replace=False)
    fixed = np.sort(rng.permutation(labeled)[:MOST_LABELED])
    n_rows = min(len(unlabeled), max(STEP_ROWS, 4 * batch_size))

    def items() -> Matrix:
        drawn = unlabeled if n_rows == len(unlabeled) else np.sort(rng.choice(unlabeled, n_rows, replace=False))
        return load_rows(unit, drawn, np.float64)

    x = probe = items()
    loss = Loss(load_rows(unit, fixed, np.float64), temperature, balance)
    free = load_rows(unit, start, np.float64)
    before = loss.value_and_slope(probe, free)[0]
    mean, square = np.zeros((2, *free.shape))
    with task("moving vectors", steps) as work:
        for number in range(1, steps + 1):
            x = x if n_rows == len(unlabeled) else items()
            slope = loss.value_and_slope(x, free)[1]
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            step = mean / (1 - 0.9**number) / (np.sqrt(square / (1 - 0.999**number)) + 1e-8)
            free = _unit(free - rate * step)
            work.advance()
    after = loss.value_and_slope(probe, free)[0]
    chosen, cosines = nearest_unused(unit, unlabeled, free)
    closest = _most_similar(x, np.concatenate([free, loss.fixed]))[0]
    share = np.bincount(closest, minlength=batch_size)[:batch_size] / len(x)
    notes = {"loss_before": before, "loss_after": after, "items_per_step": n_rows}
    return Picks(chosen, cosines, {"share": share}, notes)


def _unit(x: Matrix) -> Matrix:
    norm = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return np.asarray(x / np.where(norm > 0, norm, 1.0))


def _most_similar(x: Matrix, vectors: Matrix) -> tuple[IndexArray, Matrix]:
    """The most similar vector of each row, and its inner product."""
    step = max(1, NUMBERS // len(vectors))
    which, product = np.empty(len(x), dtype=np.int64), np.empty(len(x))
    for start in range(0, len(x), step):
        similarity = x[start : start + step] @ vectors.T
        which[start : start + step] = best = similarity.argmax(axis=1)
        product[start : start + step] = similarity[np.arange(len(best)), best]
    return which, product


class Loss:
    """The loss of the paper, with some vectors that do not move.

    It is the mean over rows f of -log( e^(f.v_c) / (e^(f.v_c) + balance sum_l e^(v_l.v_c)) ), v_c the vector most
    similar to f, products divided by the temperature. No slope flows through v_c in v_l.v_c.

    Parameters
    ----------
    fixed : (F, D) unit vectors
    """

    def __init__(self, fixed: Matrix, temperature: float, balance: float) -> None:
        self.fixed = fixed
        self.temperature = temperature
        self.balance = balance
        self.crowd = sum((block.sum(axis=0) for _, block in self._repulsions(fixed, fixed)), np.zeros(len(fixed)))

    def value_and_slope(self, x: Matrix, free: Matrix) -> tuple[float, Matrix]:
        """The loss of (n, D) unit rows, and its slope (K, D) along the sphere at the (K, D) vectors that move."""
        vectors = np.concatenate([free, self.fixed])
        which, product = _most_similar(x, vectors)
        crowd = np.concatenate([np.zeros(len(free)), self.crowd])  # sum over all vectors, for each vector
        kept = list(self._repulsions(free, vectors)) if len(free) * len(vectors) <= KEPT_NUMBERS else None
        for first, block in kept or self._repulsions(free, vectors):
            crowd += block.sum(axis=0)
            crowd[first : first + len(block)] += block[:, len(free) :].sum(axis=1)
        pull = np.exp((product - 1) / self.temperature)
        total = pull + self.balance * crowd[which]
        count = csr_matrix(((1 - pull / total), (which, np.arange(len(x)))), shape=(len(vectors), len(x)))
        slope: Matrix = -np.asarray(count @ x)[: len(free)]
        weight = self.balance * np.bincount(which, weights=1 / total, minlength=len(vectors))
        for first, block in kept or self._repulsions(free, vectors):
            slope[first : first + len(block)] += (block * weight) @ vectors
        slope /= self.temperature * len(x)
        slope -= np.einsum("ij,ij->i", slope, free)[:, None] * free
        return float(np.log(total / pull).mean()), slope

    def _repulsions(self, left: Matrix, right: Matrix) -> Iterator[tuple[int, Matrix]]:
        """Blocks of rows of e^((v_l.v_c - 1) / temperature), v_l on the left and v_c on the right."""
        step = max(1, NUMBERS // max(1, len(right)))
        for first in range(0, len(left), step):
            block = left[first : first + step] @ right.T
            block -= 1
            block /= self.temperature
            yield first, np.exp(block, out=block)


def nearest_unused(rows: Rows, indices: IndexArray, vectors: Matrix) -> tuple[IndexArray, FloatArray]:
    """Give each vector, in order, the row of largest inner product that no vector before it has got.

    Parameters
    ----------
    rows : (N, D) unit rows
    indices : (n,) int64 sorted pool indices
    vectors : (K, D), K <= n

    Returns
    -------
    (K,) pool indices and (K,) inner products; the lowest index among equals.
    """
    given = np.full(len(vectors), -1, dtype=np.int64)
    products = np.empty(len(vectors))
    done, depth = 0, 16
    while done < len(vectors):
        free = np.setdiff1d(indices, given[:done], assume_unique=True)
        left = len(vectors) - done
        lists = _most_similar_rows(rows, free, vectors[done:], min(depth, len(free), max(1, NUMBERS // left)))
        taken: set[int] = set()
        for slot in range(left):
            found, values = lists.of(slot)
            at = next((i for i, index in enumerate(found.tolist()) if index not in taken), None)
            if at is None:
                break
            taken.add(int(found[at]))
            given[done], products[done] = found[at], -values[at]
            done += 1
        depth *= 4
    return given, products


def _most_similar_rows(rows: Rows, indices: IndexArray, vectors: Matrix, depth: int) -> Shortlists:
    """The `depth` rows of largest inner product with each vector."""
    rough = vectors.astype(np.float32).T

    def offer_all(lists: Shortlists) -> None:
        step = max(1, NUMBERS // len(vectors))
        for _, pool, blocks, local in row_blocks({"rows": rows}, indices, np.float32, block_rows=step):
            lists.offer(pool, -(blocks["rows"] @ rough)[local])

    def exact(chosen: IndexArray, slots: IndexArray) -> Matrix:
        out = np.empty(len(chosen))
        for start in range(0, len(chosen), STEP_ROWS):
            part = slice(start, start + STEP_ROWS)
            out[part] = -np.einsum("ij,ij->i", load_rows(rows, chosen[part], np.float64), vectors[slots[part]])
        return out

    return fill(offer_all, np.full(len(vectors), depth), exact, np.full(len(vectors), FLOAT32_ERROR))
