"""From a pool on disk to its report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolwise.audit.record import Audit
from poolwise.report.html import interval, number, percent, seconds
from poolwise.report.model import Estimate, Fact, Pick, PickedBatch, Report, RoundFacts, Setup
from poolwise.report.page import write_page
from poolwise.report.thumbnails import thumbnail
from poolwise.report.versions import versions
from poolwise.store.pool import PoolStore
from poolwise.store.records import Batch
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Item, Round, plain

BATCHES = 3
PICKS = 20
"""So many of the latest batches are shown, and so many picks of each."""

TEXT_CHARS = 280
ANSWERS = {SKIP: "skipped", NOT_OF_INTEREST: "not of interest"}


def pool_report(
    store: PoolStore, out: Path | str | None = None, *, sentences: Sequence[str] = (), audit: Audit | None = None
) -> Path:
    """Write the report of a pool.

    Parameters
    ----------
    out : where the HTML file goes; default `report.html` in the pool's directory
    sentences : conclusions in plain words, shown first
    audit : what random audit items prove; its sentences come before the others

    Notes
    -----
    Reads all annotations and at most 60 items, whatever the size of the pool.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    place = store.path / "report.html" if out is None else Path(out)
    return write_page(describe_pool(store, sentences=sentences, audit=audit), place)


def describe_pool(store: PoolStore, *, sentences: Sequence[str] = (), audit: Audit | None = None) -> Report:
    """Turn the present state of a pool into what the page shows."""
    answers = store.annotations()
    batches = store.batches()
    last = {answer.index: answer.label for answer in answers}
    rounds = _rounds(store, batches, answers)
    counts = dict.fromkeys(store.classes, 0)
    for label in last.values():
        if label not in ANSWERS:
            counts[label] += 1
    return Report(
        title=store.name,
        subtitle=_subtitle(store),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        facts=tuple(_facts(store, counts, batches, last, answers, rounds, audit)),
        sentences=(*(audit.sentences() if audit else ()), *sentences),
        audit=audit,
        rounds=tuple(rounds),
        class_counts=counts,
        batches=tuple(_picked(store, batch, last) for batch in batches[: -BATCHES - 1 : -1]),
        setup=Setup(_settings(store), store.seed, versions()),
    )


def _subtitle(store: PoolStore) -> str:
    kinds = {"image_folder": "images", "image_list": "images", "image_rows": "images", "table_text": "texts"}
    what = kinds.get(store.source.get("kind", ""), "items")
    classes = store.classes
    return f"{number(store.n_items)} {what}" + (f", {number(len(classes))} classes" if classes else "")


def _facts(
    store: PoolStore,
    counts: Mapping[str, int],
    batches: Sequence[Batch],
    last: Mapping[int, str],
    answers: Sequence[Annotation],
    rounds: Sequence[RoundFacts],
    audit: Audit | None,
) -> list[Fact]:
    n_items, labeled = store.n_items, sum(counts.values())
    facts = [Fact("Labeled", number(labeled), f"of {number(n_items)} items, {percent(labeled / n_items)}")]
    waiting = sum(len(batch.unanswered) for batch in batches if batch.is_open)
    if waiting:
        facts.append(Fact("Waiting for an answer", number(waiting)))
    for word, name in ((SKIP, "Skipped"), (NOT_OF_INTEREST, "Not of interest")):
        if count := sum(label == word for label in last.values()):
            facts.append(Fact(name, number(count)))
    scored = [facts_of for facts_of in rounds if "accuracy" in facts_of.metrics]
    now = audit.accuracy if audit is not None and "held_out" not in store.settings else None
    if now is not None:  # also with labels that came after the last sealed round
        audited = Estimate(now.mean, now.low, now.high)
        facts.append(Fact("Accuracy", percent(now.mean), f"95 % interval {interval(audited, percent)}"))
    elif scored:
        accuracy = scored[-1].metrics["accuracy"]
        span = f", 95 % interval {interval(accuracy, percent)}" if accuracy.low is not None else ""
        facts.append(Fact("Accuracy", percent(accuracy.value), f"after round {scored[-1].number}{span}"))
    spent = sum(answer.seconds or 0.0 for answer in answers)
    if spent:
        facts.append(Fact("People’s time", seconds(spent)))
    return facts


def _rounds(store: PoolStore, batches: Sequence[Batch], answers: Sequence[Annotation]) -> list[RoundFacts]:
    """Describe the sealed rounds, and the one under way if anything was asked or answered in it."""
    rounds = [_round(sealed, batches, answers) for sealed in store.rounds()]
    current = len(rounds) + 1
    if any(batch.round == current for batch in batches) or any(answer.round == current for answer in answers):
        labeled = len(store.state().labeled)
        rounds.append(_round(Round(current, None, labeled, 0, "", {}), batches, answers))
    return rounds


def _round(record: Round, batches: Sequence[Batch], answers: Sequence[Annotation]) -> RoundFacts:
    asked = [batch.selection for batch in batches if batch.round == record.number]
    timed = [answer.seconds for answer in answers if answer.round == record.number and answer.seconds is not None]
    metrics = dict(record.metrics)
    return RoundFacts(
        number=record.number,
        strategy=", ".join(dict.fromkeys(selection.strategy for selection in asked)) or "none asked",
        n_labeled=record.n_labeled,
        n_picked=sum(len(selection) for selection in asked),
        seconds_select=sum(selection.seconds for selection in asked) if asked else None,
        seconds_fit=metrics.pop("seconds_fit", None),
        seconds_annotating=sum(timed) if timed else None,
        n_timed=len(timed),
        metrics=estimates(metrics),
        notes=plain(dict(asked[-1].notes)) if asked else {},
    )


def estimates(metrics: Mapping[str, float]) -> dict[str, Estimate]:
    """Join `name`, `name_low` and `name_high` into one number with its interval; leave out what is not finite."""
    known = {name: value for name, value in metrics.items() if math.isfinite(value)}
    bounds = {name + end for name in known for end in ("_low", "_high")}
    return {
        name: Estimate(value, known.get(f"{name}_low"), known.get(f"{name}_high"))
        for name, value in known.items()
        if name not in bounds
    }


def _picked(store: PoolStore, batch: Batch, last: Mapping[int, str]) -> PickedBatch:
    rows = batch.selection.rows()[:PICKS]
    items = store.items([row["index"] for row in rows])
    picks = tuple(_pick(row, item, store.source, last) for row, item in zip(rows, items, strict=True))
    return PickedBatch(batch.round, batch.selection.strategy, len(batch.selection), picks)


def _pick(row: Mapping[str, Any], item: Item, settings: Mapping[str, Any], last: Mapping[int, str]) -> Pick:
    label = last.get(row["index"])
    shown = Pick(
        rank=row["rank"],
        index=row["index"],
        item_id=item.item_id,
        score=row["score"],
        components={name: v for name, v in row.items() if name not in ("rank", "index", "item_id", "score")},
        label=None if label is None else ANSWERS.get(label, label),
    )
    if item.text is not None:
        return dataclasses.replace(shown, text=_snippet(item.text))
    if item.uri is not None:
        return dataclasses.replace(shown, image=thumbnail(item, settings))
    return shown


def _snippet(text: str) -> str:
    joined = " ".join(text[: 4 * TEXT_CHARS].split())
    return joined if len(joined) <= TEXT_CHARS else joined[:TEXT_CHARS].rstrip() + " …"


def _settings(store: PoolStore) -> dict[str, Any]:
    settings = {**store.source, **dict(store.settings)}
    if "audit" in settings:  # which items were left out is a long list that tells a reader nothing
        settings["audit"] = {name: value for name, value in settings["audit"].items() if name != "excluded"}
    return settings
