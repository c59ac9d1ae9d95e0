"""The committed result files of the tabular benchmark: a page, a table of all runs, a critical-difference picture."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from poolwise.bench.tabular.oracle import ORACLES
from poolwise.bench.tabular.reference import DIFFERENT_FILE, QUERIES, Published, published
from poolwise.bench.tabular.results import PUBLISHED_SETTING, Results, Row, column_of
from poolwise.chance import rng_for
from poolwise.stats.curves import aubc, aubc_within
from poolwise.stats.paired import paired_differences
from poolwise.stats.ranks import (
    bayes_signed_rank,
    critical_difference,
    critical_difference_svg,
    mean_ranks,
    penalty_matrix,
    performance_profile,
    seeds_needed,
    wilcoxon_holm,
    win_tie_loss_matrix,
)
from poolwise.stats.wins import win_shares

VALUES = ("aubc", "aubc_noinit", "final", "f1", "auc_hard", "auc")
REPLICAS = ("quire_libact",)
"""Not ranked: they are there for one column of the published table."""
ENOUGH = 10
"""Seeds from which on our own deviation is used for a verdict; the published one below."""
BUDGETS = (0.05, 0.1, 0.25)
"""Shares of the pool for budget-limited areas: where the whole-pool area is mostly tail."""
NEAR = 0.01
"""Areas within one point of the best of a data set are as good as it for most purposes."""


def write_report(results: Results, folder: Path, notes: str = "") -> list[Path]:
    """Write tabular.md, tabular.csv and one picture for each field of strategies: tabular.svg, tabular-2.svg, ...

    Parameters
    ----------
    notes : Markdown put after the tables of published numbers, such as explanations of deviations

    Returns
    -------
    the paths written; there is no picture if no two strategies share two data sets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "tabular.md", folder / "tabular.csv"]
    with paths[1].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "strategy", "seed", "setting", *VALUES, "seconds"])
        for row in results.rows:
            values = (f"{getattr(row, name):.6f}" for name in VALUES)
            writer.writerow([row.dataset, row.strategy, row.seed, row.setting, *values, f"{row.seconds:.3f}"])
    parts = [
        "# Tabular benchmark",
        "Splits, model and areas as in Lu, Li & Lin, arXiv 2306.08954; scikit-learn "
        f"{results.settings.get('scikit-learn', '')}. `noinit` is the convention of the published table, `AUBC` the "
        'true area; *F1*, *AUC hard* and *AUC* are the areas of F1, of the ROC area of predicted classes (the "AUC" of '
        "Zhan et al.) and of the ROC area of decision values. Published means are over 100 seeds that every strategy "
        "of that study completed; ours over seeds 0, 1, 2, ... *Over Random*: gain in points on the seeds that both "
        "ran, with its standard error, next to the difference of the published means. Strategies share splits, so "
        "gains are known much better than levels. *s/run*: seconds spent in queries, on a busy machine.",
    ]
    settings = sorted({row.setting for row in results.rows}, key=lambda s: (s != PUBLISHED_SETTING, s))
    for setting in settings:
        part = replace(results, rows=tuple(row for row in results.rows if row.setting == setting))
        parts += [f"## {_title(setting)}", _against_published(part)]
        if setting == settings[0] and notes:
            parts += [notes]
        if ", budget pool," in setting:
            parts += ["### Small budgets"]
            parts += [
                "Mean area up to a share of the pool, as difference from Random in points on the same seeds. *Log "
                "axis*: the whole curve over the logarithm of the labels, on which the long tail weighs little."
            ]
            parts += [_small_budgets(part)]
        parts += _oracle_shares(part)
        parts += _comparison(part, folder, paths)
    plain = replace(results, rows=tuple(row for row in results.rows if row.setting == PUBLISHED_SETTING))
    parts += [
        "## How many seeds",
        "Standard deviation of the paired difference from Random over seeds (mean over data sets), and the number of "
        "seeds at which a paired t test sees half a point with 80 % probability.",
        _seeds(plain),
        *_not_run(results),
    ]
    paths[0].write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return paths


def _title(setting: str) -> str:
    """Say a setting in words."""
    if setting == PUBLISHED_SETTING:
        return "Whole pool, one label at a time: ours next to the published numbers"
    model, batch, budget, initial = (part.rpartition(" ")[2] for part in setting.split(", "))
    return (
        f"{'Whole pool' if budget == 'pool' else f'First {budget} labels'} by {batch} at a time, "
        f"after {initial} initial labels, {model}"
    )


def _not_run(results: Results) -> list[str]:
    """What the tables above lack, and why."""
    lines = [f"* {dataset}: {reason}" for dataset, reason in results.missing]
    lines += [f"* refused: {reason}" for reason in dict.fromkeys(reason for _, _, reason in results.refused)]
    lines += [f"* failed: {s} on {d}, seed {seed}: {reason}" for d, s, seed, reason in results.failed]
    skipped = [reason.partition(", seed ")[0] for _, _, reason in results.skipped]
    lines += [
        f"* {name}: {skipped.count(name)} seeds skipped, whose initial set lacks a class"
        for name in dict.fromkeys(skipped)
    ]
    return ["## Not run", "\n".join(lines)] if lines else []


def groups_of(results: Results) -> dict[tuple[str, str], list[Row]]:
    """Rows by data set and strategy, sorted by seed."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(results.rows, key=lambda row: row.seed):
        groups.setdefault((row.dataset, row.strategy), []).append(row)
    return groups


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _over_random(group: list[Row], plain: list[Row], column: str) -> list[str]:
    """Ours and the published gain over Random, in points; ours on the seeds that both ran."""
    value = "aubc_noinit" if group[0].setting == PUBLISHED_SETTING else "aubc"
    base = {row.seed: getattr(row, value) for row in plain}
    gains = [100 * (getattr(row, value) - base[row.seed]) for row in group if row.seed in base]
    if group[0].strategy == "random" or not gains:
        return ["", ""]
    error = f" ± {np.std(gains, ddof=1) / np.sqrt(len(gains)):.2f}" if len(gains) > 1 else ""
    known, random = (_published(group[0], name) for name in (column, "Random"))
    other = f"{100 * (known.mean - random.mean):+.2f}" if known and random else ""
    return [f"{np.mean(gains):+.2f}{error}", other]


def _published(row: Row, column: str) -> Published | None:
    """Figure to put beside a row: of its own convention, or as true area where labels were bought in batches."""
    known = published(row.dataset, column)
    if known is None or row.setting == PUBLISHED_SETTING:
        return known
    if row.setting.startswith("svm-rbf,") and row.setting.endswith("budget pool, initial 20"):
        factor = QUERIES[row.dataset] / (QUERIES[row.dataset] - 1)
        return replace(known, mean=known.mean * factor)
    return None


def _verdict(group: list[Row], values: np.ndarray, column: str) -> list[str]:
    """Published figure, difference and verdict; two standard errors as for independent seeds."""
    known = _published(group[0], column) if column else None
    if known is None:
        return ["", "", ""]
    figure = f"{known.mean:.4f}" + ("" if known.std is None else f" ± {known.std:.4f}")
    difference = float(values.mean()) - known.mean
    gap = f"{round(difference, 4) + 0.0:+.4f}"  # adding zero turns -0 into 0
    if group[0].dataset in DIFFERENT_FILE:
        return [figure, gap, "other file"]
    if abs(difference) < 0.00055:
        return [figure, gap, "equal to 0.0005"]
    own = float(values.std(ddof=1)) if len(values) >= ENOUGH else known.std
    if own is None:
        return [figure, gap, "few seeds"]
    two_se = 2 * float(np.hypot(own / np.sqrt(len(values)), (known.std or own) / np.sqrt(known.n_seeds)))
    return [figure, gap, "within 2 se" if abs(difference) <= two_se else "differs"]


def _against_published(results: Results) -> str:
    rows, groups = [], groups_of(results)
    for (dataset, strategy), group in sorted(groups.items()):
        own = group[0].setting == PUBLISHED_SETTING
        values = np.array([row.aubc_noinit if own else row.aubc for row in group])
        spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
        column = column_of(strategy)
        area = np.mean([row.aubc for row in group])
        rows.append(
            [
                dataset,
                strategy,
                str(len(group)),
                *([f"{area:.4f}", f"{values.mean():.4f}{spread}"] if own else [f"{area:.4f}{spread}"]),
                *_verdict(group, values, column),
                *_over_random(group, groups.get((dataset, "random"), []), column),
                *(f"{np.mean([getattr(row, name) for row in group]):.4f}" for name in VALUES[2:]),
                f"{np.mean([row.seconds for row in group]):.2f}",
            ]
        )
    header = ["data set", "strategy", "seeds", "AUBC", *(["noinit"] if own else [])]
    header += ["published", "difference", "verdict", "over Random", "published"]
    header += ["F-acc", "F1", "AUC hard", "AUC", "s/run"]
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return markdown([header[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _small_budgets(results: Results) -> str:
    groups, rows = groups_of(results), []
    areas: dict[str, Callable[[Row], float]] = {
        f"{share:.0%} of the pool": partial(_area, share=share) for share in BUDGETS
    } | {"log axis": _log_area}
    strategies = [s for s in dict.fromkeys(row.strategy for row in results.rows) if s != "random"]
    for strategy in strategies:
        gains: list[list[float]] = [[] for _ in areas]
        for (dataset, name), group in groups.items():
            plain = {row.seed: row for row in groups.get((dataset, "random"), [])}
            if name != strategy or not plain:
                continue
            for place, area in enumerate(areas.values()):
                pairs = [(area(row), area(plain[row.seed])) for row in group if row.seed in plain]
                gains[place].append(float(np.mean([a - b for a, b in pairs])) if pairs else np.nan)
        if gains[0]:
            rows.append([strategy, str(len(gains[0])), *(f"{100 * np.nanmean(g):+.2f}" for g in gains)])
    return markdown(["strategy", "data sets", *areas], rows)


def _oracle_shares(results: Results) -> list[str]:
    """How much of what the area-ranked oracle gains over Random each strategy gains, on the seeds of the oracle."""
    groups, rows = groups_of(results), []
    for (dataset, strategy), group in groups.items():
        area = {row.seed: row.aubc for row in group}
        top, plain = ({r.seed: r.aubc for r in groups.get((dataset, s), [])} for s in ("oracle_area", "random"))
        seeds = sorted(set(area) & set(top) & set(plain))
        possible = sum(top[seed] - plain[seed] for seed in seeds)
        if strategy not in ("random", "oracle_area") and possible > 0:
            share = sum(area[seed] - plain[seed] for seed in seeds) / possible
            below = sum(area[seed] <= top[seed] for seed in seeds)
            rows.append([dataset, strategy, str(len(seeds)), f"{100 * share:+.0f} %", f"{below} of {len(seeds)}"])
    if not rows:
        return []
    header = ["data set", "strategy", "seeds", "share of the oracle's gain", "oracle at least as good"]
    about = (
        "(AUBC - Random) / (oracle_area - Random), of the sums over seeds. The oracle sees test labels; it is no bound."
    )
    return ["### Beside the oracle", about, markdown(header, rows)]


def _area(row: Row, share: float) -> float:
    first, last = row.n_labeled[0], row.n_labeled[-1]
    return aubc_within(row.n_labeled, row.accuracy, first + max(1.0, share * (last - first)))


def _log_area(row: Row) -> float:
    """Mean accuracy over the logarithm of the labels, the first ones included."""
    return aubc(np.log(row.n_labeled), row.accuracy)


def _comparison(results: Results, folder: Path, paths: list[Path]) -> list[str]:
    """Ranks, tests and pictures, over the data sets and seeds that the strategies share."""
    groups = groups_of(results)
    sections = []
    for wanted in _fields(results):
        datasets = [d for d in dict.fromkeys(d for d, _ in groups) if all((d, s) in groups for s in wanted)]
        shared = {d: set.intersection(*({r.seed for r in groups[d, s]} for s in wanted)) for d in datasets}
        datasets = [d for d in datasets if shared[d]]
        if len(datasets) < 2:
            continue
        rows = {(d, s): [r for r in groups[d, s] if r.seed in shared[d]] for d in datasets for s in wanted}
        table = np.array([[np.mean([r.aubc for r in rows[d, s]]) for s in wanted] for d in datasets])
        sections += _one_comparison(wanted, datasets, table, rows)
        pictures = [path for path in paths if path.suffix == ".svg"]
        path = folder / ("tabular.svg" if not pictures else f"tabular-{len(pictures) + 1}.svg")
        path.write_text(critical_difference_svg(critical_difference(table, wanted)) + "\n", encoding="utf-8")
        paths.append(path)
        sections.append(
            f"![Critical differences of {len(wanted)} strategies on {len(datasets)} data sets]({path.name})"
        )
    return sections


def _fields(results: Results) -> list[list[str]]:
    """Strategies that share data sets, one field for each group of data sets; the largest field first."""
    ran: dict[str, set[str]] = {}
    for row in results.rows:
        same_as_us = row.strategy == "infodiv" and ", batch 1," in row.setting
        if row.strategy not in ORACLES and row.strategy not in REPLICAS and not same_as_us:
            ran.setdefault(row.strategy, set()).add(row.dataset)
    fields = {tuple(s for s in ran if ran[s] >= group) for group in ran.values()}
    return sorted((list(field) for field in fields if len(field) > 1), key=lambda field: (-len(field), field))


def _one_comparison(
    names: list[str], datasets: list[str], table: np.ndarray, rows: dict[tuple[str, str], list[Row]]
) -> list[str]:
    ranks = mean_ranks(table)[0]
    p = wilcoxon_holm(table)
    experiments = [{s: np.array([r.accuracy for r in rows[d, s]]) for s in names} for d in datasets]
    enough = all(len(next(iter(e.values()))) > 1 for e in experiments)
    beaten = penalty_matrix(experiments)[1].mean(axis=0) / len(datasets) if enough else np.full(len(names), np.nan)
    near = performance_profile(table, [NEAR])[0]
    lines = []
    for i in np.argsort(ranks, kind="stable"):
        cells = [names[i], f"{ranks[i]:.2f}", f"{100 * near[i]:.0f} %"]
        cells.append("" if np.isnan(beaten[i]) else f"{100 * beaten[i]:.1f} %")
        if "random" in names and names[i] != "random":
            base = names.index("random")
            gain = table[:, i] - table[:, base]
            belief = bayes_signed_rank(gain, rng=rng_for(0, "tabular report"))
            counts = "/".join(str(c) for c in win_tie_loss_matrix(table)[i, base])
            won = win_shares(gain, rng=rng_for(0, "tabular wins")).wins
            cells += [
                f"{100 * gain.mean():+.2f}",
                counts,
                f"{100 * won.mean:.0f} [{100 * won.low:.0f}, {100 * won.high:.0f}]",
            ]
            cells.append(f"{p[i, base]:.2g}")
            cells.append(f"{belief.worse:.2f} / {belief.equal:.2f} / {belief.better:.2f}")
        else:
            cells += [""] * 5
        lines.append(cells)
    header = ["strategy", "mean rank", "near best", "beaten", "points over Random", "win/tie/loss", "won, % [95 %]"]
    header.append("Wilcoxon p (Holm)")
    header.append("worse / equal / better (0.5 points)")
    return [
        f"### {len(names)} strategies on {len(datasets)} data sets",
        f"{', '.join(datasets)}; means over the seeds that all share. *Near best*: share of data sets on "
        "which it is within one point of the best. *Beaten*: share of label counts, averaged over "
        "opponents and data sets, at which another strategy is significantly better (paired t test, 5 %).",
        markdown(header, lines),
    ]


def _seeds(results: Results) -> str:
    groups, rows = groups_of(results), []
    for strategy in dict.fromkeys(row.strategy for row in results.rows):
        spreads = []
        for (dataset, name), group in groups.items():
            plain = {row.seed: row.aubc for row in groups.get((dataset, "random"), [])}
            pairs = [(row.aubc, plain[row.seed]) for row in group if row.seed in plain]
            if name == strategy != "random" and strategy not in ORACLES and len(pairs) > 2:
                spreads.append(float(np.std(paired_differences(*zip(*pairs, strict=True)), ddof=1)))
        if spreads:
            worst = max(spreads)
            rows.append(
                [
                    strategy,
                    f"{100 * np.mean(spreads):.2f}",
                    str(seeds_needed(max(float(np.mean(spreads)), 1e-6))),
                    str(seeds_needed(max(worst, 1e-6))),
                ]
            )
    return markdown(["strategy", "spread in points", "seeds on a typical set", "seeds on the worst set"], rows)
