"""Members of an ensemble are independent fits, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError, OptionError
from poolwise.train.ensembles import ensemble_samples, fit_bootstrap, fit_ensemble, fit_members
from poolwise.train.linear_probe import bootstrap_heads, fit_linear
from poolwise.train.networks import TrainSettings


def blobs(seed: int = 0, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    y[:3] = np.arange(3)
    return (2 * np.eye(3)[y] + 0.7 * rng.normal(size=(n, 3))).astype(np.float32), y


def test_bootstrap_heads_differ_as_refitting_on_reweighted_rows_does() -> None:
    """With labels that a head cannot separate, the spread of a head's mean logit difference has a known size.

    Without features a head is its biases, log of the class shares; under exponential weights the log odds of two
    classes with a rows each have the variance of a difference of log Gamma(a), 2 psi'(a).
    """
    from scipy.special import polygamma

    a = 12
    x, y = np.zeros((2 * a, 2), dtype=np.float32), np.repeat([0, 1], a)
    _, biases = bootstrap_heads(x, y, 2, count=4000)
    odds = (biases[:, 0] - biases[:, 1]) * fit_linear(x, y, 2).temperature
    assert odds.mean() == pytest.approx(0, abs=0.03)
    assert odds.var() == pytest.approx(2 * polygamma(1, a), rel=0.08)


def test_the_first_heads_are_the_same_however_many_are_drawn() -> None:
    x, y = blobs()
    few, many = bootstrap_heads(x, y, 3, count=3, seed=5), bootstrap_heads(x, y, 3, count=9, seed=5)
    assert np.allclose(few[0], many[0][:3], atol=1e-5) and np.allclose(few[1], many[1][:3], atol=1e-5)


def test_bootstrap_keeps_classes_with_one_label_and_classes_without() -> None:
    x, y = blobs()
    keep = np.concatenate([np.flatnonzero(y == 0)[:10], np.flatnonzero(y == 1)[:1]])
    got = fit_bootstrap(x[keep], y[keep], 4, x, samples=6)[slice(0, None)]
    assert np.isfinite(got).all() and got.sum(axis=2) == pytest.approx(1)
    assert got[y == 1, :, 1].mean() > got[y == 0, :, 1].mean() and not (got.argmax(axis=2) >= 2).any()
    one = fit_bootstrap(x[:3], np.array([1, 1, 1]), 3, x, samples=2)[slice(0, None)]
    assert (one.argmax(axis=2) == 1).all()
    with pytest.raises(OptionError, match="samples"):
        fit_bootstrap(x, y, 3, x, samples=0)
    with pytest.raises(InputError, match="labeled row"):
        fit_bootstrap(x[:0], y[:0], 3, x)


def test_head_ensembles_are_reproducible_and_their_members_differ() -> None:
    pytest.importorskip("torch")
    x, y = blobs()
    rows = fit_ensemble(x[:40], y[:40], 3, x, samples=4, seed=2, hidden=8)
    again = fit_ensemble(x[:40], y[:40], 3, x, samples=4, seed=2, hidden=8)
    got = rows[:]
    assert np.array_equal(got, again[:]) and rows.digest == again.digest
    assert (got[40:].mean(axis=1).argmax(axis=1) == y[40:]).mean() > 0.75
    for a in range(4):
        for b in range(a):
            assert np.abs(got[:, a] - got[:, b]).max() > 1e-3
    assert np.array_equal(rows[10:13], got[10:13])
    few = fit_ensemble(x[:40], y[:40], 3, x, samples=2, seed=2, hidden=8)[:]
    assert np.array_equal(few, got[:, :2])


def test_an_ensemble_of_networks_on_images_is_trained_member_by_member() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 30)
    x = (rng.normal(size=(30, 1, 4, 4)) + y[:, None, None, None]).astype(np.float32)

    def make():
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))

    settings = TrainSettings(epochs=8, min_steps=1, train_batch_size=29, learning_rate=0.02)  # 29: would leave one row
    state = torch.random.get_rng_state()
    members = fit_members(make, x, np.arange(30), y, size=3, seed=1, settings=settings)
    assert torch.equal(state, torch.random.get_rng_state())
    again = fit_members(make, x, np.arange(30), y, size=3, seed=1, settings=settings)
    for first, second in zip(members, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    got = ensemble_samples(members, x)[:]
    with torch.no_grad():
        expected = [member.eval()(torch.tensor(x)).softmax(dim=1).numpy() for member in members]
    assert got == pytest.approx(np.stack(expected, axis=1), abs=1e-6)
    with pytest.raises(OptionError, match="at least 2 members"):
        ensemble_samples(members[:1], x)
