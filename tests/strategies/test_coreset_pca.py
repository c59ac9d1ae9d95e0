"""Facts particular to core-set on principal components."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.kernels.projection import PrincipalRows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 12)) * np.linspace(3, 0.1, 12) + 50


def test_projection_keeps_what_a_singular_value_decomposition_keeps() -> None:
    rows = PrincipalRows(X, np.arange(80), 4)
    moved = X - X.mean(axis=0)
    _, sizes, axes = np.linalg.svd(moved, full_matrices=False)
    np.testing.assert_allclose(np.abs(rows[np.arange(80)]), np.abs(moved @ axes[:4].T), atol=1e-9)
    assert rows.kept_variance == pytest.approx((sizes[:4] ** 2).sum() / (sizes**2).sum())
    assert PrincipalRows(np.ones((5, 3)), np.arange(5), 2).kept_variance == 1.0


def test_equals_farthest_first_on_the_projected_rows() -> None:
    moved = X - X.mean(axis=0)
    z = moved @ np.linalg.svd(moved, full_matrices=False)[2][:3].T
    chosen = [0]
    for _ in range(6):
        gaps = [min(np.linalg.norm(z[i] - z[j]) for j in chosen) for i in range(80)]
        chosen.append(int(np.argmax(gaps)))
    batch = pw.select("coreset_pca", embeddings=X, labeled=[0], batch_size=6, components=3)
    assert batch.indices.tolist() == chosen[1:]


def test_with_enough_components_it_is_coreset() -> None:
    plain = pw.select("coreset", embeddings=X, batch_size=9)
    assert pw.select("coreset_pca", embeddings=X, batch_size=9).indices.tolist() == plain.indices.tolist()
    with pytest.raises(OptionError, match="at least 1"):
        pw.select("coreset_pca", embeddings=X, batch_size=9, components=0)
