"""Facts particular to auto; the contract every strategy obeys is in tests/strategies/test_contract.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

import poolwise as pw
from poolwise.auto import head_quality, rule
from poolwise.errors import OptionError


def pool(seed: int = 0, n: int = 600, classes: int = 5, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x = 2 * rng.normal(size=(classes, width))[y] + rng.normal(size=(n, width))
    return x.astype(np.float32), y


def head(x: np.ndarray, classes: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    weight = rng.normal(size=(classes, x.shape[1])).astype(np.float32)
    return {"head_weight": weight, "head_bias": np.zeros(classes, dtype=np.float32)}


def ask(x: np.ndarray, **given: Any) -> pw.Selection:
    return pw.select("auto", embeddings=x, batch_size=given.pop("batch_size", 20), **given)


@pytest.mark.parametrize("seed", range(3))
def test_quality_0_equals_maxherding_while_classes_are_labeled_evenly(seed: int) -> None:
    x, y = pool(seed)
    labeled = np.concatenate([np.flatnonzero(y == c)[:4] for c in range(5)])
    got = ask(x, labeled=labeled, labels=y[labeled], quality=0.0, sigma=0.7, **head(x))
    expected = pw.select("maxherding", embeddings=x, labeled=labeled, batch_size=20, sigma=0.7)
    assert got.indices.tolist() == expected.indices.tolist()


def test_quality_1_picks_among_the_most_uncertain_rows() -> None:
    x, y = pool()
    labeled = np.arange(30)
    given = head(x)
    z = x @ given["head_weight"].T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p = np.sort(p / p.sum(axis=1, keepdims=True), axis=1)
    doubt = 1 - p[:, -1] + p[:, -2]
    doubt[labeled] = -1
    for width in (4.0, 8.0):
        got = ask(x, labeled=labeled, labels=y[:30], quality=1.0, filter_width=width, batch_size=10, **given)
        assert got.notes["candidates"] == 10 * width
        assert set(got.indices.tolist()) <= set(np.argsort(-doubt)[: int(10 * width)].tolist())


@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("labels", [None, [3], [3, 3, 3], [0, 7, 10**9]], ids=["none", "one", "one class", "gaps"])
def test_any_labeled_set_gives_a_full_batch_of_any_size(labels: list[int] | None, quality: float) -> None:
    x, _ = pool(n=80)
    given: dict[str, Any] = {} if labels is None else {"labeled": np.arange(len(labels)), "labels": np.array(labels)}
    for batch_size in (1, 20, 80 - len(labels or [])):
        for rows in (x, np.zeros_like(x)):
            got = ask(rows, batch_size=batch_size, quality=quality, **given)
            assert len(set(got.indices.tolist())) == batch_size


def test_fewer_labels_than_classes_with_a_given_head() -> None:
    x, y = pool(n=80)
    got = ask(x, labeled=[0, 1], labels=y[:2], **head(x))
    assert len(set(got.indices.tolist())) == 20
    assert 0 <= got.notes["quality"] <= 1


def test_quality_follows_the_head() -> None:
    x, y = pool(n=600)
    labeled = np.arange(100)
    good = ask(x, labeled=labeled, labels=y[:100]).notes["quality"]
    noise = ask(x, labeled=labeled, labels=np.random.default_rng(0).integers(0, 5, 100)).notes["quality"]
    assert good > 0.6 > 0.3 > noise


@pytest.mark.parametrize(("right", "n"), [(0, 3), (5, 5), (17, 30), (400, 1000)])
def test_bounds_are_the_one_sided_wilson_bounds(right: int, n: int) -> None:
    for sign, side in ((-1, "greater"), (1, "less")):
        interval = binomtest(right, n, alternative=side).proportion_ci(0.95, method="wilson")
        expected = interval.low if sign < 0 else interval.high
        assert head_quality.wilson(right / n, n, sign) == pytest.approx(expected, abs=2e-4)


def test_quality_is_certain_only_with_many_labels() -> None:
    x, y = pool(n=600)
    found = []
    for n in (10, 40, 300):
        notes = ask(x, labeled=np.arange(n), labels=y[:n]).notes
        chance = ((np.bincount(y[:n]) / n) ** 2).sum()
        assert notes["quality"] < (notes["accuracy_out_of_fold"] - chance) / (1 - chance)
        found.append(notes["quality"])
    assert found == sorted(found) and found[-1] > 0.7


def test_agreement_of_neighbours_equals_a_plain_loop() -> None:
    x, y = pool(n=60, width=3)
    x[7] = x[3]  # duplicates are neighbours, but their distance does not count as the smallest
    y[5] = 77  # nobody to agree with
    same, least, chances = 0, np.inf, []
    for i in range(40):
        gaps = [np.linalg.norm(x[i] - x[j]) if j != i else np.inf for j in range(40)]
        same += int(y[int(np.argmin(gaps))] == y[i])
        least = min([least, *(gap for gap in gaps if gap > 1e-6)])
        alike = [y[j] == y[i] for j in range(40) if j != i]
        if any(alike):
            chances.append(np.mean(alike))
    assert len(chances) == 39
    got = head_quality.neighbour_agreement(x, np.arange(40), y[:40])
    assert got.share == same / 39
    assert got.least == pytest.approx(least, rel=1e-5)
    high = binomtest(same, 39, alternative="less").proportion_ci(0.95, method="wilson").high
    assert got.value == pytest.approx((high - np.mean(chances)) / (1 - np.mean(chances)), abs=1e-3)


def test_the_radius_shrinks_where_neighbours_are_proven_to_disagree() -> None:
    x, y = pool(n=600)
    noise = np.random.default_rng(0).integers(0, 5, 300)
    true, false = (ask(x, labeled=np.arange(300), labels=labels).notes for labels in (y[:300], noise))
    assert false["neighbours"] < 0.2 < 0.7 < true["neighbours"]
    assert false["radius"] < 0.5 * true["radius"]
    few = ask(x, labeled=np.arange(6), labels=noise[:6]).notes
    assert few["neighbours"] > 0.3  # six labels prove nothing


def test_certain_probabilities_do_not_stop_the_choice() -> None:
    x, y = pool(n=80)
    logits = np.full((80, 5), -1e4, dtype=np.float32)
    logits[np.arange(80), y] = 1e4
    got = ask(x, labeled=np.arange(30), labels=y[:30], logits=logits)
    cover = pw.select("maxherding", embeddings=x, labeled=np.arange(30), batch_size=20)
    assert len(set(got.indices.tolist())) == 20 and (got.scores > 0).all() and (cover.scores > 0).all()


def test_no_head_is_fitted_when_logits_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pool()
    monkeypatch.setattr(rule, "own_head", lambda *_: pytest.fail("a head was fitted"))
    ask(x, labeled=np.arange(30), labels=y[:30], **head(x))


def test_rows_of_a_rarely_labeled_class_are_preferred() -> None:
    x, y = pool(classes=2, n=400, width=3)
    labeled = np.concatenate([np.flatnonzero(y == 0)[:40], np.flatnonzero(y == 1)[:2]])
    shares = [
        float(
            (y[ask(x, labeled=labeled, labels=y[labeled], quality=0.3, balance=on, batch_size=150).indices] == 1).mean()
        )
        for on in (True, False)
    ]
    assert shares[0] > shares[1]


def test_small_problems_take_the_exact_form_and_large_ones_cells() -> None:
    plan = rule.make_plan
    assert plan(5000, 0, 100, 64, 0.0, 8, None, "auto").form == "exact"
    large = plan(1_000_000, 0, 10_000, 512, 0.0, 8, None, "auto")
    assert large.form == "cells" and large.reference == 200_000 and large.candidates >= 80_000
    assert plan(1_000_000, 0, 10_000, 512, 1.0, 8, None, "auto").candidates == 80_000


@pytest.mark.parametrize("quality", [0.0, 0.6])
def test_the_form_with_cells_covers_as_well_as_the_exact_one(quality: float) -> None:
    x, y = pool(n=2000, classes=20, width=16)
    labeled = np.arange(40)
    found = {}
    for method in ("exact", "cells"):
        got = ask(x, labeled=labeled, labels=y[:40], quality=quality, method=method, batch_size=60)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        gaps = 2 - 2 * (unit @ unit[np.concatenate([labeled, got.indices])].T).max(axis=1)
        found[method] = float(np.exp(-gaps / got.notes["radius"] ** 2).mean())
    assert found["cells"] >= 0.97 * found["exact"]


def test_thinned_candidates_stay_among_the_most_uncertain() -> None:
    x, _ = pool(n=1000)
    p = rule.Softmax(x @ head(x)["head_weight"].T)
    kept = rule._candidates(p, np.arange(1000), rule.Plan(200, 50, 1000, "cells"), np.random.default_rng(0))
    doubt = rule._doubt(p[np.arange(1000)])
    rank = np.argsort(np.argsort(-doubt))
    assert len(set(kept.tolist())) == 50
    assert rank[kept].max() < 330  # the 200 best, give or take the luck of 250 drawn rows


def test_wrong_options_are_refused_in_words() -> None:
    x, _ = pool(n=50)
    for wrong in ({"quality": 1.5}, {"filter_width": 1.0}, {"sigma": 0.0}, {"quality": float("nan")}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            ask(x, batch_size=3, **wrong)
