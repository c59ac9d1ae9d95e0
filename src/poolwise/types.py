"""Records and array aliases shared by everyone.

Letters in shapes: N pool, L labeled, U unlabeled, B query batch, D embedding width,
C classes, S posterior samples, R rounds, n any number of rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

UNLABELED = -1
"""Value of `labels` where an item has no label."""

Array: TypeAlias = NDArray[Any]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
IndexArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


@runtime_checkable
class Rows(Protocol):
    """What a pool array looks like to a strategy: rows that can be read by slice or by index.

    A NumPy array or memory map is one; so are arrays split over several files and
    arrays computed on the fly (logits from embeddings and a head). Only `kernels/blocks.py`
    should index it: everything else asks there for row blocks.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array a strategy may name as a parameter."""

    name: str
    shape: str
    what: str
    supplied_by: str
    per_row: bool = True


ARRAYS: dict[str, ArraySpec] = {
    spec.name: spec
    for spec in (
        ArraySpec("embeddings", "(N, D)", "features", "`poolwise embed POOL`, or embeddings=..."),
        ArraySpec(
            "logits",
            "(N, C)",
            "unnormalised class scores",
            "logits=..., or embeddings + head_weight (+ head_bias), or `poolwise select --head FILE`; in a pool: label "
            "some items, then query again",
        ),
        ArraySpec(
            "probs",
            "(N, C)",
            "class probabilities, rows sum to 1",
            "probs=..., logits=..., or embeddings + head_weight (+ head_bias), or `poolwise select --head FILE`; in a "
            "pool: label some items first",
        ),
        ArraySpec(
            "head_weight", "(C, D)", "weights of the last linear layer", "head_weight=... or --head FILE", per_row=False
        ),
        ArraySpec(
            "head_bias", "(C,)", "biases of the last linear layer", "head_bias=... or --head FILE", per_row=False
        ),
        ArraySpec(
            "prob_samples",
            "(N, S, C)",
            "probabilities from S stochastic models",
            "prob_samples=..., `poolwise sample POOL`, or a linear head and labels (Laplace)",
        ),
        ArraySpec(
            "noise_deviations",
            "(N, K, Q)",
            "movements of a network's outputs under K random changes of its weights, per unit of noise",
            "`poolwise sample POOL --from noise`, or noise_deviations=... from train/noise_deviation.py",
        ),
        ArraySpec("labels", "(N,)", "class of each labeled item, -1 elsewhere", "labels=..., or `poolwise import`"),
        ArraySpec(
            "ood_scores",
            "(N,)",
            "how foreign an item is; higher = more foreign",
            "ood_scores=..., or `--ood`",
        ),
        ArraySpec(
            "foreign",
            "(N,)",
            "whether annotators answered that the item is of no class of interest",
            "foreign=..., or the answer `not of interest` in a pool",
        ),
        ArraySpec("costs", "(N,)", "price of labeling an item, > 0", "costs=..."),
        ArraySpec("groups", "(N,)", "integer group (video, patient, micrograph) of an item", "groups=..."),
        ArraySpec("predicted_loss", "(N,)", "loss predicted by a loss module", "predicted_loss=..."),
        ArraySpec("discriminator_score", "(N,)", "probability that an item is labeled", "discriminator_score=..."),
        ArraySpec("boundary_distance", "(N,)", "distance to the decision boundary", "boundary_distance=..."),
        ArraySpec(
            "validation",
            "(N,)",
            "whether an item is a labeled one that the head was not fitted to",
            "validation=...",
        ),
        ArraySpec(
            "oracle_labels",
            "(N,)",
            "true class of every item (simulations only)",
            "a benchmark's simulated oracle",
        ),
    )
}
"""The arrays a strategy may name. `labeled` and `unlabeled` come from the state and are always there."""


PROBABILITIES = frozenset({"probs", "prob_samples"})
"""Arrays whose rows must be non-negative and sum to 1."""


@dataclass(frozen=True, slots=True)
class Item:
    """One example of a pool."""

    index: int
    item_id: str
    uri: str | None = None
    text: str | None = None
    group_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolState:
    """Which items are labeled, and how.

    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted, disjoint. Items asked but not yet
        answered, and items answered "skip" or "not of interest", are in neither.
    labels : (N,) int64, -1 where unlabeled.
    rejected : (F,) pool indices, sorted, of the items answered "not of interest"
    """

    labeled: IndexArray
    unlabeled: IndexArray
    labels: IndexArray
    rejected: IndexArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class QueryContext:
    """A state plus exactly the arrays that a strategy named; already validated.

    extra : arrays for what is handled around the strategy: costs, groups, and what a reducer needs
    history : past batches of the same strategy, oldest first
    """

    labeled: IndexArray
    unlabeled: IndexArray
    arrays: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Selection, ...] = ()


@dataclass(frozen=True, slots=True)
class Picks:
    """What a strategy may return when it has more to say than the indices.

    indices : (B,) int64 pool indices, in order of choice
    scores : (B,) float or None; higher = chosen more eagerly
    components : name -> (B,) values that explain each pick
    notes : name -> one number or short text about the whole batch
    """

    indices: IndexArray
    scores: FloatArray | None = None
    components: Mapping[str, Array] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """A batch chosen by a strategy.

    indices : (B,) int64 pool indices, in order of choice
    scores : (B,) float32 or None
    components : name -> (B,) values that explain each pick
    notes : facts about the whole batch
    strategy, options, seed, seconds : how it was made
    item_ids : the user's own keys, in order of choice; None for bare arrays
    """

    indices: IndexArray
    scores: NDArray[np.float32] | None
    strategy: str
    options: Mapping[str, Any]
    seed: int
    seconds: float
    components: Mapping[str, Array] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    item_ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def rows(self) -> list[dict[str, Any]]:
        """List one dictionary per pick: rank, index, item_id, score and the components."""
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for rank, index in enumerate(self.indices.tolist()):
            row: dict[str, Any] = {
                "rank": rank,
                "index": index,
                "item_id": self.item_ids[rank] if self.item_ids is not None else str(index),
                "score": None if self.scores is None else plain(self.scores[rank]),
            }
            row.update({name: plain(values[rank]) for name, values in self.components.items()})
            yield row

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints."""
        return {
            "batch": self.rows(),
            "strategy": self.strategy,
            "options": {name: plain(value) for name, value in self.options.items()},
            "seed": self.seed,
            "seconds": self.seconds,
            "notes": {name: plain(value) for name, value in self.notes.items()},
        }

    def explain(self) -> str:
        """Say in a few lines how the batch was chosen, and why the first picks came first."""
        options = ", ".join(f"{k}={v}" for k, v in self.options.items()) or "defaults"
        lines = [f"{self.strategy} ({options}), seed {self.seed}: {len(self)} items in {self.seconds:.2f} s"]
        lines += [f"  {name}: {_short(value)}" for name, value in self.notes.items()]
        for row in self.rows()[:5]:
            facts = ", ".join(f"{k} {_short(v)}" for k, v in row.items() if k not in ("rank", "index", "item_id"))
            lines.append(f"  #{row['rank']} item {row['item_id']}: {facts}")
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write the batch as JSON or CSV, by the file's ending.

        Raises
        ------
        InputError
            If the ending is neither .json nor .csv.
        """
        from poolwise.errors import InputError

        path = Path(path)
        if path.suffix == ".json":
            path.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        elif path.suffix == ".csv":
            rows = self.rows()
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["rank", "index", "item_id"])
                writer.writeheader()
                writer.writerows(rows)
        else:
            raise InputError(f"cannot save a selection as {path.name!r}; expected a name ending in .json or .csv")
        return path


@dataclass(frozen=True, slots=True)
class Annotation:
    """One answer of one annotator. Answers are appended, never changed: a correction is a later one.

    label : class name, or SKIP, or NOT_OF_INTEREST
    time : ISO 8601, UTC
    seconds : time the annotator spent, or None
    source : "import", "web", "simulated", ...
    """

    index: int
    label: str
    annotator: str = ""
    time: str = ""
    seconds: float | None = None
    round: int | None = None
    source: str = ""


SKIP = "__skip__"
NOT_OF_INTEREST = "__not_of_interest__"


@dataclass(frozen=True, slots=True)
class Round:
    """One query, its labels, and what the retrained model scored."""

    number: int
    selection: Selection | None
    n_labeled: int
    budget_left: int
    digest: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Run:
    """A sequence of rounds with everything that is needed to run it again."""

    settings: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    rounds: tuple[Round, ...]


def plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays into what JSON can hold; not-finite floats become None."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
