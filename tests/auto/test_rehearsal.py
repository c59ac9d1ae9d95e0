"""Whatever a rehearsal says of an item is said of that item, by its pool index."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.auto import autoal, rehearsal
from poolwise.auto.nominations import situation
from poolwise.train.linear_probe import FIRST_STRENGTH, ProbeSettings, fit_linear

NAMES = ("margin", "coreset", "random")


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and labeled items that lie anywhere in the pool."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(3), rng.integers(0, 3, 197)])
    x = (2 * rng.normal(size=(3, 4))[y] + rng.normal(size=(200, 4))).astype(np.float32)
    return x, y, np.sort(rng.permutation(200)[:60])


@pytest.mark.parametrize("seed", range(3))
def test_grades_probabilities_losses_and_features_are_those_of_the_item(seed: int) -> None:
    x, y, labeled = world(seed)
    labels = np.full(200, -1)
    labels[labeled] = y[labeled]
    now = situation(labeled, np.setdiff1d(np.arange(200), labeled), labels, embeddings=x)
    for one in rehearsal.rehearse(now, NAMES, 2, np.random.default_rng(seed)):
        assert set(one.rows.tolist()) | set(one.known.tolist()) < set(labeled.tolist())
        assert not set(one.rows.tolist()) & set(one.known.tolist())
        head = fit_linear(
            x[one.known], y[one.known], 3, settings=ProbeSettings(strength=FIRST_STRENGTH, calibrate=False)
        )
        p = head.probs(x[one.rows])
        np.testing.assert_allclose(one.probs, p, rtol=1e-5)
        np.testing.assert_allclose(one.surprise, [-np.log(p[i, y[j]]) for i, j in enumerate(one.rows)], rtol=1e-4)
        top = np.sort(p, axis=1)
        doubt = 1 - top[:, -1] + top[:, -2]
        best = np.argsort(-doubt, kind="stable")[: one.quota]
        np.testing.assert_allclose(one.grades[best, 0], np.linspace(1, 0.5, one.quota))
        assert (one.grades > 0).sum(axis=0).tolist() == [one.quota] * 3
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        gap = ((unit[one.rows][:, None] - unit[one.known]) ** 2).sum(axis=2).min(axis=1)
        features = autoal._of_items(one.probs, x, one.rows, one.known)
        assert np.argsort(features[:, 3]).tolist() == np.argsort(gap, kind="stable").tolist()
        np.testing.assert_allclose(features[:, 1], doubt, rtol=1e-4)


def test_labels_of_items_that_are_offered_are_hidden_from_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, labeled = world(0)
    labels = np.full(200, -1)
    labels[labeled] = y[labeled]
    seen = []
    run = rehearsal.nominate

    def watched(then, names, count, seed):  # type: ignore[no-untyped-def]
        seen.append(then)
        return run(then, names, count, seed)

    monkeypatch.setattr(rehearsal, "nominate", watched)
    now = situation(labeled, np.setdiff1d(np.arange(200), labeled), labels, embeddings=x)
    rehearsal.rehearse(now, NAMES, 3, np.random.default_rng(0))
    assert len(seen) == 3
    for then in seen:
        assert (then.labels[then.unlabeled] == -1).all() and (then.labels >= 0).sum() == len(then.labeled)
        assert set(then.unlabeled.tolist()) | set(then.labeled.tolist()) < set(labeled.tolist())
