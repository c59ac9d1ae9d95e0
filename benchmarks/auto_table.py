"""Sum up a suite of choices among strategies: ranks, regret, controls, tests, and what `auto` and AutoAL are worth.

    python -m benchmarks.auto_table runs/auto > benchmarks/results/auto.md

Reads the finished runs of a folder, also of a suite that still runs. Strategies that are finished on different numbers
of seeds come in parts of the page: each part has the strategies that are finished on so many seeds, on all settings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import poolwise  # noqa: F401  (registers every strategy)
from poolwise.registry import STRATEGIES
from poolwise.stats.curves import aubc
from poolwise.stats.intervals import t_interval
from poolwise.stats.paired import holm, paired_p
from poolwise.stats.ranks import mean_ranks

BASELINE, SUBJECT, RIVAL = "random", "auto", "uherding"
TRANSFERRED = "best candidate of the other settings"
"""A control: in each setting, the single candidate that is best on average over all others."""
PAIRS = (
    ("autoal", "equal weights"),
    ("autoal, high loss", "equal weights"),
    ("autoal, by item", "equal weights"),
    ("autoal, diverse", "equal weights, diverse"),
    ("autoal, diverse", "any of the union"),
    ("autoal, diverse", RIVAL),
    ("look", "one at random"),
    ("albl", "one at random"),
    ("albl, one per batch", "one at random"),
    ("tailor", "one at random"),
    ("selectal", RIVAL),
    ("refine", RIVAL),
    ("budget_rule", RIVAL),
)
"""What learned, and the same without learning."""
LEAST_SEEDS = 2
REGRET_GOAL = 0.2

Rows = list[dict[str, Any]]
Runs = dict[tuple[str, str, int], Rows]


@dataclass(frozen=True, slots=True)
class Part:
    """Strategies that are finished on the same seeds of all settings.

    area : (settings, strategies, seeds) in points
    candidates : positions of single strategies other than random
    seconds : (strategies,) mean processor seconds of a query
    """

    settings: list[str]
    strategies: list[str]
    seeds: list[int]
    area: np.ndarray
    candidates: list[int]
    seconds: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(settings, strategies)."""
        out: np.ndarray = self.area.mean(axis=2)
        return out

    def of(self, name: str) -> np.ndarray:
        """(settings, seeds) of one strategy."""
        out: np.ndarray = self.area[:, self.strategies.index(name)]
        return out


def read_runs(folder: Path) -> Runs:
    """Read every finished run: (setting, strategy, seed) -> its rows in the order of the rounds."""
    runs: Runs = {}
    for path in sorted((folder / "cells").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        runs[rows[0]["dataset"], rows[0]["strategy"], rows[0]["seed"]] = sorted(rows, key=lambda row: row["round"])
    return runs


def parts(runs: Runs) -> list[Part]:
    """Group the strategies by the seeds on which they are finished; the part with most seeds first."""
    settings, names, seeds = (sorted({key[i] for key in runs}) for i in range(3))
    done = {k: [s for s in seeds if all((d, k, s) in runs for d in settings)] for k in names}
    out: list[Part] = []
    for count in sorted({len(of) for of in done.values() if len(of) >= LEAST_SEEDS}, reverse=True):
        members = [k for k in names if len(done[k]) >= count]
        common = [s for s in seeds if all(s in done[k] for k in members)]
        if {BASELINE, SUBJECT} <= set(members) and len(common) >= LEAST_SEEDS:
            out.append(_part(runs, settings, members, common))
    if not out:
        raise SystemExit(
            f"no {LEAST_SEEDS} seeds are finished on all {len(settings)} settings by {BASELINE} and {SUBJECT}; "
            "wait, or run the suite again."
        )
    return out


def _part(runs: Runs, settings: list[str], names: list[str], seeds: list[int]) -> Part:
    area = np.array([[[_area(runs[d, k, s]) for s in seeds] for k in names] for d in settings])
    families = [STRATEGIES[runs[settings[0], k, seeds[0]][0]["strategy_name"]].family for k in names]
    single = [p for p, k in enumerate(names) if families[p] not in ("auto", "selector") and k != BASELINE]
    spent = [
        np.mean([row["seconds_query_cpu"] for d in settings for s in seeds for row in runs[d, k, s][1:]]) for k in names
    ]
    if len(single) > 1 and len(settings) > 1:
        area = np.concatenate([area, _transferred(area, single, names.index(BASELINE))[:, None]], axis=1)
        names = [*names, TRANSFERRED]
        spent = [*spent, np.nan]
    return Part(settings, names, seeds, area, single, np.array(spent))


def _area(rows: Rows) -> float:
    return 100 * aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def _transferred(area: np.ndarray, single: list[int], base: int) -> np.ndarray:
    """(settings, seeds) of the candidate that gains most over random on the other settings."""
    gain = (area[:, single] - area[:, [base]]).mean(axis=2)  # (settings, candidates)
    chosen = [single[int(np.delete(gain, d, axis=0).mean(axis=0).argmax())] for d in range(len(area))]
    return np.stack([area[d, k] for d, k in enumerate(chosen)])


def regret(part: Part) -> np.ndarray:
    """How far each strategy is behind the best candidate in hindsight, (settings, strategies)."""
    out: np.ndarray = part.mean[:, part.candidates].max(axis=1)[:, None] - part.mean
    return out


def significant(part: Part, others: Sequence[str], against: str) -> dict[str, np.ndarray]:
    """Signs of the differences that survive Holm's correction over all settings and names, (settings,) each."""
    difference = {k: part.of(k) - part.of(against) for k in others}
    p = np.array([[paired_p(row) for row in difference[k]] for k in others])
    sure = holm(p.ravel()).reshape(p.shape) < 0.05
    return {k: np.sign(difference[k].mean(axis=1)) * sure[i] for i, k in enumerate(others)}


def overview(part: Part) -> list[str]:
    """One row for each strategy, best mean rank first."""
    mean, ranks = part.mean, mean_ranks(part.mean)[0]
    behind, gain = regret(part), mean - mean[:, [part.strategies.index(BASELINE)]]
    sure = significant(part, [k for k in part.strategies if k != BASELINE], BASELINE)
    lines = [
        "| strategy | mean rank | mean regret to the best candidate | largest regret | mean gain over random | "
        "settings above / below random | significantly (Holm, all tests) | worst against random | CPU s per query |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for k in np.argsort(ranks, kind="stable"):
        name = part.strategies[k]
        worst, most = int(gain[:, k].argmin()), int(behind[:, k].argmax())
        signs = sure.get(name, np.zeros(1))
        cells = [
            name,
            f"{ranks[k]:.1f}",
            f"{behind[:, k].mean():+.2f}",
            f"{behind[most, k]:+.2f} ({part.settings[most]})",
            f"{gain[:, k].mean():+.2f}",
            f"{(gain[:, k] > 0).sum()} / {(gain[:, k] < 0).sum()}",
            f"{(signs > 0).sum()} / {(signs < 0).sum()}",
            f"{gain[worst, k]:+.2f} ({part.settings[worst]})",
            "" if np.isnan(part.seconds[k]) else f"{part.seconds[k]:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def against_others(part: Part) -> list[str]:
    """`auto` minus every other strategy."""
    others = [k for k in part.strategies if k != SUBJECT]
    sure = significant(part, others, SUBJECT)
    ranks = mean_ranks(part.mean)[0]
    lines = [
        "| minus | difference, interval over settings | settings better | significantly (Holm) | worst |",
        "|---|---|---|---|---|",
    ]
    for k in sorted(others, key=lambda name: ranks[part.strategies.index(name)]):
        difference = (part.of(SUBJECT) - part.of(k)).mean(axis=1)
        worst = int(difference.argmin())
        lines.append(
            f"| {k} | {_interval(difference)} | {(difference > 0).sum()}/{len(difference)} | "
            f"{(sure[k] < 0).sum()} / {(sure[k] > 0).sum()} | {difference[worst]:+.2f} {part.settings[worst]} |"
        )
    return lines


def rival_by_setting(part: Part) -> list[str]:
    """`auto` minus its rival in every setting, interval over seeds."""
    sure = significant(part, [RIVAL], SUBJECT)[RIVAL]
    lines = [f"| setting | `{SUBJECT}` minus `{RIVAL}`, interval over seeds | significant (Holm) |", "|---|---|---|"]
    for d, name in enumerate(part.settings):
        difference = part.of(SUBJECT)[d] - part.of(RIVAL)[d]
        lines.append(f"| {name} | {_interval(difference)} | {'' if sure[d] == 0 else 'yes'} |")
    return lines


def learned(part: Part) -> list[str]:
    """What learned, minus the same without learning."""
    pairs = [(one, other) for one, other in PAIRS if {one, other} <= set(part.strategies)]
    if not pairs:
        return []
    lines = [
        "| learned | minus | difference, interval over settings | settings better | best | worst |",
        "|---" * 6 + "|",
    ]
    for one, other in pairs:
        difference = (part.of(one) - part.of(other)).mean(axis=1)
        best, worst = int(difference.argmax()), int(difference.argmin())
        lines.append(
            f"| {one} | {other} | {_interval(difference)} | {(difference > 0).sum()}/{len(difference)} | "
            f"{difference[best]:+.2f} {part.settings[best]} | {difference[worst]:+.2f} {part.settings[worst]} |"
        )
    return lines


def foresight(runs: Runs, part: Part) -> list[str]:
    """Rank correlation of what a choice expected of its batch with the accuracy that the batch brought.

    Within each setting and round, over seeds; then the mean over settings and rounds.
    """
    lines = []
    for k in part.strategies:
        found = []
        for d in part.settings:
            several = [runs[d, k, s] for s in part.seeds] if k != TRANSFERRED else []
            for r in range(1, min((len(rows) for rows in several), default=0)):
                told = [
                    (rows[r].get("expected_gain"), rows[r]["accuracy"] - rows[r - 1]["accuracy"]) for rows in several
                ]
                pairs = np.array([pair for pair in told if pair[0] is not None], dtype=float)
                if len(pairs) >= 4 and np.ptp(pairs, axis=0).min() > 0:
                    found.append(float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic))
        if len(found) > 1:
            below = "; below 0.2, so what it expects says little about what comes" if np.mean(found) < 0.2 else ""
            error = np.std(found, ddof=1) / np.sqrt(len(found))
            lines.append(f"- {k}: {np.mean(found):+.2f} (standard error {error:.2f}, {len(found)} rounds){below}")
    return lines


def by_setting(part: Part) -> list[str]:
    """Difference to random of every strategy in every setting."""
    mean, base = part.mean, part.strategies.index(BASELINE)
    order = [k for k in np.argsort(mean_ranks(mean)[0], kind="stable") if k != base]
    lines = [
        "| setting | random | " + " | ".join(part.strategies[k] for k in order) + " |",
        "|---" * (len(order) + 2) + "|",
    ]
    for d, name in enumerate(part.settings):
        gains = " | ".join(f"{mean[d, k] - mean[d, base]:+.2f}" for k in order)
        lines.append(f"| {name} | {mean[d, base]:.2f} | {gains} |")
    return lines


def goals(part: Part) -> list[str]:
    """What was asked of `auto`, and whether it came so."""
    ranks = mean_ranks(part.mean)[0]
    mine = part.strategies.index(SUBJECT)
    ahead = [k for k in part.strategies if ranks[part.strategies.index(k)] < ranks[mine]]
    behind = float(regret(part)[:, mine].mean())
    below = significant(part, [k for k in part.strategies if k != BASELINE], BASELINE)[SUBJECT]
    lost = [name for name, sign in zip(part.settings, below, strict=True) if sign < 0]
    lines = [
        _goal(
            "the best mean rank", not ahead, f"{ranks[mine]:.1f}" + (f", behind {', '.join(ahead)}" if ahead else "")
        ),
        _goal(f"mean regret of at most {REGRET_GOAL}", behind <= REGRET_GOAL, f"{behind:+.2f}"),
        _goal("never significantly below random", not lost, f"below in {', '.join(lost) or 'no setting'}"),
    ]
    if RIVAL in part.strategies:
        difference = (part.of(SUBJECT) - part.of(RIVAL)).mean(axis=1)
        found = t_interval(difference)
        lines.append(_goal(f"ahead of `{RIVAL}`, interval without zero", found.low > 0, _interval(difference)))
    return lines


def _goal(what: str, met: bool, came: str) -> str:
    return f"- {'met' if met else 'NOT met'}: {what} ({came})"


def _interval(values: np.ndarray) -> str:
    found = t_interval(values)
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


INTRODUCTION = f"""# Choices among strategies

Made by `poolwise bench run benchmarks/suites/auto.toml --out runs/auto` and
`python -m benchmarks.auto_table runs/auto`. The suite has 26 strategies, 19 settings (linear heads, and three with an
RBF SVM) and 20 seeds; each part below has the strategies that are finished on so many seeds of all settings, so what is
missing here has not been run. Partial results were looked at while the run went on; the code stayed as it was.

Nobody tuned on the seeds 20 to 39. `auto` was tuned on seeds 100 to 154 of almost the same settings
([how](../../docs/decisions/auto.md)); each seed draws its own pool, but pools of one data set overlap. Intervals over
settings treat settings as independent, though some share a data set. "{TRANSFERRED}" is a
control: in each setting, the single candidate that gains most on average over all others; it is in the ranks. Every
decision about significance is corrected over all settings and strategies of its table, which asks much of few seeds.
"""


def page(folder: Path) -> str:
    """Write the tables as Markdown."""
    runs = read_runs(folder)
    lines = [INTRODUCTION]
    for part in parts(runs):
        lines += [
            f"## {len(part.strategies)} strategies, {len(part.seeds)} seeds",
            "",
            f"{len(part.settings)} settings, paired seeds {', '.join(map(str, part.seeds))}. Numbers are points of "
            "test accuracy, area under the learning curve.",
            "",
            *overview(part),
        ]
        for title, body in (
            ("Goals", goals(part)),
            (f"`{SUBJECT}` minus others", against_others(part)),
            (f"`{SUBJECT}` minus `{RIVAL}` by setting", rival_by_setting(part) if RIVAL in part.strategies else []),
            ("What learning is worth", learned(part)),
            ("Expected and realised gain of a batch, rank correlation over seeds", foresight(runs, part)),
            ("Difference to random by setting", by_setting(part)),
        ):
            lines += ["", f"### {title}", "", *body] if body else []
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(Path(sys.argv[1])), end="")
