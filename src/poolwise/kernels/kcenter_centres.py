"""The centres of k-center: labeled rows, and then the picks, in the order in which they count."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import as_key, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.kcenter_frame import CHUNK, Frame
from poolwise.types import FloatArray, IndexArray, Rows


class Centres:
    """Labeled and picked rows in the frame, in the order in which they count.

    ids : pool indices; x : (t, D) float32; sq_norm : (t,) float32; sketch : (t, k + 1) float32 or None
    """

    def __init__(self, frame: Frame, width: int, capacity: int) -> None:
        self.frame, self.capacity = frame, capacity
        self.count = 0
        self._ids = np.empty(capacity, dtype=np.int64)
        self._x = np.empty((capacity, width), dtype=np.float32)
        self._sq_norm = np.empty(capacity, dtype=np.float32)
        self._reached = np.empty(capacity)
        k = 0 if frame.basis is None else frame.basis.shape[1] + 3
        self._probe = np.empty((capacity, k), dtype=np.float32)

    def __len__(self) -> int:
        return self.count

    @property
    def ids(self) -> IndexArray:
        return self._ids[: self.count]

    @property
    def x(self) -> FloatArray:
        return self._x[: self.count]

    @property
    def sq_norm(self) -> FloatArray:
        return self._sq_norm[: self.count]

    @property
    def reached(self) -> FloatArray:
        """Upper bound of the squared distance to the earlier centres; +inf where it is not known."""
        return self._reached[: self.count]

    @property
    def probe(self) -> FloatArray:
        """(t, k + 3): the product of [sketch, 1, a] with [-2 sketch, |sketch|^2, 1] is the bound, shifted by a."""
        return self._probe[: self.count]

    def append(self, ids: IndexArray, x: FloatArray, sq_norm: FloatArray, reached: FloatArray | float = np.inf) -> None:
        """Add placed rows; `reached` is their squared distance to the earlier centres, at most."""
        here = slice(self.count, self.count + len(ids))
        self._ids[here], self._x[here], self._sq_norm[here], self._reached[here] = ids, x, sq_norm, reached
        if self.frame.basis is not None:
            sketch = self.frame.sketch(np.ascontiguousarray(x), sq_norm)
            self._probe[here, :-2] = -2 * sketch
            self._probe[here, -2] = sq_norms(sketch)
            self._probe[here, -1] = 1
        self.count += len(ids)


def labeled_centres(rows: Rows, labeled: IndexArray, frame: Frame, capacity: int) -> Centres:
    """Begin a list of at most `capacity` centres with the labeled rows."""
    centres = Centres(frame, rows.shape[1], capacity)
    for start in range(0, len(labeled), CHUNK):
        ids = labeled[start : start + CHUNK]
        x = frame.place(read_rows(rows, as_key(ids), frame.origin.dtype))
        centres.append(ids, x, sq_norms(x))
    return centres
