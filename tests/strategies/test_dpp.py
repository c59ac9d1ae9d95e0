"""Facts particular to the multi-criteria DPP; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError
from poolwise.strategies import dpp as module


def pool(seed: int = 0, n: int = 80, d: int = 6, c: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"embeddings": rng.normal(size=(n, d)), "head_weight": rng.normal(size=(c, d))}


def log_det(x: np.ndarray) -> float:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.linalg.slogdet(unit @ unit.T)[1])


@pytest.mark.parametrize("mode", ["map", "sample", "best_of"])
def test_the_hardest_item_is_always_taken_first(mode: str) -> None:
    arrays = pool()
    hardest = pw.select("entropy", batch_size=1, **arrays).indices[0]
    for seed in range(3):
        got = pw.select("dpp", batch_size=6, mode=mode, seed=seed, **arrays).indices
        assert got[0] == hardest and len(set(got.tolist())) == 6


def test_components_multiply_to_the_quality() -> None:
    got = pw.select("dpp", batch_size=10, alpha=2.0, beta=0.5, **pool()).components
    expected = np.maximum(got["informativeness"], 1e-3) ** 2 * np.maximum(got["representativeness"], 1e-3) ** 0.5
    assert got["quality"] == pytest.approx(expected)
    assert got["informativeness"].max() <= 1 and got["representativeness"].max() <= 1


def test_without_powers_only_dissimilarity_counts() -> None:
    arrays = pool(1)
    got = pw.select("dpp", batch_size=5, alpha=0.0, beta=0.0, hardest=False, kernel="linear", **arrays)
    assert got.components["quality"] == pytest.approx(1)
    random = [log_det(arrays["embeddings"][np.random.default_rng(s).choice(80, 5, replace=False)]) for s in range(200)]
    assert log_det(arrays["embeddings"][got.indices]) > np.quantile(random, 0.99)


def test_orthogonal_items_are_taken_by_quality() -> None:
    p = np.linspace(0.5, 0.95, 12)
    probs = np.column_stack([p, 1 - p])
    got = pw.select(
        "dpp", batch_size=5, embeddings=np.eye(12), probs=probs, kernel="linear", beta=0.0, hardest=False
    ).indices
    assert got.tolist() == [0, 1, 2, 3, 4]


def test_copies_are_not_taken_while_others_are_left() -> None:
    arrays = pool(2, n=10)
    arrays["embeddings"] = np.tile(arrays["embeddings"], (3, 1))
    got = pw.select("dpp", batch_size=10, **arrays).indices
    assert sorted(got % 10) == list(range(10))


def test_labeled_items_repel_only_when_asked() -> None:
    arrays = pool(3)
    free = pw.select("dpp", batch_size=8, **arrays).indices
    second = int(free[1])
    x = np.vstack([arrays["embeddings"], arrays["embeddings"][second]])
    labels = np.r_[np.full(80, -1), 0]
    given = {"embeddings": x, "head_weight": arrays["head_weight"], "labels": labels, "batch_size": 8}
    assert second in pw.select("dpp", **given).indices
    assert second not in pw.select("dpp", condition_on_labeled=True, **given).indices


def test_best_of_draws_is_at_least_as_informative_as_one() -> None:
    arrays = pool(4)
    one = pw.select("dpp", batch_size=6, mode="sample", **arrays).components["informativeness"].sum()
    best = pw.select("dpp", batch_size=6, mode="best_of", **arrays).components["informativeness"].sum()
    assert best >= one


def test_drawn_sets_cannot_exceed_the_rank_but_greedy_ones_can() -> None:
    arrays = pool(5)
    with pytest.raises(InputError, match="rank"):
        pw.select("dpp", batch_size=20, mode="sample", kernel="linear", **arrays)
    assert len(pw.select("dpp", batch_size=20, mode="map", kernel="linear", **arrays)) == 20


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"delta": 0.0}, {"draws": 0}])
def test_refuses_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="dpp"):
        pw.select("dpp", batch_size=2, **options, **pool())


def test_the_scale_of_the_features_changes_nothing_even_where_squares_vanish() -> None:
    arrays = pool(6)
    expected = pw.select("dpp", batch_size=6, probs=np.full((80, 2), 0.5), embeddings=arrays["embeddings"]).indices
    scaled = pw.select("dpp", batch_size=6, probs=np.full((80, 2), 0.5), embeddings=arrays["embeddings"] * 1e6).indices
    assert scaled.tolist() == expected.tolist()
    assert (
        len(pw.select("dpp", batch_size=6, embeddings=arrays["embeddings"] * 1e-160, probs=np.full((80, 2), 0.5))) == 6
    )


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("hardest", [False, True])
def test_batch_is_the_greedy_one_of_the_dense_kernel(
    kernel: str, hardest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L = diag(q) K diag(q) + 1e-6 mean(q^2) I over all items, determinants from scratch; rank 6, batch 10."""
    monkeypatch.setattr(module, "_gamma", lambda *_: 0.1)
    arrays = pool(7, n=60)
    whole = pw.select("dpp", batch_size=60, kernel=kernel, hardest=False, **arrays)
    back = np.argsort(whole.indices)
    # k-means has max(B, 10) clusters, so qualities of another batch size differ: take them from one of the same size
    monkeypatch.setattr(module, "_representativeness", lambda *_: whole.components["representativeness"][back])
    got = pw.select("dpp", batch_size=10, kernel=kernel, hardest=hardest, **arrays)
    q = whole.components["quality"][back]
    x = arrays["embeddings"]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = unit @ unit.T if kernel == "linear" else np.exp(-0.1 * np.square(x[:, None] - x[None]).sum(axis=2))
    dense = q[:, None] * similarity * q + 1e-6 * np.square(q).mean() * np.eye(60)
    chosen = [int(whole.components["informativeness"][back].argmax())] if hardest else []
    values = [np.log(dense[chosen[0], chosen[0]])] if hardest else []
    while len(chosen) < 10:
        gain = {
            i: np.linalg.slogdet(dense[np.ix_([*chosen, i], [*chosen, i])])[1] for i in range(60) if i not in chosen
        }
        chosen.append(max(gain, key=lambda i: gain[i]))
        values.append(gain[chosen[-1]])
    assert got.indices.tolist() == chosen
    assert np.cumsum(np.asarray(got.scores, dtype=np.float64)) == pytest.approx(values, rel=1e-5)
    if not hardest:
        assert (np.diff(got.scores) <= 1e-5).all()
