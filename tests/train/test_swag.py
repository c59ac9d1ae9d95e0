"""SWAG's Gaussian has the moments of the iterates, and what is drawn from it has the moments of the Gaussian."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.train.swag import Moments, collect_moments, fit_swag, recompute_statistics, swag_samples, weights_of

torch = pytest.importorskip("torch")
nn = torch.nn


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def walk(n: int, rank: int, seed: int = 0):
    """A linear network whose weights take a random walk, the moments of it, and all iterates."""
    rng = np.random.default_rng(seed)
    net = nn.Linear(2, 3).double()
    moments, iterates = Moments(rank), []
    for _ in range(n):
        with torch.no_grad():
            for weight in net.parameters():
                weight += torch.tensor(rng.normal(size=tuple(weight.shape)))
        moments.collect(net)
        iterates.append(np.concatenate([weight.detach().numpy().ravel().copy() for weight in net.parameters()]))
    return net, moments, np.stack(iterates)


def test_moments_are_those_of_all_iterates() -> None:
    _, moments, iterates = walk(17, rank=5)
    assert moments.count == 17
    assert moments.mean == pytest.approx(iterates.mean(axis=0), rel=1e-12)
    assert moments.variance == pytest.approx(iterates.var(axis=0), rel=1e-9)
    assert len(moments.deviations) == 5
    for age, deviation in enumerate(reversed(moments.deviations)):
        last = 17 - age
        assert deviation == pytest.approx(iterates[last - 1] - iterates[:last].mean(axis=0), rel=1e-5, abs=1e-5)


def test_draws_have_the_covariance_of_algorithm_1() -> None:
    _, moments, _ = walk(9, rank=4)
    d = np.stack(list(moments.deviations)).astype(np.float64)
    expected = np.diag(moments.variance) / 2 + d.T @ d / (2 * (4 - 1))
    rng = np.random.default_rng(0)
    drawn = np.stack([moments.draw(1.0, rng) for _ in range(40_000)])
    assert drawn.mean(axis=0) == pytest.approx(moments.mean, abs=0.1)
    error = np.cov(drawn.T) - expected
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(expected)
    wide = np.stack([moments.draw(4.0, np.random.default_rng(s)) - moments.mean for s in range(3)])
    narrow = np.stack([moments.draw(1.0, np.random.default_rng(s)) - moments.mean for s in range(3)])
    assert wide == pytest.approx(2 * narrow)


def test_without_spread_every_sample_is_the_mean_network() -> None:
    net, moments, _ = walk(6, rank=3)
    x = np.random.default_rng(1).normal(size=(8, 2))
    weight, bias = moments.mean[:6].reshape(3, 2), moments.mean[6:]
    got = swag_samples(net, moments, x, np.arange(0), samples=3, scale=0.0)[:]
    assert got == pytest.approx(np.repeat(softmax(x @ weight.T + bias)[:, None], 3, axis=1), abs=1e-6)


def test_each_sample_is_one_network_for_all_rows_and_the_network_comes_back_bit_for_bit() -> None:
    net, moments, _ = walk(6, rank=3)
    before = weights_of(net).tobytes()
    x = np.random.default_rng(1).normal(size=(30, 2))
    rows = swag_samples(net, moments, x, np.arange(0), samples=4, seed=7)
    got = rows[:]
    assert weights_of(net).tobytes() == before
    assert np.array_equal(rows[5:9], got[5:9]) and np.array_equal(rows[np.array([20, 3])], got[[20, 3]])
    odds = np.log(got[..., :2] / got[..., 2:])  # linear in x for every single network
    design = np.column_stack([x, np.ones(30)])
    for s in range(4):
        fitted = design @ np.linalg.lstsq(design, odds[:, s], rcond=None)[0]
        assert fitted == pytest.approx(odds[:, s], abs=1e-3)
    assert not np.allclose(got[:, 0], got[:, 1], atol=1e-2)


def test_batch_norm_statistics_are_computed_again_for_every_drawn_network() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    x = np.random.default_rng(0).normal(2, 3, size=(50, 3))
    recompute_statistics(net, x, np.arange(10, 50))
    hidden = x[10:] @ net[0].weight.detach().numpy().T + net[0].bias.detach().numpy()
    assert net[1].running_mean.numpy() == pytest.approx(hidden.mean(axis=0))
    assert net[1].running_var.numpy() == pytest.approx(hidden.var(axis=0, ddof=1))
    assert net[1].momentum == 0.1 and net.training and net[1].training
    with pytest.raises(InputError, match="batch-norm"):
        recompute_statistics(net, x, np.arange(1))


def test_samples_of_a_batch_norm_network_use_their_own_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 3, size=(40, 3)), rng.integers(0, 2, 40)
    moments = collect_moments(net, x, np.arange(40), y, epochs=4, learning_rate=0.05)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    got = swag_samples(net, moments, x, np.arange(40), samples=2, seed=3)[:]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    # The same by hand: draw, set the weights, normalise by the statistics of the rows themselves.
    from poolwise.chance import rng_for

    for s in range(2):
        theta = moments.draw(1.0, rng_for(3, "swag", s))
        w0, b0, scale, shift, w1, b1 = np.split(theta, np.cumsum([12, 4, 4, 4, 8]))
        h = x @ w0.reshape(4, 3).T + b0
        h = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0, ddof=1) + 1e-5) * scale + shift
        z = np.maximum(h, 0) @ w1.reshape(2, 4).T + b1
        assert got[:, s] == pytest.approx(softmax(z), abs=1e-6)


def test_frozen_weights_are_not_drawn() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).double()
    net[0].requires_grad_(False)
    moments = Moments()
    for _ in range(3):
        moments.collect(net)
    assert len(moments.mean) == 8


def test_swag_on_embeddings_learns_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = (500 + 2 * np.eye(3)[y] + 0.5 * rng.normal(size=(90, 3))).astype(np.float32)
    rows = fit_swag(x[:45], y[:45], 3, x, samples=6, seed=4)
    got = rows[:]
    assert (got[45:].mean(axis=1).argmax(axis=1) == y[45:]).mean() > 0.8
    assert got.std(axis=1).max() > 1e-3
    assert np.array_equal(got, fit_swag(x[:45], y[:45], 3, x, samples=6, seed=4)[:])


def test_refuses_what_gives_no_gaussian() -> None:
    net, moments, _ = walk(6, rank=3)
    once = Moments()
    once.collect(net)
    x = np.ones((4, 2))
    with pytest.raises(InputError, match="at least 2"):
        swag_samples(net, once, x, np.arange(0))
    with pytest.raises(OptionError, match="rank"):
        Moments(1)
    with pytest.raises(OptionError, match="scale"):
        swag_samples(net, moments, x, np.arange(0), scale=-1)
    with pytest.raises(OptionError, match="epochs"):
        collect_moments(net, x, np.arange(4), np.zeros(4, dtype=np.int64), epochs=1)
    with pytest.raises(ShapeError, match="weights"):
        swag_samples(nn.Linear(5, 3), moments, np.ones((4, 5)), np.arange(0))
    with pytest.raises(InputError, match="learning_rate"):
        collect_moments(net, x, np.arange(4), np.arange(4) % 3, epochs=2, learning_rate=float("inf"))
