"""Measured deviations equal those of perturbed copies, and the network comes back bit for bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.train import networks, noise_deviation
from poolwise.train.noise_deviation import Noise, fit_noise, last_block, noise_deviations

torch = pytest.importorskip("torch")
nn = torch.nn


def mlp(seed: int = 0, bias: bool = True):
    torch.manual_seed(seed)
    layers = (nn.Linear(4, 7, bias=bias), nn.LayerNorm(7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 3, bias=bias))
    return nn.Sequential(*layers).double()


def conv_net(seed: int = 0):
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(nn.Conv2d(1, 3, 3), block, nn.Flatten(), nn.Linear(48, 4))


def rows(n: int = 11, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


def outputs(net, x: np.ndarray, output: str = "probs") -> np.ndarray:
    with torch.no_grad():
        z = net.eval()(torch.tensor(x, dtype=next(net.parameters()).dtype))
    return (z.softmax(dim=1) if output == "probs" else z).double().numpy()


def by_hand(net, x: np.ndarray, draws: list[dict], zeta: float, output: str = "probs") -> np.ndarray:
    """Deviations of copies whose weights have had the noise added, (n, K, C)."""
    clean = outputs(copy.deepcopy(net), x, output)
    out = []
    for draw in draws:
        other = copy.deepcopy(net)
        with torch.no_grad():
            for name, weight in other.named_parameters():
                if name in draw:
                    weight += torch.tensor(draw[name], dtype=weight.dtype)
        out.append(outputs(other, x, output) - clean)
    return np.stack(out, axis=1) / np.linalg.norm(clean, axis=1)[:, None, None] / zeta


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("output", ["probs", "logits"])
def test_deviations_are_those_of_noisy_copies(scope: str, output: str) -> None:
    net, x = mlp(), rows()
    got = noise_deviations(net, x, perturbations=5, zeta=1e-2, scope=scope, output=output, seed=3)[:]
    names = [name for name, _ in net.named_parameters() if scope == "global" or name.endswith("weight")]
    noise = Noise(net, names, 5, 1e-2, scope, 3)
    assert got == pytest.approx(by_hand(net, x, [noise.draw(k) for k in range(5)], 1e-2, output), rel=1e-4, abs=1e-6)
    assert np.abs(got).max() > 0.05


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_noise_has_the_relative_length_zeta(scope: str) -> None:
    net = mlp()
    drawn = Noise(net, [name for name, _ in net.named_parameters()], 2, 1e-3, scope, 0).draw(1)
    lengths = {name: float(weight.detach().norm()) for name, weight in net.named_parameters()}
    if scope == "layer":
        for name, e in drawn.items():
            assert np.linalg.norm(e) == pytest.approx(1e-3 * lengths[name], rel=1e-6, abs=1e-12)
    else:
        whole = np.sqrt(sum(length**2 for length in lengths.values()))
        assert np.sqrt(sum(np.square(e).sum() for e in drawn.values())) == pytest.approx(1e-3 * whole, rel=1e-6)


def test_the_network_comes_back_bit_for_bit_and_batch_norm_does_not_drift() -> None:
    net = conv_net()
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(9, 1, 6, 6)).astype(np.float32)
    for output in ("probs", "features"):
        got = noise_deviations(net, x, perturbations=3, output=output)[:]
        assert got.shape == (9, 3, 4 if output == "probs" else 48) and np.abs(got).max() > 0
        after = net.state_dict()
        assert all(before[name].numpy().tobytes() == after[name].numpy().tobytes() for name in before) and all(
            module.training for module in net.modules()
        )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_deviations_are_proportional_to_small_noise() -> None:
    small, large = (noise_deviations(mlp(), rows(), perturbations=8, zeta=z)[:] * z for z in (1e-4, 1e-3))
    assert np.linalg.norm(large, axis=(1, 2)) / np.linalg.norm(small, axis=(1, 2)) == pytest.approx(10, rel=0.01)


def test_antithetic_pairs_cancel_the_second_order() -> None:
    net, x = mlp(), rows()
    tiny = noise_deviations(net, x, perturbations=4, zeta=1e-6)[:]
    plain = noise_deviations(net, x, perturbations=4, zeta=0.05)[:]
    paired = noise_deviations(net, x, perturbations=4, zeta=0.05, antithetic=True)[:]
    assert np.linalg.norm(paired - tiny) < 0.2 * np.linalg.norm(plain - tiny)


def test_a_linear_map_moves_as_the_theory_says() -> None:
    """Mean of |E h|^2 over E of length zeta |W| is zeta^2 |W|^2 |h|^2 / D; here per zeta and over |W h|^2."""
    torch.manual_seed(0)
    net, x = nn.Linear(4, 3, bias=False).double(), rows(5)
    got = noise_deviations(net, x, perturbations=6000, output="logits")[:]
    weight = net.weight.detach().numpy()
    theory = np.square(weight).sum() * np.square(x).sum(axis=1) / 4 / np.square(x @ weight.T).sum(axis=1)
    assert np.square(got).sum(axis=2).mean(axis=1) == pytest.approx(theory, rel=0.06)


@pytest.mark.parametrize("limit", [0, 2**20])
def test_numbers_do_not_depend_on_what_is_read_together_or_kept(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise_deviations(mlp(), rows(), perturbations=4, seed=2)[:]
    monkeypatch.setattr(noise_deviation, "NOISE_BYTES", limit)
    monkeypatch.setattr(networks, "INPUT_BYTES", 3 * 4 * 4)  # three rows of four numbers
    lazily = noise_deviations(mlp(), rows(), perturbations=4, seed=2, batch_rows=2)
    assert np.array_equal(lazily[:], whole)
    assert np.array_equal(lazily[np.array([8, 1])], whole[[8, 1]])


def test_certain_rows_keep_their_digits() -> None:
    """For logits (30, 0) the probabilities are 1 - e and e = exp(-30): e moves by e times the change of the logits."""
    net = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[30.0], [1e-3]]))
    got = noise_deviations(net, np.ones((1, 1)), perturbations=1, zeta=1e-4)[:][0, 0]
    change = Noise(net, ["weight"], 1, 1e-4, "layer", 0).draw(0)["weight"][:, 0]
    e = np.exp(-30 + 1e-3)
    assert got[1] == pytest.approx(e * (change[1] - change[0]) / 1e-4, rel=1e-2)
    assert got[0] == pytest.approx(-got[1], rel=1e-2)


def test_a_sketch_keeps_lengths_on_average() -> None:
    full = noise_deviations(mlp(), rows(40), perturbations=60)[:]
    short = noise_deviations(mlp(), rows(40), perturbations=60, sketch=2)[:]
    assert short.shape == (40, 60, 2)
    assert np.square(short).sum(axis=(1, 2)) == pytest.approx(np.square(full).sum(axis=(1, 2)), rel=0.6)
    assert np.square(short).sum() == pytest.approx(np.square(full).sum(), rel=0.2)


def test_parts_of_a_network_can_be_named() -> None:
    net = conv_net()
    assert last_block(net) == "1.1"
    x = np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype(np.float32)
    for part, names in {
        "last_block": [f"{last_block(net)}.weight"],
        "0": ["0.weight"],
        ("0", "3"): ["0.weight", "3.weight"],
    }.items():
        got = noise_deviations(net, x, perturbations=2, part=part)[:]
        draws = [Noise(net, names, 2, 1e-3, "layer", 0).draw(k) for k in range(2)]
        assert got == pytest.approx(by_hand(net, x, draws, 1e-3), rel=0.05, abs=1e-3)
    with pytest.raises(UnknownNameError, match="layer4"):
        noise_deviations(net, x, part="layer4")


def test_the_last_block_of_usual_networks() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 2, 1)
            self.layer1, self.layer2 = nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block())
            self.fc = nn.Linear(2, 2)

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 3, enable_nested_tensor=False)
    assert last_block(Residual()) == "layer2.1"
    assert last_block(nn.Sequential(encoder, nn.LayerNorm(8), nn.Linear(8, 2))) == "0.layers.2"
    assert last_block(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))) == "2"
    with pytest.raises(OptionError, match="no submodule"):
        last_block(nn.ReLU())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"perturbations": 0}, "perturbations"),
        ({"zeta": 0.0}, "zeta"),
        ({"sketch": 0}, "sketch"),
        ({"part": "3"}, "part"),
    ],
)
def test_refuses_to_measure_nothing(options: dict, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        noise_deviations(mlp(), rows(), **options)


def test_a_weight_of_length_zero_stays_and_a_network_of_zeros_is_refused() -> None:
    net = mlp()
    with torch.no_grad():
        net[0].weight.zero_()
    assert np.isfinite(noise_deviations(net, rows(), perturbations=2)[:]).all()
    with torch.no_grad():
        net[1].weight.zero_()
        net[4].weight.zero_()
    with pytest.raises(OptionError, match="are 0"):
        noise_deviations(net, rows())


def test_outputs_of_length_zero() -> None:
    """Without a bias the logits of a row of zeros are 0 and stay 0; from 0 to anything has no relative size."""
    net, x = nn.Linear(3, 2, bias=False).double(), rows(4, 3)
    x[2] = 0
    got = noise_deviations(net, x, perturbations=3, output="logits")[:]
    assert np.all(got[2] == 0) and np.abs(got[[0, 1, 3]]).min() > 0
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [2.0, -2.0, 0.0]]))
    x[1] = [1, 1, 0]
    with pytest.raises(InputError, match="item 1"):
        noise_deviations(net, x, perturbations=3, output="logits")[:]


def test_refuses_outputs_that_are_not_finite_and_weights_too_coarse() -> None:
    x = rows()
    x[6] = np.inf
    with pytest.raises(InputError, match="item 6"):
        noise_deviations(mlp(), x, perturbations=1)[:]
    with pytest.raises(OptionError, match="bfloat16"):
        noise_deviations(mlp().bfloat16(), rows())
    with pytest.raises(OptionError, match="Linear"):
        noise_deviations(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten()), rows()[:, None], output="features")


def test_a_head_on_embeddings() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    x = (2 * np.eye(3)[y] + rng.normal(size=(40, 3))).astype(np.float32)
    got = fit_noise(x[:20], y[:20], 3, x, samples=4, hidden=8)
    assert got.shape == (40, 4, 3) and np.array_equal(got[:], fit_noise(x[:20], y[:20], 3, x, samples=4, hidden=8)[:])
