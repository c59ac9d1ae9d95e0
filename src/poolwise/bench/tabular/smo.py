"""A small dual solver for support vector machines with a target for each constraint.

Source: Fan, Chen & Lin, "Working Set Selection Using Second Order Information for Training Support Vector Machines",
JMLR 6, 2005 (working set selection 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolwise.types import IndexArray

Floats = NDArray[np.float64]
MAX_STEPS = 100_000


def solve_machine(
    kernel: Floats, rows: IndexArray, signs: Floats, targets: Floats, caps: Floats, tolerance: float = 1e-3
) -> tuple[Floats, float]:
    """Minimise |w|^2 / 2 + sum_k caps_k * max(0, targets_k - signs_k * f(rows_k)), f = w . phi + bias.

    Parameters
    ----------
    kernel : (m, m) positive semi-definite
    rows : (n,) int64, the kernel row of each constraint; a row may have several
    signs : (n,) -1 or +1, both present
    targets, caps : (n,); targets of 1 and one constraint a row give the ordinary machine
    tolerance : largest violation of the optimality conditions at the end

    Returns
    -------
    (m,) weights of the kernel rows and the bias: f = kernel @ weights + bias.

    Notes
    -----
    Two variables a step, O(n + m) each; stops at the tolerance or after 100,000 steps.
    """
    alpha = np.zeros(len(rows))
    weights, f = np.zeros(len(kernel)), np.zeros(len(kernel))
    wanted = signs * targets  # value of f at which each constraint is met exactly
    diagonal = np.diag(kernel)
    up, low = signs > 0, signs < 0
    high = low_value = 0.0
    for _ in range(MAX_STEPS):
        value = wanted - f[rows]
        i = int(np.where(up, value, -np.inf).argmax())
        high, low_value = value[i], np.where(low, value, np.inf).min()
        if high - low_value < tolerance:
            break
        gain = high - value
        bend = np.maximum(diagonal[rows[i]] + diagonal[rows] - 2 * kernel[rows[i], rows], 1e-12)
        j = int(np.where(low & (gain > 0), gain**2 / bend, -np.inf).argmax())
        grows = {i: signs[i] > 0, j: signs[j] < 0}
        room = {k: caps[k] - alpha[k] if grows[k] else alpha[k] for k in (i, j)}
        step = min(gain[j] / bend[j], room[i], room[j])
        for k in (i, j):
            if step == room[k]:
                alpha[k] = caps[k] if grows[k] else 0.0  # exactly at its bound
            else:
                alpha[k] += step if grows[k] else -step
        weights[rows[i]] += step
        weights[rows[j]] -= step
        f += step * (kernel[rows[i]] - kernel[rows[j]])
        for k in (i, j):
            up[k] = alpha[k] < caps[k] if signs[k] > 0 else alpha[k] > 0
            low[k] = alpha[k] > 0 if signs[k] > 0 else alpha[k] < caps[k]
    free = (alpha > 0) & (alpha < caps)
    bias = value[free].mean() if free.any() else (high + low_value) / 2
    return weights, float(bias)
