"""Rank statistics against published figures, textbook examples, other libraries and simulation."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats

from poolwise.bench.tabular.reference import MEANS, QUERIES, WITH_STD
from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.stats.ranks import (
    bayes_signed_rank,
    complete_rows,
    critical_difference,
    critical_difference_svg,
    friedman,
    mean_ranks,
    nemenyi,
    nemenyi_distance,
    penalty_matrix,
    performance_profile,
    power,
    rank_rows,
    seeds_needed,
    wilcoxon_holm,
    win_tie_loss_matrix,
)


def published_table() -> tuple[list[str], np.ndarray]:
    """The 26 x 16 table of arXiv 2306.08954 without the oracle, NaN where a run did not finish."""
    names = [*[c for c in WITH_STD["dataset"] if c != "BSO"], *MEANS["dataset"]]
    rows = []
    for dataset in QUERIES:
        cells = dict(zip(WITH_STD["dataset"], WITH_STD[dataset], strict=True))
        cells |= dict(zip(MEANS["dataset"], MEANS[dataset], strict=True))
        rows.append([float(cells[c].split("±")[0]) if cells[c][0] == "0" else np.nan for c in names])
    return names, np.array(rows)


def test_mean_ranks_of_the_published_table_are_the_published_mean_ranks() -> None:
    names, table = published_table()
    table, names = table[:, 1:], names[1:]  # the published ranks leave Random out
    ranks, finished = mean_ranks(table)
    want = {"US-C": 2.0, "MCM": 2.7, "QBC": 4.1, "LAL": 6.1, "EER": 6.9, "ALBL": 7.0, "US-NC": 7.8, "Hier": 8.0}
    want |= {"Core-Set": 9.0, "SPAL": 9.4, "BMDR": 9.9, "QUIRE": 11.5, "DWUS": 12.6, "HintSVM": 13.1}
    for name, rank in want.items():
        assert ranks[names.index(name)] == pytest.approx(rank, abs=0.051), name
    assert finished[names.index("US-C")] == 26
    assert finished[names.index("SPAL")] == 19


def test_us_c_beats_random_on_24_of_26_published_sets() -> None:
    names, table = published_table()
    counts = win_tie_loss_matrix(table)
    assert counts[names.index("US-C"), names.index("Random")].tolist() == [24, 0, 2]
    assert counts[names.index("Random"), names.index("US-C")].tolist() == [2, 0, 24]
    assert counts[names.index("EER"), names.index("Random")][0] == 15


def test_equal_scores_share_a_rank_and_unfinished_runs_have_none() -> None:
    ranks = rank_rows([[0.5, 0.7, 0.5 + 1e-15, np.nan], [np.nan, 1.0, 2.0, 3.0]])
    assert ranks[0, :3].tolist() == [2.5, 1.0, 2.5]
    assert np.isnan(ranks[0, 3])
    assert ranks[1, 1:].tolist() == [3.0, 2.0, 1.0]
    means, finished = mean_ranks([[1.0, np.nan], [2.0, np.nan]])
    assert np.isnan(means[1])
    assert finished.tolist() == [2, 0]
    assert complete_rows([[1, np.nan], [1, 2]]).tolist() == [[1, 2]]


def test_friedman_and_its_f_by_their_formulas() -> None:
    scores = np.random.default_rng(0).normal(size=(14, 4)) + np.arange(4) / 3  # no ties
    ranks = rank_rows(scores).mean(axis=0)
    chi2 = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)
    test = friedman(scores)
    assert (test.n, test.k) == (14, 4)
    assert test.chi2 == pytest.approx(chi2)
    assert test.p == pytest.approx(stats.chi2.sf(chi2, 3))
    f = 13 * chi2 / (14 * 3 - chi2)
    assert test.f == pytest.approx(f)
    assert test.p_f == pytest.approx(stats.f.sf(f, 3, 3 * 13))


def test_friedman_with_ties_and_gaps_is_that_of_scipy_on_the_complete_rows() -> None:
    scores = np.random.default_rng(1).integers(0, 4, size=(20, 3)).astype(float)
    scores[[3, 8], [0, 2]] = np.nan
    whole = np.delete(scores, [3, 8], axis=0)
    want = stats.friedmanchisquare(*whole.T)
    got = friedman(scores)
    assert (got.n, got.chi2, got.p) == (18, pytest.approx(want.statistic), pytest.approx(want.pvalue))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_nemenyi_distance_uses_the_tabulated_quantiles(k: int, q: float) -> None:
    assert nemenyi_distance(k, 20) == pytest.approx(q * np.sqrt(k * (k + 1) / 120), abs=1e-3)


def test_nemenyi_agrees_with_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = np.random.default_rng(0).normal(size=(15, 5)) + np.arange(5) / 2
    assert np.allclose(nemenyi(scores), posthocs.posthoc_nemenyi_friedman(scores).to_numpy(), atol=1e-3)


def test_nemenyi_p_is_alpha_at_the_critical_difference() -> None:
    scores = np.random.default_rng(1).normal(size=(30, 4))
    p, ranks, distance = nemenyi(scores), mean_ranks(scores)[0], nemenyi_distance(4, 30)
    assert np.array_equal(p < 0.05, np.abs(ranks[:, None] - ranks) > distance)
    scores[:, 3] += 0.8
    p, ranks = nemenyi(scores), mean_ranks(scores)[0]
    assert (p < 0.05).any()
    assert np.array_equal(p < 0.05, np.abs(ranks[:, None] - ranks) > distance)


def test_false_alarms_of_all_pair_tests_stay_near_alpha() -> None:
    rng = np.random.default_rng(0)
    alarms = np.zeros(3)
    for _ in range(150):
        scores = rng.normal(size=(20, 4))
        alarms += [nemenyi(scores).min() < 0.05, wilcoxon_holm(scores).min() < 0.05, friedman(scores).p_f < 0.05]
    assert np.all(alarms / 150 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150))


def test_wilcoxon_pairs_are_corrected_by_holm() -> None:
    scores = np.random.default_rng(2).normal(size=(18, 3)) + np.array([0, 0.5, 1.5])
    raw = sorted(stats.wilcoxon(scores[:, i] - scores[:, j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2)))
    want = [min(1, 3 * raw[0]), max(3 * raw[0], 2 * raw[1]), max(3 * raw[0], 2 * raw[1], raw[2])]
    got = wilcoxon_holm(scores)
    assert sorted(got[np.triu_indices(3, 1)]) == pytest.approx(want)
    assert np.array_equal(got, got.T)


def test_strategies_without_a_difference_are_not_told_apart() -> None:
    same = np.ones((5, 3))
    assert wilcoxon_holm(same).min() == 1
    assert nemenyi(same).min() == pytest.approx(1)
    assert friedman(same).p == 1
    assert wilcoxon_holm([[1.0, np.nan]]).tolist() == [[1, 1], [1, 1]]


def test_bayesian_signed_rank_by_plain_loops() -> None:
    d = np.array([0.02, -0.01, 0.03, 0.001, 0.015])
    got = bayes_signed_rank(d, rope=0.005, rng=np.random.default_rng(0), n_draws=4000)
    z, counts = [0.0, *d], np.zeros(3)
    rng = np.random.default_rng(1)
    for _ in range(1500):
        w, share = rng.dirichlet([0.5] + [1] * 5), np.zeros(3)
        for i in range(6):
            for j in range(6):
                mean = (z[i] + z[j]) / 2
                share[0 if mean < -0.005 else 2 if mean > 0.005 else 1] += w[i] * w[j]
        counts[share.argmax()] += 1
    assert np.allclose([got.worse, got.equal, got.better], counts / 1500, atol=0.05)
    assert got.worse + got.equal + got.better == pytest.approx(1)


def test_bayesian_signed_rank_sees_clear_cases_and_is_symmetric() -> None:
    rng = np.random.default_rng(0)
    assert bayes_signed_rank(np.full(20, 0.03), rng=rng).better > 0.99
    assert bayes_signed_rank(np.full(20, 0.001), rng=rng).equal > 0.99
    d = rng.normal(size=15) * 0.02
    one = bayes_signed_rank(d, rng=np.random.default_rng(3))
    other = bayes_signed_rank(-d, rng=np.random.default_rng(3))
    assert (one.worse, one.equal) == pytest.approx((other.better, other.equal))
    for bad in ([], [np.nan], [np.inf]):
        with pytest.raises(InputError, match="at least one finite difference"):
            bayes_signed_rank(bad, rng=rng)


def test_critical_difference_groups_are_the_largest_runs_that_cannot_be_separated() -> None:
    names, table = published_table()
    picture = critical_difference(table, names)
    assert picture.n == 18
    assert picture.names[0] == "US-C"
    assert list(picture.ranks) == sorted(picture.ranks)
    joined = {(i, j) for a, b in picture.groups for i in range(a, b + 1) for j in range(i + 1, b + 1)}
    for i in range(16):
        for j in range(i + 1, 16):
            assert ((i, j) in joined) == (picture.ranks[j] - picture.ranks[i] < picture.distance)
    assert picture.friedman_p is not None
    assert picture.friedman_p < 1e-6


def test_picture_is_a_document_with_every_name_and_bar() -> None:
    names, table = published_table()
    names[0] = "<random> & co"
    picture = critical_difference(table, names)
    root = ElementTree.fromstring(critical_difference_svg(picture))
    words = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in names:
        assert any(word.startswith(name + " ") for word in words)
    bars = [n for n in root.iter("{http://www.w3.org/2000/svg}line") if n.get("stroke-width") == "4"]
    assert len(bars) == len(picture.groups)


def test_long_names_have_room_in_the_picture() -> None:
    names = ["a", "a_strategy_with(options=10, and=another)"]
    root = ElementTree.fromstring(critical_difference_svg(critical_difference([[1, 2], [1, 3], [2, 1]], names)))
    width = float(root.get("width", "0"))
    for node in root.iter("{http://www.w3.org/2000/svg}text"):
        x, length = float(node.get("x", "0")), 7 * len(node.text or "")
        assert node.get("text-anchor") != "end" or x >= length
        assert node.get("text-anchor") != "start" or x + length <= width


def test_two_strategies_and_gaps_are_handled_or_refused() -> None:
    assert critical_difference([[1, 2], [1, 3], [2, 1]], ["a", "b"]).friedman_p is None
    with pytest.raises(InputError, match="2 data sets that all of them finished"):
        critical_difference([[1, np.nan], [np.nan, 1]], ["a", "b"])
    with pytest.raises(InputError, match="at least 3 strategies"):
        friedman([[1, 2], [1, 3]])
    with pytest.raises(ShapeError, match="data sets, strategies"):
        mean_ranks([1, 2, 3])
    with pytest.raises(ShapeError, match="3 names for 2"):
        critical_difference([[1, 2], [1, 3]], ["a", "b", "c"])


def test_penalty_matrix_counts_significant_points() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(5, 4)) * 0.01
    better = base + np.array([0.0, 0.1, 0.1, 0.1]) + rng.normal(size=(5, 4)) * [1e-2, 1e-3, 1e-3, 1e-3]
    curves = {"a": better, "b": base}
    names, penalty = penalty_matrix([curves, curves])
    want = np.zeros((2, 2))
    for point in range(4):
        test = stats.ttest_rel(better[:, point], base[:, point])
        if test.pvalue < 0.05:
            want[(0, 1) if test.statistic > 0 else (1, 0)] += 2 / 4
    assert names == ["a", "b"]
    assert penalty.tolist() == want.tolist()
    assert penalty[0, 1] >= 1.5
    assert penalty_matrix([{"a": base, "b": base}])[1].tolist() == [[0, 0], [0, 0]]


def test_penalty_matrix_refuses_unequal_experiments() -> None:
    with pytest.raises(ShapeError, match="experiment 1"):
        penalty_matrix([{"a": np.ones((3, 2))}, {"b": np.ones((3, 2))}])
    with pytest.raises(ShapeError, match="experiment 0"):
        penalty_matrix([{"a": np.ones((1, 2))}])
    with pytest.raises(InputError, match="at least one experiment"):
        penalty_matrix([])


def test_performance_profile_by_hand() -> None:
    scores = [[0.9, 0.8, np.nan], [0.5, 0.6, 0.55]]
    assert performance_profile(scores, [0, 0.06, 0.1]).tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0.5], [1, 1, 0.5]]


def test_power_agrees_with_simulation() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.005, 0.012, size=(20000, 30))
    t = d.mean(axis=1) / d.std(axis=1, ddof=1) * np.sqrt(30)
    seen = (np.abs(t) > stats.t.ppf(0.975, 29)).mean()
    assert power(30, 0.012) == pytest.approx(seen, abs=0.012)


def test_seeds_needed_is_the_smallest_number_with_the_wanted_power() -> None:
    for spread in (0.001, 0.01, 0.0333, 0.2):
        n = seeds_needed(spread)
        assert power(n, spread) >= 0.8
        assert n == 2 or power(n - 1, spread) < 0.8
    assert seeds_needed(0.01, effect=-0.005) == seeds_needed(0.01) == 34  # textbook: d = 0.5, two-sided 5 %, 80 %


@pytest.mark.parametrize(("spread", "effect", "wanted"), [(0.0, 0.1, 0.8), (1.0, 0.0, 0.8), (1.0, 0.1, 1.0)])
def test_settings_without_an_answer_are_refused(spread: float, effect: float, wanted: float) -> None:
    with pytest.raises(OptionError):
        seeds_needed(spread, effect, wanted)
