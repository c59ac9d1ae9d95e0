"""Facts about the linear probe: same optimum as scikit-learn, honest calibration, defined corner cases."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.train.linear_probe import STRENGTHS, ProbeSettings, fit_linear, make_head, out_of_fold_logits


def mixture(seed, n_rows, width, n_classes, spread=1.0):
    """Gaussian classes in a space with decaying variances, as embeddings have."""
    rng = np.random.default_rng(seed)
    scales = 1 / np.sqrt(1 + np.arange(width))
    centres = rng.normal(size=(n_classes, width)) * scales * spread
    y = np.arange(n_rows) % n_classes
    x = centres[y] + rng.normal(size=(n_rows, width)) * scales
    return x.astype(np.float32), y


def penalised_loss(weight, bias, x, y, strength):
    """The objective, written plainly for rows that are already standardised."""
    return -log_softmax(x @ weight.T + bias, axis=1)[np.arange(len(y)), y].sum() + strength / 2 * (weight**2).sum()


def standardised(x):
    mean = x.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(((x - mean) ** 2).sum(axis=1).mean())
    return (x - mean) / scale, mean, scale


@pytest.mark.parametrize(
    ("n_rows", "width", "n_classes", "strength"),
    [(40, 3, 2, 1.0), (60, 100, 5, 0.1), (300, 20, 10, 0.01), (500, 30, 3, 10.0), (400, 64, 40, 0.1)],
)
def test_reaches_the_loss_of_scikit_learn(n_rows, width, n_classes, strength):
    x, y = mixture(0, n_rows, width, n_classes)
    head = fit_linear(x, y, n_classes, settings=ProbeSettings(strength=strength, calibrate=False))
    rows, mean, scale = standardised(x)
    ours = penalised_loss(head.weight * scale, head.bias + head.weight @ mean, rows, y, strength)
    # With two classes scikit-learn penalises one w; heads of -w/2 and w/2 cost half as much.
    cost = (2 if n_classes == 2 else 1) / strength
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = LogisticRegression(C=cost, max_iter=2000, tol=1e-6).fit(rows, y)
    coef, bias = peer.coef_, peer.intercept_
    if n_classes == 2:
        coef, bias = np.concatenate([-coef / 2, coef / 2]), np.concatenate([-bias / 2, bias / 2])
    theirs = penalised_loss(coef, bias, rows, y, strength)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_balanced_weights_equal_those_of_scikit_learn():
    x, y = mixture(1, 300, 10, 3)
    keep = (y > 0) | (np.arange(300) % 10 == 0)
    x, y = x[keep], y[keep]
    head = fit_linear(x, y, 3, settings=ProbeSettings(strength=0.5, class_weight="balanced", calibrate=False))
    rows, _, _ = standardised(x)
    peer = LogisticRegression(C=2.0, class_weight="balanced", max_iter=2000, tol=1e-6).fit(rows, y)
    assert np.abs(softmax(head.logits(x), axis=1) - peer.predict_proba(rows)).max() < 5e-3


def test_head_for_strategies_gives_the_calibrated_probabilities():
    x, y = mixture(2, 200, 8, 4)
    head = fit_linear(x, y, 4)
    assert head.temperature != 1
    again = softmax(x @ head.head_weight.T + head.head_bias, axis=1)
    np.testing.assert_allclose(head.probs(x), again, atol=1e-5)
    np.testing.assert_allclose(head.probs(x).sum(axis=1), 1, atol=1e-5)


def test_temperature_repairs_overconfidence_on_new_rows():
    x, y = mixture(3, 3000, 200, 4, spread=0.15)
    train, test = slice(0, 150), slice(150, None)
    settings = ProbeSettings(strength=0.003)
    head = fit_linear(x[train], y[train], 4, settings=settings)
    rows = np.arange(3000 - 150)
    raw = -log_softmax(head.logits(x[test]), axis=1)[rows, y[test]].mean()
    calibrated = -np.log(np.maximum(head.probs(x[test]), 1e-30))[rows, y[test]].mean()
    assert head.temperature > 1.5
    assert calibrated < 0.8 * raw


def test_out_of_fold_rows_are_predicted_by_a_head_that_never_saw_them():
    """Rows are pure noise: a head that had seen them would be right far more often than chance."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(200, 400)), rng.integers(0, 2, 200)
    z = out_of_fold_logits(x, y, 2, seed=0, strength=0.01)
    assert abs((z.argmax(axis=1) == y).mean() - 0.5) < 0.12
    assert (fit_linear(x, y, 2, settings=ProbeSettings(strength=0.01)).logits(x).argmax(axis=1) == y).all()


def test_out_of_fold_logits_equal_separate_fits_on_the_other_folds():
    x, y = mixture(5, 60, 5, 3)
    z = out_of_fold_logits(x, y, 3, folds=60, seed=0, strength=1.0)  # leave one out: folds need not be known
    rows, _, _ = standardised(x)
    for i in (0, 17, 59):
        rest = np.arange(60) != i
        peer = LogisticRegression(C=1.0, max_iter=2000, tol=1e-7).fit(rows[rest], y[rest])
        np.testing.assert_allclose(softmax(z[i]), peer.predict_proba(rows[i : i + 1])[0], atol=0.02)


def test_rows_that_are_all_predicted_rightly_do_not_ask_for_certainty():
    x, y = mixture(3, 60, 5, 3, spread=30)
    head = fit_linear(x, y, 3)
    assert head.temperature > 0.05
    assert head.probs(x).max(axis=1).min() > 0.9
    assert head.probs(x).max(axis=1).mean() < 0.9999


def test_strength_grows_when_features_are_noise():
    x, y = mixture(6, 200, 40, 4, spread=3.0)
    noise = np.random.default_rng(0).normal(size=x.shape)
    assert fit_linear(noise, y, 4).strength > 30 * fit_linear(x, y, 4).strength


def test_an_earlier_head_lends_its_strength_and_nothing_else():
    x, y = mixture(7, 300, 20, 5)
    first = fit_linear(x[:200], y[:200], 5)
    poisoned = make_head(np.full((5, 20), 50.0), np.arange(5), 7.0, first.strength, first.searched_at)
    next_head = fit_linear(x, y, 5, start=first)
    assert next_head.digest == fit_linear(x, y, 5, start=poisoned).digest
    assert (next_head.strength, next_head.searched_at) == (first.strength, 200)
    assert fit_linear(np.tile(x, (2, 1)), np.tile(y, 2), 5, start=first).searched_at == 600


def test_the_strength_is_a_local_best_of_the_out_of_fold_loss():
    x, y = mixture(16, 150, 30, 3, spread=0.6)
    head = fit_linear(x, y, 3)
    place = STRENGTHS.index(head.strength)

    def loss(strength):
        z = out_of_fold_logits(x, y, 3, strength=strength).astype(np.float64)
        nll = [-log_softmax(z / t, axis=1)[np.arange(150), y].mean() for t in np.geomspace(0.05, 20, 400)]
        return min(nll)

    losses = [loss(s) for s in STRENGTHS]
    assert 0 < place < len(STRENGTHS) - 1
    assert losses[place] <= min(losses[place - 1], losses[place + 1]) + 2e-3


def test_same_seed_gives_the_same_digest_and_another_head_another():
    x, y = mixture(9, 90, 6, 3)
    assert fit_linear(x, y, 3, seed=1).digest == fit_linear(x, y, 3, seed=1).digest
    assert fit_linear(x, y, 3).digest != fit_linear(x[:80], y[:80], 3).digest


def test_the_number_of_threads_does_not_change_a_digit():
    x, y = mixture(15, 1000, 256, 150)
    settings, digests = ProbeSettings(strength=0.1, calibrate=False), set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            digests.add(fit_linear(x, y, 150, settings=settings).digest)
    assert len(digests) == 1


def test_classes_without_rows_are_never_predicted():
    x, y = mixture(10, 80, 6, 4)
    head = fit_linear(x, np.array([1, 3, 4, 7])[y], 9)
    assert set(head.logits(x).argmax(axis=1)) <= {1, 3, 4, 7}
    assert np.isfinite(head.logits(x)).all()
    assert not head.weight[[0, 2, 5, 6, 8]].any()
    probs = head.probs(x)
    assert (probs[:, [0, 2, 5, 6, 8]].sum(axis=1) <= 1.001 / 81 * probs[:, [1, 3, 4, 7]].min(axis=1)).all()


@pytest.mark.parametrize(
    "case", ["one class", "one row", "fewer rows than classes", "equal rows", "constant columns", "one row a class"]
)
def test_corner_cases_have_finite_probabilities(case):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), np.arange(12) % 3
    if case == "one class":
        y[:] = 2
    elif case == "one row":
        x, y = x[:1], y[:1]
    elif case == "equal rows":
        x[:] = x[0]
    elif case == "constant columns":
        x[:, 2:] = 7
    elif case == "one row a class":
        y = np.arange(12)
    head = fit_linear(x, y, 20)
    probs = head.probs(x)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    if case == "one class":
        assert (probs.argmax(axis=1) == 2).all()
    if case == "equal rows":  # nothing to tell them apart: the class shares
        np.testing.assert_allclose(probs[0, :3], 1 / 3, atol=0.02)
    out = out_of_fold_logits(x, y, 20)
    assert out.shape == (len(x), 20)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("change", [1e4, 1e-6, 1e6])
def test_scale_of_the_embeddings_does_not_matter(change):
    x, y = mixture(11, 150, 8, 3)
    plain, scaled = fit_linear(x, y, 3), fit_linear(x * np.float32(change), y, 3)
    np.testing.assert_allclose(plain.probs(x), scaled.probs(x * np.float32(change)), atol=2e-3)


def test_a_large_offset_of_the_embeddings_costs_little():
    x, y = mixture(12, 150, 8, 3)
    far = (x + 1000).astype(np.float32)
    assert np.abs(fit_linear(x, y, 3).probs(x) - fit_linear(far, y, 3).probs(far)).max() < 0.02


def test_float16_rows_at_their_extremes_are_fitted():
    x, y = mixture(13, 90, 4, 3, spread=5)
    big = (x / np.abs(x).max() * 65000).astype(np.float16)
    head = fit_linear(big, y, 3)
    assert (head.probs(big).argmax(axis=1) == y).mean() > 0.9


def test_bad_input_is_refused_with_the_row_or_the_range():
    x, y = mixture(14, 30, 4, 3)
    with pytest.raises(InputError, match="at least one labeled row"):
        fit_linear(x[:0], y[:0], 3)
    with pytest.raises(InputError, match="from 0 to 1"):
        fit_linear(x, y, 2)
    with pytest.raises(ShapeError, match="expected"):
        fit_linear(x, y[:-1], 3)
    x[7, 2] = np.nan
    with pytest.raises(InputError, match="row 7"):
        fit_linear(x, y, 3)
    with pytest.raises(OptionError, match="strength"):
        ProbeSettings(strength=0)
    with pytest.raises(ShapeError, match="start"):
        fit_linear(x[:5], y[:5], 3, start=make_head(np.zeros((3, 9)), np.zeros(3), 1, 1, 1))
