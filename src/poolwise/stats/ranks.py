"""Many strategies on many data sets: ranks, tests that correct for looking often, and how many seeds are enough.

Throughout, `scores` is (n, k): n data sets, k strategies, higher is better, NaN where a strategy did not finish.

Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006 (Friedman, Nemenyi,
critical-difference picture); Benavoli, Corani, Demsar & Zaffalon, "Time for a Change", JMLR 18, 2017 (Bayesian
signed-rank test); Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds", ICLR 2020
(penalty matrix).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.stats.paired import holm, win_tie_loss

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Scores that differ by less are equal."""


def rank_rows(scores: Any) -> Floats:
    """Rank the strategies of each data set among those that finished: 1 is best, equals share the mean rank.

    Returns
    -------
    (n, k) float64, NaN where a score is NaN.
    """
    table = _table(scores)
    ranks = np.full(table.shape, np.nan)
    for row, out in zip(table, ranks, strict=True):
        done = ~np.isnan(row)
        out[done] = stats.rankdata(-_merge_equal(row[done]))
    return ranks


def mean_ranks(scores: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Average the ranks of each strategy over the data sets that it finished.

    Returns
    -------
    (k,) float64 mean ranks, NaN for a strategy that finished nothing, and (k,) int64 data sets finished. Where these
    numbers differ, the means are over different fields of competitors: compare `complete_rows(scores)` instead.
    """
    ranks = rank_rows(scores)
    finished = (~np.isnan(ranks)).sum(axis=0)
    sums = np.nansum(ranks, axis=0)
    return np.divide(sums, finished, out=np.full(len(sums), np.nan), where=finished > 0), finished


def complete_rows(scores: Any) -> Floats:
    """Keep the data sets that every strategy finished, (m, k)."""
    table = _table(scores)
    kept: Floats = table[~np.isnan(table).any(axis=1)]
    return kept


@dataclass(frozen=True, slots=True)
class Friedman:
    """Test that k strategies are equally good, on the n data sets that all of them finished.

    chi2, p : Friedman's statistic with correction for ties, and its asymptotic p value
    f, p_f : Iman and Davenport's F, which is less conservative
    """

    n: int
    k: int
    chi2: float
    p: float
    f: float
    p_f: float


def friedman(scores: Any) -> Friedman:
    """Test whether any of at least three strategies differ in rank.

    Raises
    ------
    InputError
        If fewer than three strategies, or fewer than two data sets that all finished, are there.
    """
    table = _comparable(scores, strategies=3)
    n, k = table.shape
    ranks = rank_rows(table)
    if np.all(ranks == ranks[0, 0]):
        return Friedman(n, k, 0.0, 1.0, 0.0, 1.0)
    chi2, p = (float(v) for v in stats.friedmanchisquare(*(-ranks).T))
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > ROUNDING else float("inf")
    return Friedman(n, k, chi2, p, f, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))))


def nemenyi_distance(k: int, n: int, alpha: float = 0.05) -> float:
    """Smallest difference of two mean ranks that Nemenyi's test calls significant (the critical difference).

    Parameters
    ----------
    k : strategies, at least 2
    n : data sets
    """
    _check_share("alpha", alpha)
    if k < 2 or n < 1:
        raise OptionError(f"Nemenyi's test needs at least 2 strategies and 1 data set; got {k} and {n}.")
    quantile = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(k * (k + 1) / (6 * n)))


def nemenyi(scores: Any) -> Floats:
    """Compare all pairs of strategies by their mean ranks over the data sets that all finished.

    Returns
    -------
    (k, k) float64 p values, corrected for all pairs together; 1 on the diagonal.
    """
    table = _comparable(scores)
    n, k = table.shape
    ranks = rank_rows(table).mean(axis=0)
    gaps = np.abs(ranks[:, None] - ranks) / np.sqrt(k * (k + 1) / (6 * n))
    p = np.asarray(stats.studentized_range.sf(gaps * np.sqrt(2), k, np.inf), dtype=np.float64)
    p = np.clip(p, 0.0, 1.0)
    np.fill_diagonal(p, 1.0)
    return p


def wilcoxon_holm(scores: Any) -> Floats:
    """Compare all pairs by Wilcoxon's signed-rank test on the data sets that both finished, with Holm's correction.

    Returns
    -------
    (k, k) float64, symmetric; 1 on the diagonal, and 1 for pairs without a difference to rank.
    """
    table = _table(scores)
    k = table.shape[1]
    pairs = [(i, j) for i in range(k) for j in range(i)]
    raw = [_wilcoxon(table[:, i] - table[:, j]) for i, j in pairs]
    p = np.ones((k, k))
    for (i, j), value in zip(pairs, holm(raw) if pairs else [], strict=True):
        p[i, j] = p[j, i] = value
    return p


def _wilcoxon(differences: Floats) -> float:
    d = differences[~np.isnan(differences)]
    d = np.where(np.abs(d) < ROUNDING, 0.0, d)
    return float(stats.wilcoxon(d[d != 0]).pvalue) if d.any() else 1.0


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Posterior probabilities about the first of two strategies: worse, practically equal, better; they sum to 1."""

    worse: float
    equal: float
    better: float


def bayes_signed_rank(
    differences: Any, *, rope: float = 0.005, rng: np.random.Generator, n_draws: int = 20_000, prior: float = 0.5
) -> SignedRank:
    """Ask which is most likely on the next data set: worse, practically equal, or better.

    Parameters
    ----------
    differences : (n,) first minus second strategy, one for each data set; NaN are left out
    rope : half-width of "practically equal" (region of practical equivalence), >= 0
    n_draws : draws from the posterior; each is a Dirichlet weighting of the data sets
    prior : weight of a pseudo data set without a difference

    Notes
    -----
    For a draw w, the three shares are sums of w_i w_j over pairs whose mean difference is below, inside or above
    the region; the answer counts how often each share is the largest. Time O(n_draws n^2).
    """
    d = np.asarray(differences, dtype=np.float64).ravel()
    z = np.append(0.0, d[~np.isnan(d)])  # the pseudo data set first
    if len(z) < 2 or not np.isfinite(z).all() or rope < 0 or prior <= 0 or n_draws < 1:
        raise InputError(
            f"a signed-rank test needs at least one finite difference, rope >= 0, prior > 0 and a draw; "
            f"got {len(z) - 1} differences, rope {rope}, prior {prior}, n_draws {n_draws}."
        )
    walsh = (z[:, None] + z) / 2
    below, above = (walsh < -rope).astype(np.float64), (walsh > rope).astype(np.float64)
    weights = rng.dirichlet(np.append(prior, np.ones(len(z) - 1)), size=n_draws)  # (n_draws, n + 1)
    low = np.einsum("di,di->d", weights @ below, weights)
    high = np.einsum("di,di->d", weights @ above, weights)
    shares = np.column_stack([low, 1 - low - high, high])  # (n_draws, 3)
    largest = np.isclose(shares, shares.max(axis=1, keepdims=True), atol=1e-12)
    worse, equal, better = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
    return SignedRank(worse, equal, better)


@dataclass(frozen=True, slots=True)
class CriticalDifference:
    """What a critical-difference picture shows.

    names, ranks : best first
    distance : difference of mean ranks that is significant
    groups : first and last place of each largest run of strategies that cannot be told apart
    n : data sets that all finished
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    distance: float
    groups: tuple[tuple[int, int], ...]
    n: int
    alpha: float
    friedman_p: float | None


def critical_difference(scores: Any, names: Sequence[str], alpha: float = 0.05) -> CriticalDifference:
    """Rank strategies on the data sets that all finished, and find those that Nemenyi's test cannot separate."""
    table = _comparable(scores)
    if len(names) != table.shape[1]:
        raise ShapeError(f"{len(names)} names for {table.shape[1]} columns of scores; expected one each.")
    n, k = table.shape
    ranks = rank_rows(table).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    sorted_ranks = ranks[order]
    distance = nemenyi_distance(k, n, alpha)
    runs = [(i, int(np.flatnonzero(sorted_ranks - sorted_ranks[i] < distance).max())) for i in range(k)]
    groups = [run for i, run in enumerate(runs) if run[1] > run[0] and (i == 0 or run[1] > runs[i - 1][1])]
    return CriticalDifference(
        names=tuple(names[i] for i in order),
        ranks=tuple(sorted_ranks.tolist()),
        distance=distance,
        groups=tuple(groups),
        n=n,
        alpha=alpha,
        friedman_p=friedman(table).p_f if k > 2 else None,
    )


def critical_difference_svg(picture: CriticalDifference) -> str:
    """Draw a critical-difference picture as an SVG document: best strategies left, bars join what is not separable."""
    k = len(picture.names)
    left = max(110.0, 60.0 + 7 * max(map(len, picture.names)))  # room for the longest name and its rank
    right, width = left + 420, 2 * left + 420
    scale = (right - left) / max(k - 1, 1)

    def across(rank: float) -> float:
        return left + (rank - 1) * scale

    half = (k + 1) // 2
    top = 62.0 + 9 * len(picture.groups)
    height = top + 20 * half + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12">',
        "<title>Mean ranks; joined strategies cannot be told apart</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        _line(left, 45, right, 45),
    ]
    for tick in range(1, k + 1):
        lines += [_line(across(tick), 40, across(tick), 45), _text(across(tick), 35, str(tick), "middle")]
    length = min(picture.distance * scale, right - left)
    lines += [_line(left, 14, left + length, 14, 2), _text(left + length + 6, 18, f"CD = {picture.distance:.2f}")]
    for place, (name, rank) in enumerate(zip(picture.names, picture.ranks, strict=True)):
        on_left = place < half
        y = top + 20 * (place if on_left else k - 1 - place) + 10
        edge = left - 10 if on_left else right + 10
        lines += [_line(across(rank), 45, across(rank), y), _line(across(rank), y, edge, y)]
        words = f"{name} {rank:.2f}"
        lines.append(_text(edge - 4 if on_left else edge + 4, y + 4, words, "end" if on_left else "start"))
    for level, (first, last) in enumerate(picture.groups):
        y = 53 + 9 * level
        lines.append(_line(across(picture.ranks[first]) - 4, y, across(picture.ranks[last]) + 4, y, 4))
    note = f"{picture.n} data sets, alpha = {picture.alpha:g}"
    if picture.friedman_p is not None:
        note += f", Friedman p = {picture.friedman_p:.2g}"
    lines += [_text(left, height - 8, note), "</svg>"]
    return "\n".join(lines)


def _line(x1: float, y1: float, x2: float, y2: float, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="black" stroke-width="{width:g}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def win_tie_loss_matrix(scores: Any, tolerance: float = ROUNDING) -> NDArray[np.int64]:
    """Count, for each pair, the data sets on which the first was better, equal, worse; both must have finished.

    Returns
    -------
    (k, k, 3) int64: wins, ties, losses of the row's strategy against the column's.
    """
    table = _table(scores)
    k = table.shape[1]
    out = np.zeros((k, k, 3), dtype=np.int64)
    for i in range(k):
        for j in range(k):
            d = table[:, i] - table[:, j]
            out[i, j] = win_tie_loss(d[~np.isnan(d)], tolerance)
    return out


def penalty_matrix(experiments: Sequence[Mapping[str, Any]], alpha: float = 0.05) -> tuple[list[str], Floats]:
    """Count how often each strategy beats each other one along the learning curves.

    Parameters
    ----------
    experiments : one for each data set: name -> (seeds, points) accuracies on the same seeds and label counts; the
        names are the same in all
    alpha : level of the two-sided paired t test made at each point

    Returns
    -------
    the names, and (k, k) float64: entry (i, j) sums over data sets the share of points at which i is significantly
    better than j, so it lies between 0 and the number of data sets. The mean of a column says how often that
    strategy is beaten: small is good.

    Raises
    ------
    ShapeError, InputError
        If names or shapes differ, fewer than two seeds are there, or a value is not finite.
    """
    _check_share("alpha", alpha)
    if not experiments:
        raise InputError(
            "a penalty matrix needs at least one experiment; got none. Pass one mapping for each data set."
        )
    names = list(experiments[0])
    total = np.zeros((len(names), len(names)))
    for number, experiment in enumerate(experiments):
        curves = {name: np.asarray(values, dtype=np.float64) for name, values in experiment.items()}
        shapes = {c.shape for c in curves.values()}
        if set(curves) != set(names) or len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] < 2:
            raise ShapeError(
                f"experiment {number} must hold {names}, each (seeds >= 2, points) of one shape; got "
                + ", ".join(f"{name} {c.shape}" for name, c in curves.items())
            )
        stack = np.stack([curves[name] for name in names])  # (k, S, R)
        if not np.isfinite(stack).all():
            raise InputError(f"experiment {number} holds NaN or inf; expected accuracies. Leave out seeds that failed.")
        n_seeds = stack.shape[1]
        d = stack[:, None] - stack  # (k, k, S, R)
        mean, error = d.mean(axis=2), d.std(axis=2, ddof=1) / np.sqrt(n_seeds)
        bound = float(stats.t.ppf(1 - alpha / 2, n_seeds - 1))
        total += ((mean > bound * error) & (mean > ROUNDING)).mean(axis=2)
    return names, total


def performance_profile(scores: Any, gaps: Any) -> Floats:
    """Share of data sets on which each strategy is within each gap of the best score.

    Parameters
    ----------
    gaps : (g,) numbers >= 0 in the unit of the scores

    Returns
    -------
    (g, k) float64; a strategy that did not finish a data set is not within any gap there.
    """
    table = _table(scores)
    table = table[~np.isnan(table).all(axis=1)]
    if not len(table):
        raise InputError("a performance profile needs a data set that some strategy finished; got none.")
    behind = np.nanmax(table, axis=1, keepdims=True) - table  # (n, k)
    behind = np.where(np.isnan(behind), np.inf, behind)
    return np.array([(behind <= gap + ROUNDING).mean(axis=0) for gap in np.asarray(gaps, dtype=np.float64).ravel()])


def power(n_seeds: int, spread: float, effect: float = 0.005, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired t test over n_seeds sees a true difference.

    Parameters
    ----------
    n_seeds : pairs, at least 2
    spread : standard deviation of the differences of one seed, > 0
    effect : true mean difference, in the same unit; 0.005 is half a point of accuracy
    """
    _check_share("alpha", alpha)
    if n_seeds < 2 or not spread > 0 or not np.isfinite([spread, effect]).all():
        raise OptionError(
            f"power needs at least 2 seeds and a spread above 0; got {n_seeds} seeds, spread {spread}, effect {effect}."
        )
    bound = float(stats.t.ppf(1 - alpha / 2, n_seeds - 1))
    shift = abs(effect) / spread * np.sqrt(n_seeds)
    return float(stats.nct.sf(bound, n_seeds - 1, shift) + stats.nct.cdf(-bound, n_seeds - 1, shift))


def seeds_needed(spread: float, effect: float = 0.005, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of seeds at which a paired t test sees a true difference with the wanted probability.

    Parameters
    ----------
    spread : standard deviation of the paired differences, such as `np.std(a - b, ddof=1)` of a pilot
    effect : difference that should be seen, not 0
    wanted : probability of seeing it, in (0, 1)

    Returns
    -------
    At least 2. Found by doubling and bisection, since power grows with the number of seeds.
    """
    _check_share("wanted", wanted)
    if effect == 0:
        raise OptionError("a difference of 0 is never seen; name the smallest effect that matters, such as 0.005.")
    high = 2
    while power(high, spread, effect, alpha) < wanted:
        high *= 2
        if high > 10**8:
            raise OptionError(f"more than {high} seeds would be needed for an effect of {effect} at spread {spread}.")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if middle >= 2 and power(middle, spread, effect, alpha) >= wanted:
            high = middle
        else:
            low = middle
    return max(high, 2)


def _table(scores: Any) -> Floats:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape or np.isinf(table).any():
        raise ShapeError(
            f"scores must be (data sets, strategies) of finite numbers or NaN, at least one of each; got {table.shape}."
        )
    return table


def _comparable(scores: Any, strategies: int = 2) -> Floats:
    table = complete_rows(scores)
    if table.shape[1] < strategies or len(table) < 2:
        raise InputError(
            f"this comparison needs at least {strategies} strategies and 2 data sets that all of them finished; got "
            f"{table.shape[1]} and {len(table)}. Leave out strategies with gaps, or run them on the other data sets."
        )
    return table


def _merge_equal(row: Floats) -> Floats:
    """Give scores within rounding of each other the same value, so that they share a rank."""
    order = np.argsort(row, kind="stable")
    merged = row[order]
    for i in range(1, len(merged)):
        if merged[i] - merged[i - 1] < ROUNDING:
            merged[i] = merged[i - 1]
    out = np.empty_like(row)
    out[order] = merged
    return out


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise OptionError(f"{name} must be between 0 and 1; got {value!r}.")
