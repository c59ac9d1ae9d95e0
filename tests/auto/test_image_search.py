"""AutoAL on pictures: both networks see pixels, learn in turn, and every part of the search matters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto import image_search
from poolwise.auto.explain import explain, in_words
from poolwise.auto.image_search import ImageSearch, autoal_images, classify, open_gates
from poolwise.auto.nominations import nominate
from poolwise.auto.rehearsal import columns
from poolwise.auto.relaxed_top import pull_back, relaxed_top
from poolwise.errors import BudgetError, InputError, OptionError, ShapeError
from poolwise.train.image_nets import ImageNets, Pictures, ranking_loss

torch = pytest.importorskip("torch")

SMALL = ImageSearch(width=4, fit_steps=30, steps=30, train_batch_size=32, device="cpu")
NAMES = ("margin", "coreset", "random")


def pictures(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright corner that tells the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 120, size=(n, 8, 8)).astype(np.uint8)
    for i, c in enumerate(y):
        x[i, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 100
    return x, y


def ask(settings: ImageSearch = SMALL, **given: Any) -> Any:
    x, y = pictures()
    labeled = np.arange(0, 80, 2)
    given = {"images": x, "labeled": labeled, "labels": y[labeled], "batch_size": 10, "candidates": NAMES} | given
    return autoal_images(**given, settings=settings)


@cache
def plain() -> Any:
    return ask()


def test_derivative_of_the_gates_of_a_tensor_is_that_of_the_relaxed_top() -> None:
    rng = np.random.default_rng(0)
    scores, by_gate = rng.normal(size=30), rng.normal(size=30)
    tensor = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    gates = open_gates(torch, tensor, 7, 0.2)
    np.testing.assert_allclose(gates.detach().numpy(), relaxed_top(scores, 7, 0.2))
    (gates * torch.tensor(by_gate)).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), pull_back(relaxed_top(scores, 7, 0.2), by_gate, 0.2), atol=1e-12)
    shut = torch.tensor([0.0, 5.0], dtype=torch.float64, requires_grad=True)
    open_gates(torch, shut, 1, 1e-3).sum().backward()
    assert shut.grad.tolist() == [0, 0]


def test_same_seed_same_batch_and_torch_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    one = plain()
    torch.manual_seed(5)
    two = ask()
    assert torch.rand(1) == expected
    assert one.indices.tolist() == two.indices.tolist()
    assert len(set(one.indices.tolist())) == 10 and not set(one.indices.tolist()) & set(range(0, 80, 2))
    assert sum(one.notes["trust"].values()) == pytest.approx(1, abs=1e-3)
    assert ask(seed=1).indices.tolist() != one.indices.tolist()


def test_fit_net_recognises_pictures_that_it_was_not_fitted_on() -> None:
    assert ask(replace(SMALL, width=8, fit_steps=120)).notes["accuracy_of_fit_net"] > 0.8


@pytest.mark.parametrize(
    "change", [{"loss_module": False}, {"steps": 60}, {"search_rate": 0.5}, {"diverse": True}, {"fit_rate": 0.02}]
)
def test_every_switch_changes_scores_or_choice(change: dict[str, Any]) -> None:
    one, two = plain(), ask(replace(SMALL, **change))
    assert one.indices.tolist() != two.indices.tolist() or not np.array_equal(one.scores, two.scores)


def test_search_net_prefers_the_candidate_that_points_at_items_of_high_loss() -> None:
    """One candidate grades the items of a class that FitNet gets wrong, the other those it gets right."""
    x, y = pictures(90)
    rng = np.random.default_rng(0)
    how = replace(SMALL, steps=240, search_rate=0.2, loss_module=False, fit_rate=1e-9)
    torch.manual_seed(0)
    nets = ImageNets(torch, Pictures(torch, x, x, "cpu"), how.width, how.train_batch_size)
    items = np.arange(90)
    fit_net = nets.fitted(items, np.where(y == 0, 1, y), 3, 100, 0.005, rng)
    grades = np.column_stack([y == 0, y != 0]) * rng.uniform(0.5, 1, (90, 2))
    net = image_search.searched(nets, how, fit_net, items, y, grades, rng)
    assert image_search.weights_of(nets, net, items)[:, 0].mean() > 0.6


def test_pictures_outputs_and_losses_of_an_item_stay_together() -> None:
    """Every picture carries its number as its brightness."""
    x = np.repeat(np.arange(120, dtype=np.uint8), 64).reshape(120, 8, 8)
    y = np.arange(120) % 3
    nets = ImageNets(torch, Pictures(torch, x, x, "cpu"), 4, 32)
    torch.manual_seed(0)
    net = nets.network(3)
    items = np.random.default_rng(0).permutation(120)[:50]
    numbers = nets.see.at(items).mean(dim=(1, 2, 3)).numpy() * nets.see.spread + nets.see.mean
    assert numbers.round().astype(int).tolist() == items.tolist()
    _, z = nets.look(net, items)
    losses = nets.losses(net, items, y[items]).detach().numpy()
    for place, item in enumerate(items.tolist()):
        alone = nets.look(net, np.array([item]))[1][0]
        np.testing.assert_allclose(z[place], alone, atol=1e-5)
        assert losses[place] == pytest.approx(np.log(np.exp(alone).sum()) - alone[y[item]], abs=1e-5)


def test_what_the_candidates_say_is_joined_to_the_half_that_fit_net_has_not_seen() -> None:
    x, y = pictures(90)
    nets = ImageNets(torch, Pictures(torch, x, x, "cpu"), 4, 32)
    torch.manual_seed(0)
    labeled = np.random.default_rng(1).permutation(90)[:40]
    halves = image_search._halves(y[labeled], np.random.default_rng(2))
    net = nets.fitted(labeled[halves[0]], y[labeled][halves[0]], 3, 20, 0.005, np.random.default_rng(3))
    then, z = image_search._half_known(nets, net, labeled, y[labeled], *halves)
    np.testing.assert_allclose(z, nets.look(net, labeled[halves[1]])[1], atol=1e-5)
    doubt = np.sort(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), axis=1)
    found = nominate(then, ("margin",), 4, 0)
    best = np.argsort(-(1 - doubt[:, -1] + doubt[:, -2]), kind="stable")[:4]
    assert found.stream(0).tolist() == halves[1][best].tolist()
    grades = columns(found, ("margin",), halves[1])
    np.testing.assert_allclose(grades[best, 0], np.linspace(1, 0.5, 4))
    assert (then.labels[halves[1]] == -1).all() and (then.labels[halves[0]] == y[labeled][halves[0]]).all()


def test_without_search_all_candidates_count_alike_on_the_same_nominations() -> None:
    got = ask(replace(SMALL, steps=0))
    assert got.notes["trust"] == dict.fromkeys(NAMES, pytest.approx(1 / 3, abs=1e-3))
    assert got.notes["nominated"] == plain().notes["nominated"] and got.notes["search"] == "equal weights"
    assert got.indices.tolist() != plain().indices.tolist()
    x, y = pictures()
    labeled = np.arange(0, 80, 2)
    p = classify(x, labeled, y[labeled], np.arange(120), settings=SMALL)
    doubt = 1 - np.sort(p, axis=1)[:, -1] + np.sort(p, axis=1)[:, -2]
    doubt[labeled] = -1
    margin = ask(replace(SMALL, steps=0), candidates=("margin",))
    assert set(margin.indices.tolist()) == set(np.argsort(-doubt)[:10].tolist())


def test_weights_are_compared_with_equal_ones_on_labels_that_fit_net_has_not_seen() -> None:
    notes = plain().notes
    assert notes["expected_gain"] > max(0, notes["gain_over_equal"])  # mean loss of the items chosen
    assert np.isfinite(notes["gain_of_best_candidate"])
    assert {"seconds_training", "seconds_scoring", "seconds_search", "seconds_choice"} <= notes.keys()


def test_probabilities_are_those_of_labeled_classes() -> None:
    x, y = pictures()
    labeled = np.arange(0, 80, 2)
    p = classify(x, labeled, 2 * y[labeled], np.arange(5), settings=SMALL)
    assert p.shape == (5, 5) and (p[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert classify(x, labeled, y[labeled], np.arange(0), settings=SMALL).shape == (0, 3)


def test_ranking_loss_is_that_of_the_paper() -> None:
    predicted, losses = torch.tensor([1.0, 2.0, 0.5, 2.5]), torch.tensor([3.0, 1.0, 2.0, 4.0])
    # pairs (1, 3) and (2, 4): max(0, 1 - (1 - 0.5)) and max(0, 1 + (2 - 2.5))
    assert float(ranking_loss(predicted, losses)) == pytest.approx((0.5 + 0.5) / 2)


def test_a_pool_keeps_the_batch_and_explains_it(tmp_path: Path) -> None:
    x, y = pictures()
    np.save(tmp_path / "x.npy", x.reshape(120, 64).astype(np.float32))
    pool = pw.Pool.create(tmp_path / "corners.pool", embeddings=tmp_path / "x.npy")
    first = pool.query("random", batch_size=40)
    pool.label(first.indices, [str(c) for c in y[first.indices]])
    batch = pool.store.ask(
        lambda state, seed: autoal_images(
            x, state.labeled, state.labels[state.labeled], state.unlabeled, batch_size=10, seed=seed, settings=SMALL
        )
    )
    assert not set(batch.selection.indices.tolist()) & set(first.indices.tolist())
    (told,) = explain(pool.store)
    assert told["strategy"] == "autoal_images" and sum(told["trusted"].values()) == pytest.approx(1, abs=1e-2)
    assert "FitNet is right on" in in_words(told)


def test_color_pictures_one_candidate_and_the_whole_rest_as_batch() -> None:
    x, y = pictures(60)
    color = np.repeat(x[..., None], 3, axis=3)
    got = autoal_images(
        color, np.arange(30), y[:30], batch_size=30, candidates=("margin",), settings=replace(SMALL, steps=3)
    )
    assert sorted(got.indices.tolist()) == list(range(30, 60))
    assert got.notes["trust"] == {"margin": 1.0}


def test_what_does_not_fit_is_refused_in_words() -> None:
    x, y = pictures()
    for wrong, error, says in (
        ({"images": x.astype(np.float32)}, ShapeError, "uint8"),
        ({"batch_size": 0}, BudgetError, "between 1 and 80"),
        ({"labeled": np.arange(5), "labels": y[:5]}, InputError, "at least 12"),
        ({"labeled": np.arange(20), "labels": np.zeros(20, dtype=int)}, InputError, "two classes"),
        ({"labeled": np.arange(20), "labels": y[:19]}, ShapeError, "both"),
        ({"labeled": np.arange(110, 130), "labels": y[:20]}, InputError, "from 0 to 119"),
        ({"unlabeled": np.arange(100)}, InputError, "share items"),
        ({"candidates": ("autoal",)}, OptionError, "candidate"),
    ):
        with pytest.raises(error, match=says):
            ask(**wrong)
    for options, says in (
        ({"width": 1}, "width"),
        ({"width": 6}, "multiple of 4"),
        ({"steps": 2}, "steps"),
        ({"fit_rate": 0.0}, "rates"),
    ):
        with pytest.raises(OptionError, match=says):
            ImageSearch(**options)
