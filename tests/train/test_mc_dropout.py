"""Dropout samples are exact expectations over masks, and nothing else about the network is random."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.train.mc_dropout import dropout_samples, fit_dropout

torch = pytest.importorskip("torch")
nn = torch.nn


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def linear_net(seed: int, width: int = 3, n_classes: int = 4, p: float = 0.3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Dropout(p), nn.Linear(width, n_classes)).double()


def images(seed: int = 0, n: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2, 6, 6)).astype(np.float32)


def image_net(seed: int = 0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout2d(0.4), nn.Flatten(), nn.Linear(80, 3)
    )


def test_the_mean_over_samples_is_the_sum_over_all_masks() -> None:
    net, p = linear_net(0), 0.3
    x = np.random.default_rng(0).normal(size=(6, 3))
    weight, bias = (t.detach().numpy() for t in (net[1].weight, net[1].bias))
    expected, spread = np.zeros((6, 4)), np.zeros((6, 4))
    for mask in itertools.product((0, 1), repeat=3):
        chance = np.prod([1 - p if kept else p for kept in mask])
        probs = softmax((x * np.array(mask) / (1 - p)) @ weight.T + bias)
        expected += chance * probs
        spread += chance * probs**2
    n = 4000
    got = dropout_samples(net, x, samples=n)[:].mean(axis=1)
    error = np.sqrt((spread - expected**2) / n)
    assert np.all(np.abs(got - expected) < 5 * error + 1e-7)


def test_every_sample_is_one_mask_for_all_items() -> None:
    net, p = linear_net(1), 0.3
    x = np.random.default_rng(1).normal(size=(50, 3))
    weight, bias = (t.detach().numpy() for t in (net[1].weight, net[1].bias))
    outcomes = [
        softmax((x * np.array(mask) / (1 - p)) @ weight.T + bias) for mask in itertools.product((0, 1), repeat=3)
    ]
    got = dropout_samples(net, x, samples=30)[:]
    for s in range(30):
        assert min(np.abs(got[:, s] - one).max() for one in outcomes) < 1e-6


def test_dropping_a_channel_drops_all_of_it() -> None:
    net = nn.Sequential(nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(8, 3, bias=False)).double()
    x = np.zeros((1, 2, 2, 2))
    x[0, 0] = 1.0  # only channel 0 is seen: probabilities are of a kept or of a dropped channel
    got = dropout_samples(net, x, samples=40)[:][0]
    kept = softmax((2 * x).reshape(1, 8) @ net[2].weight.detach().numpy().T)[0]
    close = np.abs(got - kept).max(axis=1) < 1e-6
    even = np.abs(got - 1 / 3).max(axis=1) < 1e-6
    assert np.all(close | even) and close.any() and even.any()


@pytest.mark.parametrize("batch_rows", [1, 4, 256])
def test_numbers_do_not_depend_on_what_is_read_together(batch_rows: int) -> None:
    x = np.random.default_rng(2).normal(size=(20, 3))
    rows = dropout_samples(linear_net(2), x, samples=7, seed=3, batch_rows=batch_rows)
    whole = dropout_samples(linear_net(2), x, samples=7, seed=3)[:]
    assert np.array_equal(rows[:], whole)
    assert np.array_equal(rows[3:11], whole[3:11])
    assert np.array_equal(rows[np.array([15, 2])], whole[[15, 2]])


def test_a_network_is_left_as_it_was_and_batch_norm_never_moves() -> None:
    net = image_net()
    net.train()
    net[1].eval()  # a mixture of modes must come back as a mixture
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    got = dropout_samples(net, images(), samples=4)[:]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [module.training for module in net] == [True, False, True, True, True, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    alone = dropout_samples(net, images()[:1], samples=4)[:]  # with batch statistics one item alone would differ
    assert got[:1] == pytest.approx(alone, abs=1e-6)


def test_hooks_are_removed_when_a_network_fails() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    x = np.ones((5, 3))
    rows = dropout_samples(net, x, samples=2)
    x[3] = np.nan
    with pytest.raises(InputError, match="item 3"):
        rows[:]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_batch_norm_alone_is_no_source_of_samples() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.0), nn.Linear(4, 2))
    with pytest.raises(InputError, match="no dropout layer"):
        dropout_samples(net, np.ones((5, 3)))


def test_refuses_what_it_cannot_mask() -> None:
    with pytest.raises(InputError, match="AlphaDropout"):
        dropout_samples(nn.Sequential(nn.AlphaDropout(0.5), nn.Linear(3, 2)), np.ones((5, 3)))
    with pytest.raises(OptionError, match="samples"):
        dropout_samples(linear_net(0), np.ones((5, 3)), samples=0)
    with pytest.raises(ShapeError, match="logits"):
        dropout_samples(nn.Sequential(nn.Dropout(0.5), nn.Unflatten(1, (3, 1))), np.ones((5, 3)))

    class ItemsSecond(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x.T).T

    with pytest.raises(ShapeError, match="first axis"):
        dropout_samples(ItemsSecond(), np.ones((5, 3)))[:]


def test_layers_that_are_never_called_are_no_source_of_samples() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(3, 2)

        def forward(self, x):
            return self.out(nn.functional.dropout(x, 0.5, self.training))

    net = Unused()
    with pytest.raises(InputError, match=r"no dropout layer .* is called"):
        dropout_samples(net, np.ones((5, 3)), samples=2)[:]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_masks_reach_the_layers_of_a_fused_transformer() -> None:
    """In evaluation mode torch runs an encoder layer as one fused operation, which would skip its dropout layers."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.4, batch_first=True)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 2))
    x = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    got = dropout_samples(net, x, samples=5)[:]
    assert got.std(axis=1).min() > 1e-4
    assert np.allclose(dropout_samples(net, x, samples=5)[2:4], got[2:4], atol=1e-6)


def test_a_layer_that_is_called_twice_gets_two_masks() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(self.drop(torch.ones_like(x))) * 9

    got = dropout_samples(Twice(), np.ones((1, 6)), samples=300)[:][0]
    share = (got > got.min(axis=1, keepdims=True) + 1e-6).mean()  # kept twice: 1/4 of the outputs
    assert share == pytest.approx(0.25, abs=0.05)


def test_a_dropout_head_on_embeddings_learns_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 60)
    pool = (1000 + 4 * np.eye(3)[y] + 0.3 * rng.normal(size=(60, 3))).astype(np.float32)  # a large offset
    rows = fit_dropout(pool[:30], y[:30], 3, pool, samples=8, seed=1, hidden=16)
    state = torch.random.get_rng_state()
    again = fit_dropout(pool[:30], y[:30], 3, pool, samples=8, seed=1, hidden=16)
    assert torch.equal(state, torch.random.get_rng_state())
    got = rows[:]
    assert np.array_equal(got, again[:]) and rows.digest == again.digest
    assert got.shape == (60, 8, 3) and got.sum(axis=2) == pytest.approx(1, abs=1e-6)
    assert (got[30:].mean(axis=1).argmax(axis=1) == y[30:]).mean() > 0.9
    other = fit_dropout(pool[:30], y[:30], 3, pool, samples=8, seed=2, hidden=16)
    assert other.digest != rows.digest and not np.array_equal(other[:], got)


def test_select_takes_them_and_two_threads_may_read_at_once() -> None:
    rows = dropout_samples(image_net(), images(n=40), samples=5)
    expected = rows[:]
    wrong = []

    def read() -> None:
        wrong.extend(i for i in range(10) if not np.allclose(rows[i : i + 4], expected[i : i + 4], atol=1e-6))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    batch = pw.select("bald", prob_samples=rows, batch_size=6).indices
    assert batch.tolist() == pw.select("bald", prob_samples=expected, batch_size=6).indices.tolist()
