"""`pw.Pool`: what a user does with a pool directory. Each verb calls one function of a lower layer."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from poolwise import loop
from poolwise.audit import Audit
from poolwise.audit import audit as audit_pool
from poolwise.datasets import items_to_add, open_source
from poolwise.datasets.source import Source
from poolwise.errors import InputError, PoolwiseError, ShapeError, UnknownNameError
from poolwise.exporters.read_labels import LabelRow, read_labels
from poolwise.kernels.blocks import as_rows, iter_blocks
from poolwise.progress import task
from poolwise.query import Where
from poolwise.registry import EXPORTERS
from poolwise.report.build_pool import pool_report
from poolwise.reserve import training_state
from poolwise.status import Status, status_of
from poolwise.store.arrays import open_rows
from poolwise.store.pool import PoolStore
from poolwise.train.embed import EMBEDDED, EmbedReport, embed_pool
from poolwise.train.learners import Learner, SklearnLearner
from poolwise.train.sample import SampleReport
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Array, IndexArray, Item, PoolState, Selection

POLL_SECONDS = 2.0
GIVEN = "embeddings@given"
"""Name of embeddings that came with the items."""
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".json": "label_studio"}
"""Which format an exported file gets by its ending."""


class Pool:
    """A pool on disk: it survives crashes, waits for people, and may be larger than memory.

    Create one with `Pool.create`, open one with `Pool.open`. Several processes may use it at once.

    Parameters
    ----------
    store : what is on disk
    learner : what is fitted on the labels; default: the linear probe
    """

    def __init__(self, store: PoolStore, learner: Learner | None = None) -> None:
        self.store = store
        self.learner = learner

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        images: Any = None,
        table: Any = None,
        text: str | None = None,
        image_column: str | None = None,
        embeddings: Any = None,
        dataset: str | None = None,
        id_column: str | None = None,
        label_column: str | None = None,
        group_column: str | None = None,
        classes: Sequence[str] | None = None,
        use_labels: bool | None = None,
        seed: int = 0,
    ) -> Pool:
        """List the items of a source as a new pool directory.

        Parameters
        ----------
        path : directory to make
        images, table, text, image_column, embeddings, dataset, id_column, label_column, group_column :
            the source; see `poolwise.datasets.open_source`
        classes : class names; a label that is none of them is then an error. Default: as labels come
        use_labels : record labels that the source knows as given. Default: those of a label column;
            labels of class folders and of public data sets are kept for simulations only
        seed : every random choice of this pool follows from it

        Raises
        ------
        InputError, StoreError
        """
        source = open_source(
            images=images,
            table=table,
            text=text,
            image_column=image_column,
            embeddings=embeddings,
            dataset=dataset,
            id_column=id_column,
            label_column=label_column,
            group_column=group_column,
        )
        store = PoolStore.create(
            path, _with_source_labels(source), classes=classes, source=dict(source.settings), seed=seed
        )
        try:
            _take(store, source, 0, label_column is not None if use_labels is None else use_labels)
        except PoolwiseError:  # such as NaN in the array: leave nothing behind that is half made
            store.close()
            shutil.rmtree(store.path)
            raise
        return cls(store)

    @classmethod
    def open(cls, path: str | Path) -> Pool:
        """Open a pool directory.

        Raises
        ------
        StoreError, PoolVersionError
        """
        return cls(PoolStore.open(path))

    @property
    def path(self) -> Path:
        """The directory."""
        return self.store.path

    @property
    def n_items(self) -> int:
        """N."""
        return self.store.n_items

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of their numbers."""
        return self.store.classes

    def add(self, **source: Any) -> int:
        """Append the items of a source that are new; returns how many. Arguments as for `create`.

        Rows of an array without an id column are numbered on from the pool's last row. An array is read twice: rows
        that the pool cannot hold must be known before their items are there for ever.

        Raises
        ------
        InputError, ShapeError, UnknownNameError
            If rows are there already, do not have the width of those that are there, or hold NaN or inf, or a label is
            none of the declared classes; nothing is added then.
        """
        start = self.n_items
        opened = open_source(**source)
        items = list(_with_source_labels(replace(opened, items=items_to_add(opened, self.store.source))))
        if opened.kind == "arrays" and source.get("id_column") is None:
            items = [replace(item, item_id=str(start + pos)) for pos, item in enumerate(items)]
        known = set(self.store.item_ids())
        new = [pos for pos, item in enumerate(items) if item.item_id not in known]
        if opened.embeddings is not None and len(new) < len(items):
            raise InputError(
                f"{len(items) - len(new)} of {len(items)} rows have an item_id that pool {self.store.name!r} already "
                f"holds, such as {next(i.item_id for i in items if i.item_id in known)!r}; pass only new rows."
            )
        use_labels = source.get("label_column") is not None
        if use_labels:
            self.store.check_labels(_given_labels(opened, start, new))
        if opened.embeddings is not None:
            _check_embeddings(self.store, opened.embeddings)
        added = self.store.append_items([items[pos] for pos in new])
        if len(added):
            _take(self.store, opened, added.start, use_labels, new)
        return len(added)

    def embed(
        self,
        backbone: str | None = None,
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        repair: bool = False,
        engine: str = "local",
        workers: int = 1,
        address: str | None = None,
    ) -> EmbedReport:
        """Embed every item that has no embedding yet; a stopped run continues where it was.

        Parameters
        ----------
        backbone : "pixels", "tfidf", "timm:MODEL", "transformers:MODEL", ...; default: what was used
            before, else pixels for images and tfidf for texts
        weights : local .safetensors file or model folder instead of the hub
        device : "auto", "cpu" or "cuda"
        repair : first drop parts that are damaged, so that they are made again (given embeddings: read again)
        engine, workers, address : who embeds the parts: "local" (threads), "processes" or "ray"
        """
        file = self.store.source.get("file")
        if self.store.source.get("kind") == "arrays" and file:
            read = _read_given_again(self.store, file, repair)
            if read is not None:
                return read
        where: dict[str, Any] = {"engine": engine, "workers": workers, "address": address}
        return embed_pool(self.store, backbone, weights=weights, device=device, repair=repair, **where)

    def sample(
        self,
        source: str = "dropout",
        *,
        samples: int | None = None,
        seed: int | None = None,
        network: Any = None,
        prepare: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> SampleReport:
        """Sample models that know the labels so far, and keep what they say about every item for later queries.

        Parameters
        ----------
        source : "dropout", "ensemble", "swag", "bootstrap" or "laplace" for sampled probabilities, as `bald` and
            `epig` use them; "noise" for deviations under noise, as `noise_stability_network` uses them
        samples : S models (K perturbations)
        seed : default the pool's
        network : your own network, trained on the labels so far (for "ensemble" a list of them), instead of small
            heads on the embeddings; it is left exactly as it is
        prepare : turns an image or text of the pool into an input of `network`; default: it gets the embeddings
        options : of the source, such as hidden=64

        Raises
        ------
        InputError, OptionError, UnknownNameError, ArrayMissingError, MissingExtraError
        """
        return loop.sample(
            self.store, source, samples=samples, seed=seed, network=network, prepare=prepare, options=options
        )

    def state(self, as_of: int | None = None) -> PoolState:
        """Which items are labeled, now or at the start of a round."""
        return self.store.state(as_of)

    def can_fit(self) -> bool:
        """Whether at least two classes are labeled."""
        return loop.has_two_classes(training_state(self.store))

    def fit(self, learner: Any = None) -> loop.Fitted:
        """Fit a model on the labels, measure it and seal the round.

        Parameters
        ----------
        learner : a `Learner`, or any scikit-learn classifier with `fit` and `predict_proba`; used from now
            on by this object. Default: the linear probe

        Raises
        ------
        InputError
            If fewer than two classes are labeled.
        """
        if learner is not None:
            self.learner = SklearnLearner(learner) if hasattr(learner, "predict_proba") else learner
        return loop.close_round(self.store, learner=self.learner)

    def query(
        self,
        strategy: str = "auto",
        *,
        batch_size: int,
        seed: int | None = None,
        audit: float | bool | None = None,
        audit_min: int | None = None,
        audit_train: int | None = None,
        ood: str | None = None,
        engine: str = "local",
        workers: int = 1,
        address: str | None = None,
        rounds: int = 1,
        device: str | None = None,
        **options: Any,
    ) -> Selection:
        """Choose the next batch, record it as asked, and return it.

        If labels have come since the last round was sealed, the model is fitted on them and measured first, so
        that `status` and `report` show a learning curve.

        Parameters
        ----------
        strategy : a name from `poolwise strategies`
        batch_size : B, 1 <= B <= items that may be asked
        seed : default: follows from the pool's seed and the number of the batch
        audit : share of the batch that is drawn at random, unseen by the strategy and never trained on, to judge
            the model by (True: 0.05; 0: none). Default: as last time in this pool, which begins as none
        audit_min : smallest such slice, default 50, but of it at most a quarter of the batch
        audit_train : rounds after which audited items are trained on, and judge no more; default never
        ood : a detector, such as "answers"; items it flags as of no class of interest are not offered to the strategy
        engine, workers, address, rounds, device : where the batch is chosen, as for `select`; the batch is the same
            everywhere, save with two rounds
        options : of the strategy, and those that every strategy has, as for `select`; with `max_per_group` the groups
            are those of the pool's items

        Prices kept by `set_costs` count in every query.
        """
        loop.catch_up(self.store, self.learner)
        return loop.query(
            self.store,
            strategy,
            batch_size=batch_size,
            seed=seed,
            options=options,
            learner=self.learner,
            audit=audit,
            audit_min=audit_min,
            audit_train=audit_train,
            ood=ood,
            where=Where(engine, workers, address, rounds, device),
        )

    def set_costs(self, costs: Any) -> None:
        """Keep what labeling each item costs: from now on queries prefer items that are worth their price.

        Parameters
        ----------
        costs : (N,) numbers above 0, or None to forget them

        Raises
        ------
        ShapeError, InputError
            If there is not one price per item, or one is not above 0.
        """
        loop.set_costs(self.store, costs)

    def waiting(self) -> list[dict[str, Any]]:
        """The picks that were asked for and have no answer yet, oldest batch first, as `Selection.rows` gives them."""
        rows = []
        for batch in self.store.batches(open_only=True):
            open_items = set(batch.unanswered.tolist())
            rows += [{**row, "batch": batch.number} for row in batch.selection.rows() if row["index"] in open_items]
        return rows

    def release(self) -> int:
        """Give every item that waits for a label back, so that it can be asked for again; returns how many."""
        return sum(len(self.store.release(batch.number)) for batch in self.store.batches(open_only=True))

    def label(
        self,
        indices: IndexArray | Sequence[int],
        answers: Iterable[Any],
        *,
        annotator: str = "",
        allow_unasked: bool = False,
    ) -> int:
        """Record the answers to some items; they are on disk when this returns.

        Parameters
        ----------
        indices : (n,) pool indices, such as `batch.indices`
        answers : n class names; numbers are taken as class numbers if classes are known, else as names
        annotator : who answered
        allow_unasked : accept items that were never asked for

        Returns
        -------
        Number of labels recorded.

        Raises
        ------
        ShapeError, UnknownNameError, InputError
            If there is not one answer for each item, a class number does not exist, or an answer is None, NaN or blank.
        """
        chosen = np.asarray(indices).tolist()
        names = [_class_name(answer, self.store.classes) for answer in answers]
        if len(names) != len(chosen):
            raise ShapeError(f"{len(names)} answers for {len(chosen)} items; give one answer for each item, in order.")
        rows = [Annotation(i, name, annotator, source="api") for i, name in zip(chosen, names, strict=True)]
        return self.store.annotate(rows, allow_unasked=allow_unasked)

    def import_labels(self, file: str | Path, *, annotator: str = "", allow_unasked: bool = False) -> int:
        """Record the labels of a file (CSV, JSONL, Parquet, Label Studio JSON); returns how many.

        Spaces around a label do not count, unless a class of the pool is written so; a blank label is no answer, and
        "not of interest" in any spelling is `NOT_OF_INTEREST`, unless the pool has a class of that name.
        """
        rows = self._label_rows(file)
        found = self.store.index_of([row.item_id for row in rows])
        answers = [
            Annotation(int(i), row.label, row.annotator or annotator, row.time or "", row.seconds, source="import")
            for i, row in zip(found, rows, strict=True)
        ]
        return self.store.annotate(answers, allow_unasked=allow_unasked)

    def run(
        self,
        strategy: str = "auto",
        *,
        batch_size: int,
        budget: int,
        oracle: str | Path | Mapping[str, str] | None = None,
        held_out: float = 0.2,
        first: str = "typiclust",
        wait: bool = False,
        options: Mapping[str, Any] | None = None,
        audit: float | bool | None = None,
        audit_min: int | None = None,
        audit_train: int | None = None,
    ) -> bool:
        """Query, label, retrain and evaluate until `budget` items are labeled; continues a stopped run.

        Parameters
        ----------
        oracle : answers for a simulation: item_id -> label, a label file, or "source" for the labels
            that the source knew; None leaves the answers to people
        held_out : with an oracle, share of its items kept aside as test set
        first : strategy of the first batch where `strategy` needs labels
        wait : without an oracle, wait until people have answered instead of returning
        audit, audit_min, audit_train : as for `query`; audited items count towards the budget

        Returns
        -------
        True if the budget is spent, False if labels are awaited.
        """
        truth = None if oracle is None else self._truth(oracle)
        if truth is not None:
            loop.hold_out(self.store, truth, held_out)
        return loop.run(
            self.store,
            strategy,
            batch_size=batch_size,
            budget=budget,
            oracle=None if truth is None else loop.simulated(truth),
            first=first,
            options=options,
            wait=(lambda: time.sleep(POLL_SECONDS)) if wait else None,
            learner=self.learner,
            audit=audit,
            audit_min=audit_min,
            audit_train=audit_train,
        )

    def _truth(self, oracle: str | Path | Mapping[str, str]) -> dict[int, str]:
        if isinstance(oracle, Mapping):
            ids, labels = list(oracle), list(oracle.values())
        elif str(oracle) == "source":
            pairs = [(item.index, item.metadata.get("source_label")) for item in self.store.iter_items()]
            known = {index: str(label) for index, label in pairs if label is not None}
            if not known:
                raise InputError(
                    f"the source of pool {self.store.name!r} knows no labels (no class folders, no label column); "
                    "give a file with columns item_id,label instead: --oracle labels.csv"
                )
            return known
        else:
            rows = self._label_rows(oracle)
            ids, labels = [row.item_id for row in rows], [row.label for row in rows]
        return dict(zip(self.store.index_of(ids).tolist(), labels, strict=True))

    def _label_rows(self, file: str | Path) -> list[LabelRow]:
        classes = set(self.store.classes)
        rows = [r if r.label in classes else replace(r, label=_plain_answer(r.label)) for r in read_labels(file)]
        return [row for row in rows if row.label]

    def status(self) -> Status:
        """How far the pool is; `text()` says it in words."""
        return status_of(self.store, self.learner)

    def audit(self, *, target: float | None = None, worth: float | None = None) -> Audit:
        """Say what the random audit items prove: accuracy now, labels saved, what more labels bring, whether to stop.

        `text()` says it in words. Without audit items it says how to get some.

        Parameters
        ----------
        target : accuracy that would be enough, 0 to 1, for the stopping rule about it
        worth : smallest gain in accuracy of the next labels that is worth their price, such as 0.005

        Raises
        ------
        OptionError
            If one of them is not between 0 and 1.
        """
        return audit_pool(self.store, self.learner, target=target, worth=worth)

    def history(self) -> list[dict[str, Any]]:
        """One row per sealed round: labels, strategy and metrics."""
        return [
            {
                "round": r.number,
                "n_labeled": r.n_labeled,
                "strategy": r.selection.strategy if r.selection else None,
                **dict(r.metrics),
            }
            for r in self.store.rounds()
        ]

    def report(self, out: str | Path | None = None) -> Path:
        """Write one self-contained HTML file; returns its path."""
        audit = self.audit() if loop.can_judge(self.store) else None
        written: Path = pool_report(self.store, None if out is None else Path(out), audit=audit)
        return written

    def export(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write labels (csv, jsonl, parquet) or tasks (label_studio) to a file; returns its path."""
        path = Path(path)
        name = format or ENDINGS.get(path.suffix)
        if name is None:
            raise InputError(
                f"{path.name!r} has no ending that names a format; use {', '.join(ENDINGS)}, or say --format "
                f"{' or '.join(EXPORTERS)}."
            )
        written: Path = EXPORTERS[name](self.store, path)
        return written


def _class_name(answer: Any, classes: Sequence[str]) -> str:
    if answer is None or answer != answer or not str(answer).strip():  # NaN: an empty cell of a data frame
        raise InputError(
            f"{answer!r} is no answer; expected the name of a class. Leave such items out, or say {SKIP!r}."
        )
    if isinstance(answer, bool | np.bool_) or not isinstance(answer, int | np.integer) or not classes:
        return str(answer)
    if str(answer) in classes:
        return str(answer)
    if not 0 <= answer < len(classes):
        raise UnknownNameError(f"class number {answer} does not exist; classes are 0 to {len(classes) - 1}: {classes}.")
    return classes[int(answer)]


def _with_source_labels(source: Source) -> Iterable[Item]:
    if source.labels is None:
        return source.items
    return (
        item if label is None else replace(item, metadata={**item.metadata, "source_label": label})
        for item, label in zip(source.items, source.labels, strict=True)
    )


def _take(store: PoolStore, source: Source, start: int, use_labels: bool, new: Sequence[int] | None = None) -> None:
    """Store what came with the items: ready-made embeddings, and labels if they count as given."""
    if source.embeddings is not None:
        _store_embeddings(store, source.embeddings, start)
    if use_labels:
        store.annotate(
            _given_labels(source, start, range(len(source.items)) if new is None else new), allow_unasked=True
        )


def _given_labels(source: Source, start: int, positions: Sequence[int]) -> list[Annotation]:
    """Labels that came with the items at some positions of a source, as answers for the items from `start` on."""
    labels = source.labels or [None] * len(source.items)
    given = [(start + k, labels[pos]) for k, pos in enumerate(positions)]
    return [Annotation(index, label, source="source") for index, label in given if label is not None]


def _given_blocks(store: PoolStore, value: Any) -> tuple[int, Iterator[tuple[int, Array]], Any]:
    """Open given embeddings: their number, their blocks, and the type to keep them in (None: that of the pool's)."""
    rows = open_rows(value) if isinstance(value, str | Path) else as_rows(value, "embeddings")
    dtype = np.float16 if rows.dtype == np.float16 else np.float32
    return len(rows), iter_blocks(rows, dtype=dtype), None if GIVEN in store.arrays else dtype


def _check_embeddings(store: PoolStore, value: Any) -> None:
    """Refuse given embeddings that the pool cannot keep beside those it has."""
    _, blocks, dtype = _given_blocks(store, value)
    for first, block in blocks:
        store.arrays.check_part(GIVEN, first, block, dtype=dtype)


def _store_embeddings(store: PoolStore, value: Any, start: int) -> None:
    """Copy given embeddings into the pool."""
    n_rows, blocks, dtype = _given_blocks(store, value)
    with task("copy embeddings", n_rows) as work:
        for first, block in blocks:
            store.arrays.write_part(GIVEN, start + first, block, dtype=dtype, producer={"backbone": "given"})
            work.advance(len(block))
    done = {"array": GIVEN, "backbone": "given", "weights": None}
    store.settings[EMBEDDED] = {**store.settings.get(EMBEDDED, {}), "embeddings": done}


def _read_given_again(store: PoolStore, file: str, repair: bool) -> EmbedReport | None:
    """Go on where a stopped `create` was; None if nothing was missing, or still is (rows that came from elsewhere)."""
    begun = time.perf_counter()
    if repair and GIVEN in store.arrays:
        store.arrays.drop_corrupt(GIVEN)
    missing = sum(map(len, store.arrays.missing_rows(GIVEN, store.n_items)))
    if not missing:
        return None
    _store_embeddings(store, file, 0)
    if store.arrays.missing_rows(GIVEN, store.n_items):
        return None
    width, seconds = store.arrays.info(GIVEN).row_shape[0], time.perf_counter() - begun
    return EmbedReport(GIVEN, "given", "", width, store.n_items, missing, {}, (), seconds)


def _plain_answer(label: str) -> str:
    """A label without spaces around it; the words "not of interest" as the answer that they mean."""
    words = re.split(r"[\s_-]+", label.strip(" _-\t\r\n").casefold())
    return NOT_OF_INTEREST if words == ["not", "of", "interest"] else label.strip()
