"""Each strategy against its definition, written plainly; what every strategy must obey comes first."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from poolwise.bench.tabular import run_tabular
from poolwise.bench.tabular.evaluate import Evaluator
from poolwise.bench.tabular.logistic import retrain_with_each, train_logistic, with_one
from poolwise.bench.tabular.multilogistic import train_softmax
from poolwise.bench.tabular.protocol import Cell
from poolwise.bench.tabular.registry import TABULAR, State
from poolwise.bench.tabular.simplex import solve_capped
from poolwise.bench.tabular.simulate import simulate
from poolwise.bench.tabular.smo import solve_machine
from poolwise.bench.tabular.strategies import (
    albl,
    bmdr,
    dwus,
    graph_density,
    hier,
    hintsvm,
    lal,
    mcm,
    qbc,
    spal,
    us_nc,
    vr,
)
from poolwise.chance import rng_for
from poolwise.errors import OptionError
from poolwise.strategies import coreset

from .conftest import blobs, cell_of

TWO_CLASSES = {"albl", "bmdr", "dwus", "hintsvm", "lal", "quire", "quire_libact", "spal"}


def state_of(cell: Cell, n_labeled: int = 20, seed: int = 0, batch_size: int = 1) -> State:
    known = np.arange(len(cell.x_train)) < n_labeled
    return State(
        x=cell.x_train,
        labels=np.where(known, cell.y_train, -1),
        labeled=np.flatnonzero(known),
        unlabeled=np.flatnonzero(~known),
        n_classes=cell.n_classes,
        batch_size=batch_size,
        n_queries=len(cell.x_train) - n_labeled,
        rng=rng_for(seed, "test"),
        evaluator=Evaluator(cell),
    )


# --- what every strategy obeys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABULAR.names())
def test_every_position_once_same_start_same_end_same_seed_same_order(name: str) -> None:
    cell = cell_of(blobs(42, 3))
    first, again, plain = simulate(cell, name), simulate(cell, name), simulate(cell, "random")
    assert sorted(first.order.tolist()) == list(range(20, 25))
    assert first.order.tolist() == again.order.tolist()
    assert (first.n_correct[0], first.n_correct[-1]) == (plain.n_correct[0], plain.n_correct[-1])


@pytest.mark.parametrize("name", TABULAR.names())
def test_batches_larger_than_one(name: str) -> None:
    cell = cell_of(blobs(50, 3))
    if TABULAR[name].single_only:
        with pytest.raises(OptionError, match="one item at a time"):
            simulate(cell, name, batch_size=4)
    else:
        assert simulate(cell, name, batch_size=4).n_labeled.tolist() == [20, 24, 28, 30]


@pytest.mark.parametrize("name", TABULAR.names())
def test_more_classes_run_or_are_refused(name: str) -> None:
    cell = cell_of(blobs(60, 3, 3))
    assert TABULAR[name].binary_only == (name in TWO_CLASSES)
    if TABULAR[name].binary_only:
        with pytest.raises(OptionError, match="two classes only"):
            simulate(cell, name, budget=2)
    else:
        assert len(simulate(cell, name, budget=2).order) == 2


@pytest.mark.parametrize("name", TABULAR.names())
def test_identical_rows_and_constant_features_are_survived(name: str) -> None:
    data = blobs(42, 3)
    data.x[:, 1] = 7.0
    data.x[5:] = data.x[5]
    assert len(simulate(cell_of(data), name, budget=3).order) == 3


@pytest.mark.parametrize("name", TABULAR.names())
@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e150])
def test_features_without_spread_or_with_extreme_scales_are_survived(name: str, scale: float) -> None:
    data = blobs(42, 3)
    data.x[:] *= scale
    assert len(simulate(cell_of(data), name, budget=2).order) == 2


def test_two_class_strategies_are_reported_not_fatal_beside_others(folder: Path) -> None:
    results = run_tabular(["three", "two"], ["quire", "us"], seeds=1, data_dir=folder, budget=2)
    assert [(d, s) for d, s, _ in results.refused] == [("three", "quire")]
    assert [(r.dataset, r.strategy) for r in results.rows] == [("three", "us"), ("two", "quire"), ("two", "us")]
    with pytest.raises(OptionError, match="two classes only"):
        run_tabular(["three"], ["quire"], seeds=1, data_dir=folder)


def test_every_strategy_cites_a_source() -> None:
    import inspect

    for entry in TABULAR.entries():
        module = inspect.getmodule(entry.query)
        assert module is not None
        assert "Source:" in (module.__doc__ or "")
        assert entry.summary.endswith(".")


# --- one by one --------------------------------------------------------------------------------------------------


def test_kcenter_equals_the_array_strategy(cell: Cell) -> None:
    got = simulate(cell, "kcenter", batch_size=6, budget=6).order
    want = coreset.coreset(cell.x_train, np.arange(20), np.arange(20, 30), batch_size=6, rng=np.random.default_rng(0))
    assert got.tolist() == getattr(want, "indices", want).tolist()


def test_infodiv_with_single_queries_is_uncertainty_sampling(cell: Cell) -> None:
    assert simulate(cell, "infodiv").order.tolist() == simulate(cell, "us").order.tolist()


@pytest.mark.parametrize("name", ["infodiv", "mcm"])
def test_batches_of_equal_items_are_distinct_positions(name: str) -> None:
    data = blobs(60, 2)
    data.x[:] = data.x[0]
    assert len(set(simulate(cell_of(data), name, batch_size=4, budget=8).order.tolist())) == 8


def test_infodiv_keeps_each_cluster_to_its_share() -> None:
    cell = cell_of(blobs(100, 2))
    state = state_of(cell, batch_size=10)
    batch = TABULAR["infodiv"].query(state)
    cluster = state.memo["clusters"]
    share = np.bincount(cluster, minlength=2) / len(cluster)
    assert np.all(np.bincount(cluster[batch], minlength=2) <= np.ceil(share * 10))


def test_logistic_regression_equals_that_of_scikit_learn() -> None:
    cell = cell_of(blobs(80, 4))
    x, y = cell.x_train[:30], cell.y_train[:30]
    want = LogisticRegression(C=0.3, tol=1e-10, max_iter=10000).fit(x, y)
    got = train_logistic(with_one(x), y.astype(float), 0.3)
    assert np.allclose(got, np.append(want.coef_[0], want.intercept_[0]), atol=1e-6)
    warm = train_logistic(with_one(x), y.astype(float), 0.3, start=np.full(5, 3.0))
    assert np.allclose(got, warm, atol=1e-8)


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_models_retrained_together_equal_models_retrained_alone(spread: float) -> None:
    rng = np.random.default_rng(3)
    x, y = with_one(rng.normal(size=(25, 3))), (rng.random(25) < 0.4).astype(float)
    candidates = with_one(spread * rng.normal(size=(12, 3)))
    start = train_logistic(x, y, 1.0)
    for label in (0.0, 1.0):
        together = retrain_with_each(x, y, candidates, label, 1.0, start)
        for row, w in zip(candidates, together, strict=True):
            assert np.allclose(w, train_logistic(np.vstack([x, row]), np.append(y, label), 1.0), atol=1e-6)


def test_us_nc_asks_a_logistic_model_for_entropy(cell: Cell) -> None:
    model = LogisticRegression(C=0.1, tol=1e-10, max_iter=10000).fit(cell.x_train[:20], cell.y_train[:20])
    p = model.predict_proba(cell.x_train[20:])
    assert simulate(cell, "us_nc", budget=1).order[0] == 20 + int(np.argmax(-(p * np.log(p)).sum(axis=1)))
    assert us_nc.entropy(np.array([[0.0, 1.0], [0.5, 0.5]])).tolist() == pytest.approx([0, np.log(2)])


def test_vote_entropy_by_hand() -> None:
    votes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, 0]])  # 4 members, 3 items
    want = [0.0, np.log(2), -(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))]
    assert qbc.vote_entropy(votes, 3).tolist() == pytest.approx(want)


def test_bootstraps_hold_every_class() -> None:
    y = np.array([0] * 19 + [1])
    rng = np.random.default_rng(0)
    assert all(1 in y[qbc.bootstrap(y, rng)] for _ in range(50))


def test_eer_by_retraining_on_every_item_and_label() -> None:
    cell = cell_of(blobs(44, 3))
    state = state_of(cell)

    def fit(rows: list[int], labels: list[int]) -> LogisticRegression:
        return LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit(cell.x_train[rows], labels)

    labeled, y = state.labeled.tolist(), state.y.tolist()
    totals = []
    for s in state.unlabeled.tolist():
        p = fit(labeled, y).predict_proba(cell.x_train[[s]])[0]
        rest = [u for u in state.unlabeled.tolist() if u != s]
        total = 0.0
        for label in (0, 1):
            q = fit([*labeled, s], [*y, label]).predict_proba(cell.x_train[rest])
            total -= p[label] * (q * np.log(q)).sum()
        totals.append(total)
    assert TABULAR["eer"].query(state)[0] == state.unlabeled[int(np.argmin(totals))]


def test_vr_by_gradients_of_every_prediction() -> None:
    cell = cell_of(blobs(44, 2))
    state = state_of(cell)
    values = []
    for s in state.unlabeled.tolist():
        base = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit(cell.x_train[:20], cell.y_train[:20])
        value = 0.0
        for label in (0, 1):
            rows = [*range(20), s]
            model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000)
            model.fit(cell.x_train[rows], [*cell.y_train[:20], label])
            fisher = np.eye(3) / 100
            for row in rows:
                z, q = np.append(cell.x_train[row], 1), model.predict_proba(cell.x_train[[row]])[0, 1]
                fisher += q * (1 - q) * np.outer(z, z)
            inverse, total = np.linalg.inv(fisher), 0.0
            for u in state.unlabeled:
                z, q = np.append(cell.x_train[u], 1), model.predict_proba(cell.x_train[[u]])[0]
                for sign in (-1, 1):
                    g = sign * q[0] * q[1] * z
                    total += g @ inverse @ g
            value += base.predict_proba(cell.x_train[[s]])[0, label] * total
        values.append(value)
    assert TABULAR["vr"].query(state)[0] == state.unlabeled[int(np.argmin(values))]


def test_vr_of_three_classes_by_differences_of_every_prediction() -> None:
    cell = cell_of(blobs(42, 2, 3))
    state = state_of(cell)
    x = np.column_stack([cell.x_train, np.ones(len(cell.x_train))])

    def fit(rows: list[int], labels: list[int]) -> np.ndarray:
        model = LogisticRegression(C=1.0, tol=1e-12, max_iter=100_000).fit(cell.x_train[rows], labels)
        return np.column_stack([model.coef_, model.intercept_])

    def predict(weights: np.ndarray, row: int) -> np.ndarray:
        z = np.exp(weights @ x[row])
        return z / z.sum()

    def slopes(weights: np.ndarray, row: int) -> np.ndarray:  # (C, weights): by central differences
        columns = []
        for place in range(weights.size):
            step = np.zeros(weights.size)
            step[place] = 1e-5
            above, below = (predict(weights + sign * step.reshape(weights.shape), row) for sign in (1, -1))
            columns.append((above - below) / 2e-5)
        return np.column_stack(columns)

    base = fit(list(range(20)), cell.y_train[:20].tolist())
    values = []
    for s in state.unlabeled.tolist():
        value = 0.0
        for label in range(3):
            rows = [*range(20), s]
            weights = fit(rows, [*cell.y_train[:20].tolist(), label])
            fisher = np.eye(weights.size) / 100
            for row in rows:  # expected outer product of the gradients of the log likelihood
                for c in range(3):
                    score = slopes(weights, row)[c] / predict(weights, row)[c]
                    fisher += predict(weights, row)[c] * np.outer(score, score)
            inverse = np.linalg.inv(fisher)
            total = sum(float(g @ inverse @ g) for u in state.unlabeled.tolist() for g in slopes(weights, u))
            value += predict(base, s)[label] * total
        values.append(value)
    assert TABULAR["vr"].query(state)[0] == state.unlabeled[int(np.argmin(values))]
    assert vr._more_classes(state_of(cell)) == pytest.approx(values, rel=1e-3)


def test_multinomial_regression_equals_that_of_scikit_learn() -> None:
    cell = cell_of(blobs(80, 4, 3))
    x, y = cell.x_train[:30], cell.y_train[:30]
    want = LogisticRegression(C=0.3, tol=1e-10, max_iter=10000).fit(x, y)
    got = train_softmax(with_one(x), y, 3, 0.3)
    assert np.allclose(got[:, :-1], want.coef_, atol=1e-5)
    assert np.allclose(got[:, -1] - got[:, -1].mean(), want.intercept_ - want.intercept_.mean(), atol=1e-5)
    warm = train_softmax(with_one(x), y, 3, 0.3, start=np.full((3, 5), 3.0))
    assert np.allclose(got[:, :-1], warm[:, :-1], atol=1e-6)


@pytest.mark.parametrize("n_labeled", [20, 29])
def test_quire_by_inverting_every_block(n_labeled: int) -> None:
    cell = cell_of(blobs(50, 3))
    state = state_of(cell, n_labeled)
    x, y = cell.x_train, 2.0 * cell.y_train[:n_labeled] - 1
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(axis=2))
    big = np.linalg.inv(kernel + np.eye(len(x)))
    labeled, unlabeled = list(range(n_labeled)), list(range(n_labeled, len(x)))
    values = []
    for s in unlabeled:
        u = [k for k in unlabeled if k != s]
        inner = big[s, labeled] - big[s, u] @ np.linalg.inv(big[np.ix_(u, u)]) @ big[np.ix_(u, labeled)]
        det = np.linalg.det(big[np.ix_(unlabeled, unlabeled)])
        values.append(big[s, s] - det / big[s, s] + 2 * abs(inner @ y))
    assert TABULAR["quire"].query(state)[0] == unlabeled[int(np.argmin(values))]


@pytest.mark.parametrize("n_labeled", [20, 24, 29])
def test_quire_of_libact_by_its_two_departures_from_the_formula(n_labeled: int) -> None:
    cell = cell_of(blobs(50, 3, seed=2))
    x, y = cell.x_train, 2.0 * cell.y_train[:n_labeled] - 1
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(axis=2))
    big = np.linalg.inv(kernel + np.eye(len(x)))
    labeled, unlabeled = list(range(n_labeled)), list(range(n_labeled, len(x)))
    across = kernel[np.ix_(unlabeled, labeled)]
    inverse = np.eye(len(unlabeled)) + kernel[np.ix_(unlabeled, unlabeled)] - across @ across.T  # first
    det = np.linalg.det(big[np.ix_(unlabeled, unlabeled)])
    values = []
    for i, s in enumerate(unlabeled):
        rest = [k for k in range(len(unlabeled)) if k != i]
        u = [unlabeled[k] for k in rest]
        number = inverse[rest, i] @ inverse[rest, i] / inverse[i, i]  # second
        inner = big[s, labeled] - big[s, u] @ (inverse[np.ix_(rest, rest)] - number) @ big[np.ix_(u, labeled)]
        values.append(big[s, s] - det / big[s, s] + 2 * abs(inner @ y))
    assert TABULAR["quire_libact"].query(state_of(cell, n_labeled))[0] == unlabeled[int(np.argmin(values))]


@pytest.mark.slow
def test_the_published_quire_column_is_that_of_libact(tabular_dir: Path) -> None:
    results = run_tabular(["appendicitis"], ["quire", "quire_libact"], seeds=100, data_dir=tabular_dir)
    _, _, means = results.matrix("aubc_noinit")
    assert means[0, 1] == pytest.approx(0.8399, abs=5e-5)
    assert means[0, 0] == pytest.approx(0.8413, abs=5e-5)


def test_the_machine_without_hints_is_the_support_vector_machine() -> None:
    cell = cell_of(blobs(80, 3))
    x, y = cell.x_train, cell.y_train
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(axis=2) / 3)
    weights, bias = solve_machine(
        kernel, np.arange(len(x)), 2.0 * y - 1, np.ones(len(x)), np.ones(len(x)), tolerance=1e-9
    )
    model = SVC(gamma=1 / 3, tol=1e-9).fit(x, y)
    assert np.allclose(kernel @ weights + bias, model.decision_function(x), atol=1e-6)


def test_the_machine_with_hints_minimises_its_objective() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(14, 2))
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(axis=2))
    y, hints = np.sign(x[:8, 0]), np.arange(8, 14)
    weights, bias = solve_machine(
        kernel,
        np.concatenate([np.arange(14), hints]),
        np.concatenate([y, np.ones(6), -np.ones(6)]),
        np.concatenate([np.ones(8), np.full(12, -0.1)]),
        np.concatenate([np.full(8, 1.0), np.full(12, 0.5)]),
        tolerance=1e-8,
    )

    def objective(w: np.ndarray) -> float:
        f = kernel @ w[:-1] + w[-1]
        hinge = np.maximum(0, 1 - y * f[:8]).sum() + 0.5 * np.maximum(0, np.abs(f[hints]) - 0.1).sum()
        return float(w[:-1] @ kernel @ w[:-1] / 2 + hinge)

    ours = objective(np.append(weights, bias))
    for scale, seed in itertools.product((1e-4, 1e-2, 0.3), range(40)):  # convex: no neighbour may be better
        step = scale * np.random.default_rng(seed).normal(size=15)
        assert objective(np.append(weights, bias) + step) >= ours - 1e-9


def test_hintsvm_takes_the_largest_decision_value(cell: Cell) -> None:
    state = state_of(cell)
    pick = TABULAR["hintsvm"].query(state)[0]
    hints = np.sort(rng_for(0, "test").choice(np.arange(20, 30), size=5, replace=False))
    values = np.abs(hintsvm.hinted_decision(state, hints))
    assert pick == 20 + int(values.argmax())


def test_mixture_is_the_density_of_its_gaussians_and_does_not_underflow() -> None:
    rng = np.random.default_rng(0)
    x, centres = rng.normal(size=(30, 2)), rng.normal(size=(3, 2))
    log_p, member = dwus.mixture(x, centres)
    pdf = np.exp(-((x[:, None] - centres) ** 2).sum(axis=2) / 0.2) / (2 * np.pi * 0.1)
    weight = np.full(3, 1 / 3)
    for _ in range(100):
        share = pdf * weight / (pdf @ weight)[:, None]
        weight = share.mean(axis=0)
    assert np.allclose(np.exp(log_p), pdf @ weight)
    assert np.allclose(member, pdf * weight / (pdf @ weight)[:, None])
    far = dwus.mixture(rng.normal(size=(20, 300)) * 9, rng.normal(size=(5, 300)))
    assert np.isfinite(far[0]).all()
    assert np.allclose(far[1].sum(axis=1), 1)


def test_centre_labels_minimise_the_density_weighted_loss() -> None:
    rng = np.random.default_rng(0)
    centres, member = rng.normal(size=(4, 2)), rng.dirichlet(np.ones(4), size=25)
    y = (rng.random(25) < 0.5).astype(float)

    def loss(w: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(centres @ w[:2] + w[2])))
        one = member @ p
        return float(w[:2] @ w[:2] / 2 - np.where(y == 1, np.log(one), np.log(1 - one)).sum())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000})
    want = 1 / (1 + np.exp(-(centres @ best.x[:2] + best.x[2])))
    assert np.allclose(dwus.centre_labels(centres, member, y), want, atol=1e-4)


def test_dwus_takes_error_times_density(cell: Cell) -> None:
    state = state_of(cell)
    pick = TABULAR["dwus"].query(state)[0]
    log_p, member = state.memo["mixture"]
    p = member @ dwus.centre_labels(state.memo["centres"], member[:20], cell.y_train[:20].astype(float))
    assert pick == 20 + int(np.argmax((np.minimum(p, 1 - p) * np.exp(log_p))[20:]))


def test_bandit_update_is_exp4p() -> None:
    bandit = albl.Bandit(np.arange(5), horizon=50)
    advice = np.zeros((4, 5))
    advice[[0, 1, 2], [0, 1, 1]] = 1
    advice[3] = 0.2
    p_min = np.sqrt(np.log(4) / (4 * 50))
    q = ((1 - 4 * p_min) / 4 + p_min) * advice.sum(axis=0)
    position = bandit.draw(advice, np.random.default_rng(0))
    assert bandit.importance == pytest.approx([1 / q[position]])
    bandit.reward(0.7)
    want = []
    for arm in range(4):
        spread = sum(advice[arm, k] / q[k] for k in range(5) if q[k] > 0)
        estimate = advice[arm, position] * 0.7 / q[position]
        want.append(np.exp(p_min / 2 * (estimate + spread * np.sqrt(np.log(4 / 0.1) / (5 * 50)))))
    assert np.allclose(bandit.weights / bandit.weights.sum(), np.array(want) / sum(want))


def test_bandit_shifts_to_the_arm_that_pays() -> None:
    bandit = albl.Bandit(np.arange(4), horizon=400)
    rng = np.random.default_rng(0)
    for _ in range(400):
        position = bandit.draw(np.eye(4), rng)
        bandit.reward(float(position == 2))
    assert bandit.arm_probs().argmax() == 2
    assert bandit.arm_probs()[2] > 0.6
    assert bandit.arm_probs().sum() == pytest.approx(1)


def test_graph_density_by_loops() -> None:
    cell = cell_of(blobs(60, 3))
    x, n = cell.x_train, len(cell.x_train)
    distance = np.array([[np.abs(a - b).sum() for b in x] for a in x])
    edge = np.zeros((n, n), dtype=bool)
    for i in range(n):
        for j in sorted((j for j in range(n) if j != i), key=lambda j: distance[i, j])[:10]:
            edge[i, j] = edge[j, i] = True
    density = [np.mean([np.exp(-distance[i, j] / 3) for j in range(n) if edge[i, j]]) for i in range(n)]
    assert np.allclose(graph_density.neighbor_graph(x)[1], density)
    labeled = list(range(20))
    for pick in simulate(cell, "graph_density").order.tolist():
        floor = min(density) - 1
        for i in labeled:
            density[i] = floor
        assert pick == int(np.argmax(density))
        taken = density[pick]
        for j in range(n):
            if edge[pick, j]:
                density[j] -= taken
        labeled.append(pick)
        floor = min(density) - 1
        for i in labeled:
            density[i] = floor


def test_mcm_takes_the_middle_of_the_points_inside_the_margin() -> None:
    cell = cell_of(blobs(100, 2, seed=5))
    for n_labeled in range(20, 60, 4):
        state = state_of(cell, n_labeled)
        gap = np.abs(state.fit().decision())
        inside = [u for u in state.unlabeled.tolist() if gap[u] < gap[:n_labeled].min()]
        pick = mcm.mcm(state)[0]
        if inside:
            centre = cell.x_train[inside].mean(axis=0)
            assert pick == min(inside, key=lambda u: ((cell.x_train[u] - centre) ** 2).sum())
        else:
            assert pick == n_labeled + int(gap[n_labeled:].argmin())


def test_tree_scores_equal_the_best_pruning_by_recursion() -> None:
    rng = np.random.default_rng(0)
    tree = hier.Tree(rng.normal(size=(25, 2)), 2)
    y = (rng.random(25) < 0.3).astype(int)
    seen = rng.permutation(25)[:15].tolist()
    for item in seen:
        tree.add(item, int(y[item]))

    def own(node: int) -> float:
        labels = [y[i] for i in tree.items(node) if i in seen]
        errors = [1.0]
        for c in (0, 1):
            if labels:
                p, k = np.mean([label == c for label in labels]), len(labels)
                slack = 1 / k + np.sqrt(p * (1 - p) / k)
                low, other_high = max(p - slack, 0), min(1 - p + slack, 1)
                if 1 - low < 2 * (1 - other_high):
                    errors.append(1 - p)
        return min(errors)

    def best(node: int) -> float:
        if node < 25:
            return own(node)
        a, b = tree.children[node - 25]
        below = (tree.size[a] * best(a) + tree.size[b] * best(b)) / tree.size[node]
        return min(own(node), below)

    assert [tree.score[node] for node in range(49)] == pytest.approx([best(node) for node in range(49)])
    tree.refine()
    assert sorted(i for node in tree.pruning for i in tree.items(node)) == list(range(25))


def test_hier_leaves_pure_clusters_alone() -> None:
    """One far cluster is pure and well known, the other is a coin toss: queries go to the second."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 50])
    y = np.concatenate([np.zeros(100, dtype=int), rng.integers(2, size=100)])
    known = np.zeros(200, dtype=bool)
    known[:60] = known[100:130] = True
    picks = []
    for seed in range(25):
        state = state_of(cell_of(blobs(60)), seed=seed)
        state.x, state.labels = x, np.where(known, y, -1)
        state.labeled, state.unlabeled = np.flatnonzero(known), np.flatnonzero(~known)
        picks.append(int(hier.hier(state)[0]))
    assert np.mean(np.array(picks) >= 100) > 0.9


def test_capped_programme_agrees_with_a_general_solver() -> None:
    rng = np.random.default_rng(0)
    for b in (1, 3):
        a = rng.normal(size=(8, 8))
        h, q = a @ a.T, rng.normal(size=8)
        want = minimize(
            lambda z, h=h, q=q: z @ h @ z / 2 + q @ z,
            np.full(8, b / 8),
            bounds=[(0, 1)] * 8,
            constraints={"type": "eq", "fun": lambda z, b=b: z.sum() - b},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        got = solve_capped(h, q, b)
        assert got @ h @ got / 2 + q @ got == pytest.approx(want.fun, abs=1e-7)
        assert np.allclose(got, want.x, atol=1e-3)


def test_bmdr_model_minimises_its_objective() -> None:
    state = state_of(cell_of(blobs(50, 2)))
    problem = bmdr.problem_of(state)
    weight = np.random.default_rng(0).random(10)
    got = bmdr.fit_decision(problem, weight)
    kernel, y = problem.kernel, state.signs

    half = np.linalg.cholesky(kernel + 1e-10 * np.eye(30))  # f = half @ phi, |f|^2 in the kernel's norm = phi . phi

    def smoothed(phi: np.ndarray, eps: float) -> tuple[float, np.ndarray]:
        f = half @ phi
        size = np.sqrt(f[20:] ** 2 + eps)
        value = ((y - f[:20]) ** 2).sum() + 0.1 * phi @ phi + (weight * (f[20:] ** 2 + 2 * size)).sum()
        slope = np.concatenate([2 * (f[:20] - y), weight * (2 * f[20:] + 2 * f[20:] / size)])
        return float(value), half.T @ slope + 0.2 * phi

    phi = np.zeros(30)
    for eps in (1e-2, 1e-4, 1e-6, 1e-8):
        phi = minimize(smoothed, phi, args=(eps,), jac=True, options={"gtol": 1e-7, "maxiter": 5000}).x
    assert np.allclose(got, (half @ phi)[20:], atol=2e-3)


def test_bmdr_quadratic_programme_is_the_stated_one() -> None:
    state = state_of(cell_of(blobs(50, 2)), batch_size=2)
    problem = bmdr.problem_of(state)
    quadratic, linear = problem.match(1000.0)
    kernel = problem.kernel
    for j in range(10):
        across = sum(kernel[i, 20 + j] for i in range(20))
        within = sum(kernel[20 + i, 20 + j] for i in range(10))
        assert linear[j] == pytest.approx(1000 * ((10 - 2) / 30 * across - (20 + 2) / 30 * within))
        assert quadratic[j] == pytest.approx(500 * kernel[20 + j, 20:])


def test_bmdr_matches_the_pool_and_spal_prefers_what_is_easy() -> None:
    """Two dense far groups without labels: with a strong matching term the batch takes one of each."""
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(size=(20, 2)) * 0.3, rng.normal(size=(8, 2)) * 0.1 + 9, rng.normal(size=(8, 2)) * 0.1 - 9]
    )
    state = state_of(cell_of(blobs(60, 2)), batch_size=2)
    state.x = x
    picks = bmdr.bmdr(state)
    assert sorted(x[picks, 0] > 0) == [False, True]
    state.memo.clear()
    assert len(set(spal.spal(state).tolist())) == 2


def test_lal_features_by_hand() -> None:
    cell = cell_of(blobs(50, 3))
    y = cell.y_train[:20]
    forest = lal.grow_forest(cell.x_train[:20], y, 0)
    got = lal.features(forest, y, cell.x_train[20:])
    for i, row in enumerate(cell.x_train[20:]):
        votes = [tree.predict_proba(row[None])[0, 0] for tree in forest.estimators_]
        assert got[i, :2].tolist() == pytest.approx([np.mean(votes), np.std(votes)])
    depth = np.mean([tree.tree_.max_depth for tree in forest.estimators_])
    want = [y.mean(), forest.oob_score_, np.std(forest.feature_importances_) / 3, got[:, 1].mean(), depth, 20]
    assert np.allclose(got[:, 2:], want)


def test_lal_prefers_what_its_table_calls_useful() -> None:
    table = lal.regressor()
    sure, torn = [1.0, 0.0, 0.5, 0.8, 0.1, 0.2, 5, 30], [0.5, 0.45, 0.5, 0.8, 0.1, 0.2, 5, 30]
    gain = table.predict([sure, torn])
    assert gain[1] > gain[0]


@pytest.mark.slow
def test_lal_table_is_the_simulated_one() -> None:
    import sklearn

    with np.load(Path(lal.__file__).parents[1] / lal.TABLE, allow_pickle=False) as stored:
        if str(stored["version"]) != sklearn.__version__:
            pytest.skip("forests differ between versions of scikit-learn")
        want = stored["table"][: 2 * lal.CANDIDATES]
    assert np.allclose(lal.simulate_table(rng_for(0, "lal table"), 2), want, atol=1e-6)
