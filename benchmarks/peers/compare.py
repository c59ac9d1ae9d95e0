"""Run the suite of public packages, or what is left of it, and write benchmarks/results/peers.{md,parquet}.

python -m benchmarks.peers.compare --data-dir ../shared/data

`benchmarks/peers/notes.md` explains the differences and is put at the end of the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.peers.strategies import TWINS
from poolwise.bench import Results, run, write_results
from poolwise.stats.curves import aubc
from poolwise.stats.intervals import Interval, t_interval
from poolwise.stats.paired import holm, paired_p

SUITE = Path("benchmarks/suites/peers.toml")
RESULTS = Path("benchmarks/results")
PACKAGES = ("scikit-activeml", "modAL-python", "small-text", "baal", "scikit-learn", "numpy")


@dataclass(frozen=True, slots=True)
class Pair:
    """A strategy of a package next to ours of the same method on one data set.

    ours, theirs : mean AUBC
    difference : theirs minus ours, paired by seed, with its 95 % interval
    p : paired t test, corrected for all pairs together (Holm)
    same : seeds in which both chose the same items in every round
    """

    dataset: str
    peer: str
    twin: str
    ours: float
    theirs: float
    difference: Interval
    p: float
    same: int


def pairs(results: Results) -> list[Pair]:
    """Compare each peer that ran with its twin, on the seeds of both."""
    found, ps = [], []
    for dataset in results.datasets():
        for peer in results.strategies(dataset):
            if peer not in TWINS:
                continue
            a, b = results.curves(dataset, TWINS[peer]), results.curves(dataset, peer)
            seeds = sorted(set(a) & set(b))
            ours, theirs = (np.array([_area(curves[seed]) for seed in seeds]) for curves in (a, b))
            same = sum(_digests(a[seed]) == _digests(b[seed]) for seed in seeds)
            gap = theirs - ours
            ps.append(paired_p(gap))
            found.append((dataset, peer, TWINS[peer], float(ours.mean()), float(theirs.mean()), t_interval(gap), same))
    return [Pair(*row[:6], float(p), row[6]) for row, p in zip(found, holm(ps), strict=True)]


def _area(rows: Sequence[Mapping[str, object]]) -> float:
    return aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def _digests(rows: Sequence[Mapping[str, object]]) -> list[object]:
    return [row["labeled_digest"] for row in rows]


def page(results: Results, notes: str) -> str:
    """Write the page: what was compared, the table, the explanations."""
    rows = pairs(results)
    apart = [row for row in rows if row.p < 0.05]
    n_seeds = len(results.settings["seeds"])
    identical = sorted({row.peer for row in rows} - {row.peer for row in rows if row.same < row.difference.n})
    head = (
        "Data set",
        "Package's strategy",
        "Ours",
        "AUBC ours",
        "AUBC theirs",
        "theirs minus ours [95 %]",
        "p (Holm)",
    )
    table = [[*head, "same picks"], ["---", "---", "---", *["---:"] * 5]]
    for row in rows:
        d = row.difference
        table.append(
            [
                row.dataset,
                row.peer.removeprefix("peer:"),
                row.twin,
                f"{100 * row.ours:.2f}",
                f"{100 * row.theirs:.2f}",
                f"{100 * d.mean:+.2f} [{100 * d.low:+.2f}, {100 * d.high:+.2f}]",
                f"{row.p:.2g}",
                f"{row.same} of {d.n}",
            ]
        )
    used = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n\n".join(
        [
            "# Public packages on identical splits",
            f"Made by `python -m benchmarks.peers.compare` with {used}; {n_seeds} seeds. Each seed draws a pool and "
            "its first items; every strategy then starts from them, and its queries get the same probabilities of the "
            "same linear probe. AUBC in percent. *Same picks*: seeds in which both chose the same items in all rounds.",
            "## In short",
            f"{len(rows)} pairs; {len(rows) - len(apart)} show no difference after correction (Holm), {len(apart)} do"
            + (f": {'; '.join(f'{r.peer} on {r.dataset}' for r in apart)}." if apart else "."),
            f"Identical to ours, pick for pick, on every data set and seed: {', '.join(identical) or 'none'}.",
            "## All pairs",
            "\n".join("| " + " | ".join(cells) + " |" for cells in table),
            notes.strip(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="folder of the runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args(arguments)
    results = run(SUITE, out=given.out, workers=given.workers, data_dir=given.data_dir)
    for failure in results.failures:
        print("failed:", *failure)
    write_results(results, RESULTS / "peers.parquet")
    notes = (Path(__file__).parent / "notes.md").read_text(encoding="utf-8")
    (RESULTS / "peers.md").write_text(page(results, notes) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
