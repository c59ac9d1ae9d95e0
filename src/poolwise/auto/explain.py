"""Say what was trusted for each batch of a pool, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolwise.registry import STRATEGIES
from poolwise.store.pool import PoolStore

FAMILIES = ("auto", "selector")
OUTSIDE = ("autoal_images",)
"""Choices among strategies that are functions, not strategies; `PoolStore.ask` keeps their batches."""
SECONDS = "seconds_"


def explain(store: PoolStore) -> list[dict[str, Any]]:
    """List the batches that a choice among strategies made, oldest first.

    Returns
    -------
    One dictionary a batch: batch, round, strategy, items, `trusted` (name -> share; one name with 1 for a rule that
    follows a single strategy; for `auto` coverage and uncertainty), `seconds` (part -> seconds, with total, and `fit`
    of the model to the labels that the batch brought, once it was fitted), `notes`.
    """
    fits = {record.number: record.metrics.get("seconds_fit") for record in store.rounds()}
    out = []
    for batch in store.batches():
        chosen = batch.selection
        if not is_choice(chosen.strategy):
            continue
        notes, seconds = apart(chosen.notes)
        fit = fits.get(batch.round)
        out.append(
            {
                "batch": batch.number,
                "round": batch.round,
                "strategy": chosen.strategy,
                "items": len(chosen),
                "trusted": trusted(notes),
                "seconds": {
                    **seconds,
                    "total": round(chosen.seconds, 3),
                    **({} if fit is None else {"fit": round(fit, 3)}),
                },
                "notes": notes,
            }
        )
    return out


def is_choice(strategy: str) -> bool:
    """Whether a strategy of that name chooses among strategies, or is `auto`."""
    return strategy in OUTSIDE or (strategy in STRATEGIES and STRATEGIES[strategy].family in FAMILIES)


def apart(notes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Split the notes of a batch into facts and seconds: part of the work -> seconds."""
    facts = {name: value for name, value in notes.items() if not name.startswith(SECONDS)}
    return facts, {name.removeprefix(SECONDS): float(notes[name]) for name in notes if name not in facts}


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
        "  seconds: " + spent(record["seconds"]),
    ]
    return "\n".join(lines)


def spent(seconds: Mapping[str, float]) -> str:
    """Where the time of a batch went, in words."""
    parts = ", ".join(f"{part} {value:.2f}" for part, value in seconds.items() if part != "fit")
    return parts + (f"; then {seconds['fit']:.2f} to fit the model to its labels" if "fit" in seconds else "")


def reasons(notes: Mapping[str, Any]) -> list[str]:
    """Turn the notes of a batch into sentences."""
    return [*_of_labels(notes), *_of_rehearsal(notes), *_of_candidates(notes)]


def _of_labels(notes: Mapping[str, Any]) -> list[str]:
    """What `auto` read from the labels, and what it made of it."""
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
    return out


def _of_rehearsal(notes: Mapping[str, Any]) -> list[str]:
    """What was learned on the labeled items, against equal weights."""
    out = []
    if "accuracy_of_fit_net" in notes:
        out.append(f"FitNet is right on {notes['accuracy_of_fit_net']:.0%} of the labeled items it was not fitted on")
    if "gain_over_equal" in notes and notes["search"] == "loss":
        out.append(
            "in rehearsal on the labeled items the learned weights chose items whose loss was "
            f"{notes['gain_over_equal']:+.3g} above that of equal weights, "
            f"the best candidate alone {notes['gain_of_best_candidate']:+.3g}"
        )
    elif "gain_over_equal" in notes:
        out.append(
            "in rehearsal on the labeled items the learned weights changed the loss by "
            f"{-notes['gain_over_equal']:+.3g} against equal ones, "
            f"the best candidate alone by {-notes['gain_of_best_candidate']:+.3g}"
        )
    elif "search" in notes:
        out.append(f"nothing was learned: {notes['search']}")
    if notes.get("validation_loss"):
        losses = sorted(notes["validation_loss"].items(), key=lambda item: item[1])
        out.append(
            "loss in rehearsal after the choice of each, least first: "
            + ", ".join(f"{name} {loss:.3f}" for name, loss in losses)
        )
    if notes.get("error_without"):
        errors = sorted(notes["error_without"].items(), key=lambda item: -item[1])
        out.append(
            "errors after removing what each would choose from the labeled items: "
            + ", ".join(f"{name} {error:.1%}" for name, error in errors)
        )
    return out


def _of_candidates(notes: Mapping[str, Any]) -> list[str]:
    """What the candidates nominated and earned."""
    out = []
    if "left" in notes:
        out.append("items left by each filter: " + ", ".join(f"{count:,}" for count in notes["left"]))
    if "nominated" in notes:
        out.append(f"{notes['nominated']:,} items were nominated by at least one candidate")
    if "arms" in notes and "weights" not in notes:
        out.append("each item came from the candidate that a draw expected to bring the rarest classes")
    if "per" in notes and "reward" not in notes:
        out.append("no earlier batch of this bandit has labels, so all candidates are equally likely")
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
