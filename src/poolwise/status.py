"""How far a pool is, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from poolwise import loop
from poolwise.audit import Audit, audit
from poolwise.reserve import training_state
from poolwise.stats.balance import class_counts
from poolwise.store.pool import PoolStore
from poolwise.train.learners import Learner
from poolwise.types import plain


@dataclass(frozen=True, slots=True)
class Status:
    """Facts about a pool.

    n_labeled : items with a label; n_waiting : asked for, no answer yet; n_set_aside : answered
        "skip" or "not of interest", unreadable, or held out for testing; n_foreign : of them, "not of interest"
    counts : labeled items per class
    metrics : of the last sealed round; empty if there is none
    next_step : a command
    audit : what the random audit items prove; None in a pool that is not audited
    """

    pool: str
    n_items: int
    n_labeled: int
    n_waiting: int
    n_unlabeled: int
    n_set_aside: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    n_embedded: int
    n_rounds: int
    metrics: Mapping[str, float]
    next_step: str
    audit: Audit | None = None
    n_foreign: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The machine form that `--json` prints."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        answer: dict[str, Any] = plain({**values, "audit": None if self.audit is None else self.audit.to_dict()})
        return answer

    def headline(self) -> str:
        """One sentence."""
        share = 100 * self.n_labeled / self.n_items
        text = f"{self.n_labeled:,} of {self.n_items:,} items labeled ({share:.1f} %)"
        return text + (f", {self.n_waiting:,} wait for a label" if self.n_waiting else "")

    def text(self) -> str:
        """Several lines for people."""
        lines = [f"{self.pool}: {self.headline()}"]
        if self.n_foreign:
            lines.append(f"Not of interest: {self.n_foreign:,}; `poolwise query ... --ood answers` learns from them")
        if self.n_set_aside > self.n_foreign:
            lines.append(f"Set aside (skipped, unreadable or held out): {self.n_set_aside - self.n_foreign:,}")
        if any(self.counts):
            order = np.argsort(-np.array(self.counts), kind="stable")[:8]
            shown = ", ".join(f"{self.classes[k]} {self.counts[k]:,}" for k in order)
            more = f", and {len(self.classes) - 8} more classes" if len(self.classes) > 8 else ""
            lines.append(f"Labels: {shown}{more}")
        if self.n_embedded < self.n_items:
            lines.append(f"Embeddings: {self.n_embedded:,} of {self.n_items:,} items")
        lines += [] if self.audit is None else self.audit.sentences()
        lines += _quality(self.metrics, self.n_rounds, self.audit is not None)
        lines.append(f"Next: {self.next_step}")
        return "\n".join(lines)


def _quality(metrics: Mapping[str, float], n_rounds: int, audited: bool) -> list[str]:
    if metrics.get("accuracy") == metrics.get("accuracy_audit", -1):
        return []  # the audit has said it
    if "accuracy" in metrics:
        return [f"Accuracy on held-out items after round {n_rounds}: {100 * metrics['accuracy']:.1f} %"]
    if "accuracy_out_of_fold" in metrics:
        value = 100 * metrics["accuracy_out_of_fold"]
        advice = "" if audited else "; for one, query with --audit 0.05"
        return [
            f"Accuracy on labeled items left out of training after round {n_rounds}: {value:.1f} % "
            f"(these items were chosen, so this is no estimate for the whole pool{advice})"
        ]
    return []


def status_of(store: PoolStore, learner: Learner | None = None) -> Status:
    """Collect the facts about a pool; reads the ledger and the manifests, and arrays only if the pool is audited.

    The first call after new labels in an audited pool takes some seconds, see `audit`.
    """
    state = store.state()
    asked = loop.waiting(store)
    free = loop.queryable(store, state)
    name = loop.embeddings_name(store)
    missing = [range(store.n_items)] if name is None else store.arrays.missing_rows(name, store.n_items)
    n_embedded = store.n_items - sum(len(rows) for rows in missing)
    rounds = store.rounds()
    classes = tuple(store.classes)
    return Status(
        pool=str(store.path),
        n_items=store.n_items,
        n_labeled=len(state.labeled),
        n_waiting=len(asked),
        n_unlabeled=len(free),
        n_set_aside=store.n_items - len(state.labeled) - len(asked) - len(free),
        classes=classes,
        counts=tuple(class_counts(state.labels[state.labeled], len(classes)).tolist()),
        n_embedded=n_embedded,
        n_rounds=len(rounds),
        metrics=dict(rounds[-1].metrics) if rounds else {},
        next_step=_next_step(
            store, n_embedded, len(asked), len(free), loop.has_two_classes(training_state(store, state))
        ),
        audit=audit(store, learner) if loop.can_judge(store) else None,
        n_foreign=len(state.rejected),
    )


def _next_step(store: PoolStore, n_embedded: int, n_asked: int, n_free: int, trained: bool) -> str:
    pool = shlex.quote(str(store.path))
    if n_embedded < store.n_items:
        return f"poolwise embed {pool}"
    if n_asked:
        return f"poolwise import {pool} labels.csv   (columns item_id,label)"
    if not n_free:
        return f"poolwise report {pool}"
    strategy = "" if trained else " --strategy typiclust"
    return f"poolwise query {pool}{strategy} --batch-size {min(50, n_free)}"
