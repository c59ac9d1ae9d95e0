"""Facts particular to BASE; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError
from poolwise.kernels import blocks


def dense(logits: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Distance of every row to every class, one pair at a time."""
    out = np.empty_like(logits)
    for i, z in enumerate(logits):
        k = int(np.argmax(z))
        for c in range(len(z)):
            gap = np.linalg.norm(weight[k] - weight[c])
            out[i, c] = np.inf if c == k or gap == 0 else (z[k] - z[c]) / gap
        out[i, k] = out[i].min()
    return out


def textbook(distances: np.ndarray, free: list[int], batch_size: int, *, draft: bool = False) -> list[int]:
    """Section 3.6: each class in ascending order takes its quota of the closest rows not yet taken."""
    n_classes = distances.shape[1]
    quota = [batch_size // n_classes + (c < batch_size % n_classes) for c in range(n_classes)]
    if draft:
        turns = [c for lap in range(max(quota)) for c in range(n_classes) if quota[c] > lap]
    else:
        turns = [c for c in range(n_classes) for _ in range(quota[c])]
    batch: list[int] = []
    for c in turns:
        batch.append(min((i for i in free if i not in batch), key=lambda i: (distances[i, c], i)))
    return batch


def problem(seed: int, n: int = 240, d: int = 5, c: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "embeddings": rng.normal(size=(n, d)),
        "head_weight": rng.normal(size=(c, d)),
        "head_bias": rng.normal(size=c),
    }


def distances_of(p: dict[str, np.ndarray]) -> np.ndarray:
    return dense(p["embeddings"] @ p["head_weight"].T + p["head_bias"], p["head_weight"])


@pytest.mark.parametrize("batch_size", [1, 5, 8, 43, 150, 232])
@pytest.mark.parametrize("order", ["ascending", "draft"])
def test_equals_the_dense_textbook_selection(batch_size: int, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", 32)
    p = problem(batch_size)
    labeled = np.arange(0, 240, 30)
    free = np.setdiff1d(np.arange(240), labeled).tolist()
    got = pw.select("base", labeled=labeled, batch_size=batch_size, order=order, **p)
    assert got.indices.tolist() == textbook(distances_of(p), free, batch_size, draft=order == "draft")


def test_duplicated_rows_and_equal_class_weights_equal_the_textbook() -> None:
    p = problem(0, n=40)
    p["embeddings"] = np.repeat(np.round(p["embeddings"], 1), 6, axis=0)
    p["head_weight"][3] = p["head_weight"][6]
    got = pw.select("base", batch_size=70, **p)
    assert got.indices.tolist() == textbook(distances_of(p), list(range(240)), 70)
    assert got.notes["equal_class_pairs"] == 1


def test_a_list_that_is_used_up_costs_another_pass_and_changes_nothing() -> None:
    """All classes want the same few rows, those nearest to one boundary, so later lists run out."""
    rng = np.random.default_rng(5)
    x = np.c_[rng.uniform(0, 1, 1000), rng.normal(size=1000)]
    p = {"embeddings": x, "head_weight": np.c_[np.arange(12.0), np.zeros(12)], "head_bias": np.zeros(12)}
    got = pw.select("base", batch_size=120, **p)
    assert got.notes["passes"] > 1
    assert got.indices.tolist() == textbook(dense(x @ p["head_weight"].T, p["head_weight"]), list(range(1000)), 120)


def test_explains_each_pick() -> None:
    p = problem(1)
    got = pw.select("base", batch_size=16, **p)
    distances, logits = distances_of(p), p["embeddings"] @ p["head_weight"].T + p["head_bias"]
    slot, predicted = got.components["slot"], got.components["predicted"]
    assert np.bincount(slot, minlength=8).tolist() == [2] * 8
    assert np.array_equal(predicted, logits[got.indices].argmax(axis=1))
    np.testing.assert_allclose(got.components["distance"], distances[got.indices, slot], rtol=1e-9)
    nearest = np.where(np.arange(8) == predicted[:, None], np.inf, distances[got.indices])
    assert np.array_equal(got.components["rival"], nearest.argmin(axis=1))


@pytest.mark.parametrize("name", ["base", "mase"])
def test_does_not_change_with_shift_scale_and_rotation_of_the_head(name: str) -> None:
    """Acceptance check A3: one vector added to all class weights, a positive scale, a rotation of the space."""
    p, rng = problem(2), np.random.default_rng(9)
    expected = pw.select(name, batch_size=40, **p)
    shift = p | {"head_weight": p["head_weight"] + rng.normal(size=5), "head_bias": p["head_bias"] + 3}
    scale = p | {"head_weight": 7 * p["head_weight"], "head_bias": 7 * p["head_bias"]}
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    rotation = p | {"embeddings": p["embeddings"] @ turn, "head_weight": p["head_weight"] @ turn}
    for other in (shift, scale, rotation):
        got = pw.select(name, batch_size=40, **other)
        assert got.indices.tolist() == expected.indices.tolist()
        np.testing.assert_allclose(got.components["distance"], expected.components["distance"], rtol=1e-6, atol=1e-9)


def test_two_classes_make_margin_mase_confidence_and_base_agree() -> None:
    p = problem(3, c=2)
    batches = [set(pw.select(n, batch_size=30, **p).indices.tolist()) for n in ("margin", "least_confidence", "mase")]
    assert batches[0] == batches[1] == batches[2] == set(pw.select("base", batch_size=30, **p).indices.tolist())


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_logits_of_any_size_with_a_common_offset_keep_the_order_of_float64(scale: float) -> None:
    """An offset shared by all classes hides the differences from float32."""
    p = problem(4)
    p["head_weight"], p["head_bias"] = p["head_weight"] * scale, p["head_bias"] * scale + 1e4 * scale
    assert pw.select("base", batch_size=50, **p).indices.tolist() == textbook(distances_of(p), list(range(240)), 50)


def test_expected_quotas_give_more_to_classes_with_fewer_labels() -> None:
    p = problem(6, n=600)
    logits = p["embeddings"] @ p["head_weight"].T + p["head_bias"]
    truth = logits.argmax(axis=1)
    rich = np.flatnonzero(truth == np.bincount(truth).argmax())[:60]
    labels = np.full(600, -1)
    labels[rich] = truth[rich]
    slots = pw.select("base", labels=labels, batch_size=70, quota="expected", **p).components["slot"]
    counts = np.bincount(slots, minlength=8)
    assert counts[truth[rich[0]]] == 0 and counts.sum() == 70 and counts.max() == 10


def test_expected_quotas_without_labels_say_what_to_do() -> None:
    with pytest.raises(ArrayMissingError, match="quota='equal'"):
        pw.select("base", batch_size=3, quota="expected", **problem(0))


def test_rotation_follows_the_seed_and_reaches_every_first_class() -> None:
    firsts = {
        int(pw.select("base", batch_size=1, order="rotate", seed=seed, **problem(0)).components["slot"][0])
        for seed in range(60)
    }
    assert firsts == set(range(8))
