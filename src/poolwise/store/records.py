"""Records as they lie on disk: selections and rounds as JSON that reads back exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from poolwise.types import Array, IndexArray, Round, Selection, plain


@dataclass(frozen=True, slots=True)
class Batch:
    """A selection that was recorded as asked, so that nobody else gets its items.

    number : 1, 2, ... in the order of recording
    round : in which it was asked
    time : ISO 8601, UTC
    key : the caller's own name for it, or None
    unanswered : (n,) int64 pool indices without an answer, in order of choice
    released : True if the unanswered items were given back
    """

    number: int
    round: int
    time: str
    key: str | None
    selection: Selection
    unanswered: IndexArray
    released: bool

    @property
    def is_open(self) -> bool:
        """Whether answers are still awaited."""
        return not self.released and len(self.unanswered) > 0


def now() -> str:
    """Return the time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_json(value: Any) -> str:
    """Write a setting or a record as one line of strict JSON; NumPy values are converted, paths become text."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, default=str)


def selection_to_dict(selection: Selection) -> dict[str, Any]:
    """Turn a selection into what JSON can hold; the arrays keep dtype and every bit of a number."""
    return {
        "indices": selection.indices.tolist(),
        "scores": None if selection.scores is None else _array_to_dict(selection.scores),
        "strategy": selection.strategy,
        "options": plain(dict(selection.options)),
        "seed": int(selection.seed),
        "seconds": float(selection.seconds),
        "components": {name: _array_to_dict(np.asarray(values)) for name, values in selection.components.items()},
        "notes": plain(dict(selection.notes)),
        "item_ids": None if selection.item_ids is None else list(selection.item_ids),
    }


def selection_from_dict(record: Mapping[str, Any]) -> Selection:
    """Read back what `selection_to_dict` wrote."""
    ids = record["item_ids"]
    return Selection(
        indices=np.array(record["indices"], dtype=np.int64),
        scores=None if record["scores"] is None else _array_from_dict(record["scores"]),
        strategy=record["strategy"],
        options=record["options"],
        seed=record["seed"],
        seconds=record["seconds"],
        components={name: _array_from_dict(values) for name, values in record["components"].items()},
        notes=record["notes"],
        item_ids=None if ids is None else tuple(ids),
    )


def round_to_dict(record: Round) -> dict[str, Any]:
    """Turn a round into what JSON can hold; a metric that is not finite becomes a word."""
    return {
        "number": record.number,
        "selection": None if record.selection is None else selection_to_dict(record.selection),
        "n_labeled": record.n_labeled,
        "budget_left": record.budget_left,
        "digest": record.digest,
        "metrics": metrics_to_dict(record.metrics),
    }


def round_from_dict(record: Mapping[str, Any]) -> Round:
    """Read back what `round_to_dict` wrote."""
    return Round(
        number=record["number"],
        selection=None if record["selection"] is None else selection_from_dict(record["selection"]),
        n_labeled=record["n_labeled"],
        budget_left=record["budget_left"],
        digest=record["digest"],
        metrics=metrics_from_dict(record["metrics"]),
    )


def metrics_to_dict(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Turn metrics into what strict JSON can hold."""
    return {name: _number(float(value)) for name, value in metrics.items()}


def metrics_from_dict(record: Mapping[str, Any]) -> dict[str, float]:
    """Read back what `metrics_to_dict` wrote."""
    return {name: float(value) for name, value in record.items()}


def _array_to_dict(array: Array) -> dict[str, Any]:
    if array.dtype == object:
        array = array.astype(str)
    flat = array.ravel().tolist()
    if array.dtype.kind == "f":
        flat = [_number(value) for value in flat]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "values": flat}


def _array_from_dict(record: Mapping[str, Any]) -> Array:
    dtype = np.dtype(record["dtype"])
    values = [float(value) for value in record["values"]] if dtype.kind == "f" else record["values"]
    return np.array(values, dtype=dtype).reshape(record["shape"])


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
