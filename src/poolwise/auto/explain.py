"""Say what was trusted for each batch of a pool, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolwise.registry import STRATEGIES
from poolwise.store.pool import PoolStore

FAMILIES = ("auto", "selector")
SECONDS = "seconds_"


def explain(store: PoolStore) -> list[dict[str, Any]]:
    """List the batches that a choice among strategies made, oldest first.

    Returns
    -------
    One dictionary a batch: batch, round, strategy, items, `trusted` (name -> share; one name with 1 for a rule that
    follows a single strategy; for `auto` coverage and uncertainty), `seconds` (part -> seconds, with total), `notes`.
    """
    out = []
    for batch in store.batches():
        chosen = batch.selection
        if chosen.strategy not in STRATEGIES or STRATEGIES[chosen.strategy].family not in FAMILIES:
            continue
        notes = dict(chosen.notes)
        seconds = {name.removeprefix(SECONDS): notes.pop(name) for name in list(notes) if name.startswith(SECONDS)}
        out.append(
            {
                "batch": batch.number,
                "round": batch.round,
                "strategy": chosen.strategy,
                "items": len(chosen),
                "trusted": trusted(notes),
                "seconds": {**seconds, "total": round(chosen.seconds, 3)},
                "notes": notes,
            }
        )
    return out


def trusted(notes: Mapping[str, Any]) -> dict[str, float]:
    """Read from the notes of a batch how far each strategy was trusted; empty if they do not tell."""
    if "quality" in notes:
        return {"coverage": 1 - float(notes["quality"]), "uncertainty": float(notes["quality"])}
    if "trust" in notes:
        return {name: float(share) for name, share in notes["trust"].items()}
    if "followed" in notes:
        return {str(notes["followed"]): 1.0}
    names = str(notes.get("candidates", "")).split(", ")
    return {name: 1 / len(names) for name in names if name}


def in_words(record: Mapping[str, Any]) -> str:
    """Tell one record of `explain` in a few lines."""
    shares = sorted(record["trusted"].items(), key=lambda item: -item[1])
    lines = [
        f"batch {record['batch']} (round {record['round']}): {record['strategy']} chose {record['items']} items",
        "  trusted: " + (", ".join(f"{name} {share:.0%}" for name, share in shares) or "not told"),
        *(f"  because: {reason}" for reason in reasons(record["notes"])),
        "  seconds: " + ", ".join(f"{part} {value:.2f}" for part, value in record["seconds"].items()),
    ]
    return "\n".join(lines)


def reasons(notes: Mapping[str, Any]) -> list[str]:
    """Turn the notes of a batch into sentences."""
    out = []
    if "accuracy_out_of_fold" in notes:
        out.append(
            f"linear heads are right on {notes['accuracy_out_of_fold']:.0%} of the labeled items they did not see; "
            f"{notes['quality']:.0%} of the way from guessing to certainty is certain"
        )
    elif "quality" in notes:
        out.append("there are no labels of two classes to judge a head by, or the quality was set by hand")
    if "agreement_of_neighbours" in notes:
        out.append(
            f"{notes['agreement_of_neighbours']:.0%} of the labeled items have the class of the nearest labeled one; "
            f"neighbours are trusted to {notes['neighbours']:.0%}"
        )
    if "filter" in notes:
        passed = (
            f"the {notes['filter']} most uncertain items passed" if notes["quality"] > 0 else "no item was ruled out"
        )
        out.append(
            f"{passed}, {notes['candidates']} were compared, "
            f"within a radius of {notes['radius']:.3g} (coverage reached: {notes['coverage']:.0%})"
        )
    if "gain_over_equal" in notes:
        out.append(
            "in rehearsal on the labeled items the learned weights changed the loss by "
            f"{-notes['gain_over_equal']:+.3g} against equal ones, "
            f"the best candidate alone by {-notes['gain_of_best_candidate']:+.3g}"
        )
    elif "search" in notes:
        out.append(f"nothing was learned: {notes['search']}")
    for name, text in (
        ("reward", "earlier batches earned a weighted accuracy of {:.2f}"),
        ("labels_per_class", "there are {:.1f} labels per class"),
        ("left_out", "left out: {}"),
        ("merged", "the same as another candidate: {}"),
        ("warning", "{}"),
    ):
        if name in notes:
            out.append(text.format(notes[name]))
    return out
