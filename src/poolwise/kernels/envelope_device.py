"""The envelope of D2 sampling with the products on a device; drawing and accepting stay where they are.

What `points.nearest_sq` does for rows as they are and for gradients e (x) h, block by block on the device: only the
squared lengths and the distance to the nearest centre come back, (n,) each. Differences that cancel are computed again
directly, in float64, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolwise.kernels import backend
from poolwise.kernels.blocks import Computed, Softmax
from poolwise.kernels.device import CENTRES, DeviceRows, Tensor, block_rows, fetch, read_stored, send, stored_dtype
from poolwise.kernels.distances import CANCELLED
from poolwise.kernels.envelope import Envelope, refuse_overflow
from poolwise.kernels.points import PAIR_VALUES, SAME, Points
from poolwise.kernels.vectors import GradientVectors, PlainVectors, Vectors, head_of
from poolwise.types import FloatArray, Rows


def envelope_of(vectors: Vectors) -> Envelope:
    """Make the envelope of some vectors, on the device in force where it can be; with `topk` it cannot."""
    if backend.device() is None:
        return Envelope(vectors)
    if isinstance(vectors, PlainVectors) or (isinstance(vectors, GradientVectors) and vectors.topk is None):
        return DeviceEnvelope(vectors)
    return Envelope(vectors)


@dataclass(frozen=True, slots=True)
class There:
    """`Points` on the device: h (n, D), sq (n,), and for gradients e (n, C) and top (n,) or None."""

    h: Tensor
    sq: Tensor
    e: Tensor = None
    top: Tensor = None
    bias: float = 0.0


class DeviceEnvelope(Envelope):
    """An `Envelope` whose rows are on the device in force, if they fit there."""

    def __init__(self, vectors: PlainVectors | GradientVectors) -> None:
        super().__init__(vectors)
        backend.used("D2 distances")
        torch = backend.torch()
        plain = isinstance(vectors, PlainVectors)
        self.factors = _Plain(vectors) if isinstance(vectors, PlainVectors) else _Gradients(vectors)
        self.sq = torch.empty(len(vectors), dtype=torch.float32, device=backend.device())
        self.top = None if plain else torch.empty(len(vectors), dtype=torch.int64, device=backend.device())

    def measured(self, first: Points | None) -> Iterator[tuple[int, FloatArray, FloatArray | None]]:
        """Read all rows, and keep their squared lengths and predicted classes."""
        centres = None if first is None else _sent(first)
        near = self.sq.new_empty(0 if centres is None else len(self.sq))
        for here, rows in self.factors.blocks():
            self.sq[here] = rows.sq
            if self.top is not None:
                self.top[here] = rows.top
            if centres is not None:
                near[here] = nearest_sq(rows, centres)
        self.vectors.sq[:] = fetch(self.sq)
        refuse_overflow(self.vectors.sq)
        if isinstance(self.vectors, GradientVectors) and self.top is not None:
            self.vectors.top[:] = fetch(self.top)
        yield 0, self.vectors.sq, None if centres is None else fetch(near)

    def compared(self, centres: Points) -> Iterator[tuple[int, FloatArray]]:
        """Read all rows again, and compare them with some centres."""
        there, near = _sent(centres), self.sq.new_empty(len(self.sq))
        for here, rows in self.factors.blocks(known=(self.sq, self.top)):
            near[here] = nearest_sq(rows, there)
        yield 0, fetch(near)


class _Plain:
    """Rows as they are, less their common offset."""

    def __init__(self, vectors: PlainVectors) -> None:
        rows, origin = vectors.rows, None if vectors.origin is None else send(vectors.origin)
        shape = (len(vectors), vectors.width)
        self.h = DeviceRows(
            lambda pos: read_stored(rows, vectors.indices[pos]),
            shape,
            stored_dtype(rows) or np.dtype(np.float32),
            None if origin is None else lambda x: x - origin,
            ahead=not isinstance(rows, Computed),
        )

    def blocks(self, known: tuple[Tensor, Tensor] | None = None) -> Iterator[tuple[slice, There]]:
        """Stream all rows; `known` holds their squared lengths."""
        for here, h in self.h.blocks():
            yield here, There(h, (h * h).sum(dim=1) if known is None else known[0][here])


class _Gradients:
    """Embeddings and class probabilities; with a head, the latter are computed on the device from the former."""

    def __init__(self, vectors: GradientVectors) -> None:
        self.bias = vectors.bias
        self.head = head_of(vectors.probs, vectors.embeddings)
        softmax = isinstance(vectors.probs, Softmax) and not isinstance(vectors.probs.logits, Computed)
        probs = vectors.probs.logits if softmax and isinstance(vectors.probs, Softmax) else vectors.probs
        widest = max(int(vectors.embeddings.shape[1]), int(vectors.probs.shape[1]))
        step = block_rows(4 * widest)

        def there(rows: Rows, finish: Any = None) -> DeviceRows:
            return DeviceRows(
                lambda pos: read_stored(rows, vectors.indices[pos]),
                (len(vectors), int(rows.shape[1])),
                stored_dtype(rows) or np.dtype(np.float32),
                finish,
                ahead=not isinstance(rows, Computed),
                step=step,
            )

        self.h = there(vectors.embeddings)
        self.p = None if self.head else there(probs, (lambda z: z.softmax(dim=1)) if softmax else None)

    def blocks(self, known: tuple[Tensor, Tensor] | None = None) -> Iterator[tuple[slice, There]]:
        """Stream all rows; `known` holds their squared lengths and predicted classes."""
        embeddings = self.h.blocks()
        pairs = (
            ((block, None) for block in embeddings) if self.p is None else zip(embeddings, self.p.blocks(), strict=True)
        )
        for (here, h), beside in pairs:
            p = beside[1] if beside is not None else self.head.there(h).softmax(dim=1)  # type: ignore[union-attr]
            if known is not None:
                yield here, There(h, known[0][here], p, known[1][here], self.bias)
                continue
            top = p.argmax(dim=1)
            yield here, There(h, _sq_residuals(p, top) * ((h * h).sum(dim=1) + self.bias), p, top, self.bias)


def nearest_sq(a: There, b: There) -> Tensor:
    """Squared distance from each a_i to the nearest b_j, (n,), a chunk of the b at a time."""
    best = None
    for start in range(0, len(b.sq), CENTRES):
        part = slice(start, start + CENTRES)
        some = There(b.h[part], b.sq[part], None if b.e is None else b.e[part], None, b.bias)
        near = _sq_distances(a, some).amin(dim=1)
        best = near if best is None else backend.torch().minimum(best, near)
    return best


def _sq_distances(a: There, b: There) -> Tensor:
    """|a_i - b_j|^2, (n, m), as `points.sq_distances`."""
    inner = a.h @ b.h.T
    if a.e is not None:
        if a.bias:
            inner += a.bias
        inner *= (a.e @ b.e.T).sub_(b.e.T.index_select(0, a.top))
    scale = a.sq[:, None] + b.sq
    out = scale - 2 * inner
    low = (out < CANCELLED * scale).nonzero()  # (pairs, 2)
    step = max(1, 16 * PAIR_VALUES // a.h.shape[1])
    for start in range(0, len(low), step):
        i, j = low[start : start + step].unbind(dim=1)
        out[i, j] = _direct(a, b, i, j).to(out.dtype)
    return out


def _direct(a: There, b: There, i: Tensor, j: Tensor) -> Tensor:
    """|a_i - b_j|^2 of some pairs in float64: g - g' = (e - e') (x) h + e' (x) (h - h')."""
    h = a.h[i].double()
    h_step = b.h[j].double() - h
    d2 = (h_step * h_step).sum(dim=1)
    if a.e is not None:
        e, e_other = a.e[i].double(), b.e[j].double()
        e[backend.torch().arange(len(e), device=e.device), a.top[i]] -= 1
        e -= e_other
        cross = (e * e_other).sum(dim=1) * (h_step * h).sum(dim=1)
        d2 *= (e_other * e_other).sum(dim=1)
        d2 += (e * e).sum(dim=1) * ((h * h).sum(dim=1) + a.bias) - 2 * cross
    return d2.where(d2 > SAME * (a.sq[i].double() + b.sq[j].double()), 0.0)


def _sq_residuals(p: Tensor, top: Tensor) -> Tensor:
    """|p_i - onehot(top_i)|^2; for confident rows without the difference of two numbers near 1."""
    p_top = p.gather(1, top[:, None])[:, 0]
    sq = (p * p).sum(dim=1) - p_top * p_top + (1 - p_top) ** 2
    confident = (sq < CANCELLED).nonzero()[:, 0]
    rest = p[confident]
    rest[backend.torch().arange(len(rest), device=rest.device), top[confident]] -= 1
    sq[confident] = (rest * rest).sum(dim=1)
    return sq


def _sent(points: Points) -> There:
    """Copy complete points to the device."""
    e = None if points.e is None else send(points.e)
    return There(send(points.h), send(points.sq), e, None, points.bias)
