"""What every registered strategy obeys, whoever wrote it. What is peculiar to one is in its own file."""

from __future__ import annotations

import inspect
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import poolwise as pw
from poolwise.engine import door
from poolwise.engine.communicator import Room, Threads
from poolwise.engine.places import spill_to
from poolwise.engine.plan import Plan, Settings, open_job
from poolwise.engine.rank import run_rank
from poolwise.engine.wire import pack, unpack
from poolwise.errors import InputError, PoolwiseError
from poolwise.kernels import blocks, d2, sampling
from poolwise.kernels.blocks import ShardedRows
from poolwise.registry import STRATEGIES, StrategySpec, coerce
from poolwise.types import ARRAYS

SPECS = STRATEGIES.entries()
N, D, C, S = 61, 6, 4, 3
Arrays = dict[str, Any]

pytestmark = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def make_pool(seed: int = 0, n: int = N, d: int = D, c: int = C) -> Arrays:
    """Every array a strategy may name, free of ties, with consistent logits and probabilities."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, c, n)
    truth[:c] = np.arange(c)
    x = (rng.normal(size=(n, d)) + 2 * rng.normal(size=(c, d))[truth]).astype(np.float32)
    weight = rng.normal(size=(c, d)).astype(np.float32)
    bias = rng.normal(size=c).astype(np.float32)
    logits = x @ weight.T + bias
    noise = rng.normal(size=(n, S, c))
    return {
        "embeddings": x,
        "logits": logits,
        "probs": softmax(logits),
        "head_weight": weight,
        "head_bias": bias,
        "prob_samples": softmax(logits[:, None, :] + noise).astype(np.float32),
        "noise_deviations": rng.normal(size=(n, S, c)).astype(np.float32),
        "ood_scores": rng.normal(size=n).astype(np.float32),
        "costs": rng.uniform(0.5, 2, n).astype(np.float32),
        "groups": rng.integers(0, 5, n),
        "predicted_loss": rng.uniform(0, 3, n).astype(np.float32),
        "discriminator_score": rng.uniform(0, 1, n).astype(np.float32),
        "boundary_distance": rng.uniform(0, 1, n).astype(np.float32),
        "oracle_labels": truth,
    }


def arrays_for(spec: StrategySpec, pool: Arrays, *, optional: bool = True) -> Arrays:
    """The arrays that a strategy names, and no other."""
    named = (*spec.needs, *spec.uses) if optional else spec.needs
    return {name: pool[name] for name in named if name in pool}


LABELED = np.array([0, 1, 2, 3, 9, 20, 21, 33, 47])


def query(
    spec: StrategySpec, pool: Arrays | None = None, *, batch_size: int = 7, cold: bool = False, **changes: Any
) -> pw.Selection:
    pool = make_pool() if pool is None else pool
    arguments = arrays_for(spec, pool)
    if cold:
        arguments["unlabeled"] = np.arange(len(pool["groups"]))
    else:
        labels = np.full(len(pool["groups"]), -1)
        labels[LABELED] = pool["oracle_labels"][LABELED]
        arguments |= {"labels": labels, "labeled": LABELED}
    return pw.select(spec.name, batch_size=batch_size, **(arguments | changes))


def assert_valid(selection: pw.Selection, batch_size: int, allowed: np.ndarray) -> None:
    assert selection.indices.dtype == np.int64
    assert selection.indices.shape == (batch_size,)
    assert len(set(selection.indices.tolist())) == batch_size
    assert set(selection.indices.tolist()) <= set(allowed.tolist())
    if selection.scores is not None:
        assert selection.scores.shape == (batch_size,)
        assert not np.isnan(selection.scores).any()
    for name, values in selection.components.items():
        assert len(values) == batch_size, f"component {name!r} has {len(values)} values for {batch_size} picks"


UNLABELED_ITEMS = np.setdiff1d(np.arange(N), LABELED)


def read_only(pool: Arrays) -> Arrays:
    copies = {name: value.copy() for name, value in pool.items()}
    for value in copies.values():
        value.setflags(write=False)
    return copies


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Make every stream take so many rows at a time."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", rows)


def test_returns_distinct_unlabeled_items_of_the_right_count(spec: StrategySpec) -> None:
    for batch_size in (1, 7, len(UNLABELED_ITEMS) - 1):
        assert_valid(query(spec, batch_size=batch_size), batch_size, UNLABELED_ITEMS)


def test_takes_everything_when_the_batch_is_the_pool_even_in_small_blocks(
    spec: StrategySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_free = len(UNLABELED_ITEMS)
    assert_valid(query(spec, batch_size=n_free), n_free, UNLABELED_ITEMS)
    small_blocks(monkeypatch, 7)  # 61 rows: the last block is short, and none of it may be lost
    assert sorted(query(spec, batch_size=n_free).indices.tolist()) == UNLABELED_ITEMS.tolist()


def test_respects_a_narrowed_unlabeled_set(spec: StrategySpec) -> None:
    allowed = np.array([5, 8, 22, 30, 44, 58, 60])
    assert_valid(query(spec, batch_size=3, unlabeled=allowed), 3, allowed)


def test_same_seed_same_batch(spec: StrategySpec) -> None:
    first, second = query(spec, seed=5), query(spec, seed=5)
    assert first.indices.tolist() == second.indices.tolist()
    if first.scores is not None and second.scores is not None:
        assert np.array_equal(first.scores, second.scores)


def test_inputs_stay_untouched_and_may_be_read_only(spec: StrategySpec) -> None:
    pool = make_pool()
    frozen = read_only(pool)
    got = query(spec, frozen)
    assert got.indices.tolist() == query(spec, make_pool()).indices.tolist()
    for name, value in pool.items():
        assert np.array_equal(value, frozen[name]), f"{name} was changed"


def test_accepts_read_only_memory_maps_and_sharded_arrays(spec: StrategySpec, tmp_path: Path) -> None:
    expected = query(spec).indices.tolist()
    mapped, sharded = {}, {}
    for name, value in make_pool().items():
        if name in ("head_weight", "head_bias", "oracle_labels"):
            mapped[name] = sharded[name] = value
            continue
        np.save(tmp_path / f"{name}.npy", value)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        sharded[name] = ShardedRows(np.split(mapped[name], [13, 14, 40]))
    sharded["groups"] = mapped["groups"]
    assert query(spec, mapped).indices.tolist() == expected
    assert query(spec, sharded).indices.tolist() == expected


def test_accepts_float16(spec: StrategySpec) -> None:
    pool = {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in make_pool().items()}
    assert_valid(query(spec, pool), 7, UNLABELED_ITEMS)


def test_accepts_torch_tensors_and_data_frames(spec: StrategySpec) -> None:
    expected = query(spec).indices.tolist()
    pool = make_pool()
    frames = {k: pd.DataFrame(v) if v.ndim == 2 else pd.Series(v) if v.ndim == 1 else v for k, v in pool.items()}
    assert query(spec, frames).indices.tolist() == expected
    torch = sys.modules.get("torch") or pytest.importorskip("torch")
    assert query(spec, {k: torch.from_numpy(v) for k, v in pool.items()}).indices.tolist() == expected


def test_works_without_any_label_or_says_that_it_needs_some(spec: StrategySpec) -> None:
    """Only a strategy that names `labels` may refuse a cold start, and then in words."""
    try:
        selection = query(spec, cold=True)
    except PoolwiseError as error:
        assert "labels" in (*spec.needs, *spec.uses), f"{spec.name} refuses a cold start but does not name labels"
        assert "label" in str(error)
        return
    assert_valid(selection, 7, np.arange(N))


def test_never_sees_the_labels_of_unlabeled_items(spec: StrategySpec) -> None:
    pool = make_pool()
    expected = query(spec, pool).indices.tolist()
    labels = np.full(N, -1)
    labels[LABELED] = pool["oracle_labels"][LABELED]
    for poison in (0, 1, 10**6):
        poisoned = np.where(np.isin(np.arange(N), LABELED), labels, poison)
        assert query(spec, pool, labels=poisoned).indices.tolist() == expected


@pytest.mark.parametrize("case", ["duplicates", "zeros", "constant", "certain", "two classes", "huge offset"])
def test_survives_degenerate_pools(spec: StrategySpec, case: str) -> None:
    pool = make_pool(c=2 if case == "two classes" else C)
    if case == "duplicates":
        pool = {k: v if k.startswith("head") else np.repeat(v[:5], 13, axis=0)[:N] for k, v in pool.items()}
        pool["oracle_labels"] = make_pool()["oracle_labels"]
    elif case == "zeros":
        pool = {k: np.zeros_like(v) for k, v in pool.items()}
        pool["costs"] += 1
        pool["probs"][:, 0] = pool["prob_samples"][..., 0] = 1
    elif case == "constant":
        for name in ("embeddings", "logits", "ood_scores", "costs", "predicted_loss", "boundary_distance"):
            pool[name] = np.ones_like(pool[name])
        pool["probs"] = np.full_like(pool["probs"], 1 / C)
        pool["prob_samples"] = np.full_like(pool["prob_samples"], 1 / C)
    elif case == "certain":
        pool["probs"] = np.eye(C, dtype=np.float32)[pool["oracle_labels"]]
        pool["logits"] = 1e4 * pool["probs"]
        pool["prob_samples"] = np.repeat(pool["probs"][:, None], S, axis=1)
    elif case == "huge offset":
        pool["embeddings"] = pool["embeddings"] + np.float32(1000)
    for batch_size in (7, len(UNLABELED_ITEMS)):
        assert_valid(query(spec, pool, batch_size=batch_size), batch_size, UNLABELED_ITEMS)


def test_survives_labels_of_one_class_only(spec: StrategySpec) -> None:
    labels = np.where(np.isin(np.arange(N), LABELED), 2, -1)
    try:
        assert_valid(query(spec, labels=labels), 7, UNLABELED_ITEMS)
    except InputError as error:
        assert "class" in str(error)


def test_picks_do_not_depend_on_the_block_size(spec: StrategySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = query(spec).indices.tolist()
    for rows in (1, 7, 64):
        small_blocks(monkeypatch, rows)
        assert query(spec).indices.tolist() == expected, f"blocks of {rows} rows give other picks"


def test_picks_do_not_depend_on_the_number_of_threads(spec: StrategySpec) -> None:
    batches = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            batches.append(query(spec).indices.tolist())
    assert batches[0] == batches[1]


def through_messages(plan: Plan, before: np.ndarray, scratch: Path, settings: Settings, tell: Any) -> Any:
    """Ranks that get their jobs, and give their answer, as other processes do; here they are threads."""
    messages = plan.messages(before, spill_to(scratch))
    room = Room(len(messages), timeout_s=30)

    def run(rank: int) -> Any:
        return run_rank(Threads(room, rank), lambda: open_job(messages[rank], tell))

    with ThreadPoolExecutor(len(messages)) as ranks:
        return unpack(pack(next(ranks.map(run, range(len(messages))))))


def test_several_workers_choose_what_one_does(spec: StrategySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(door.LAUNCHES, "processes", through_messages)
    monkeypatch.setattr("poolwise.engine.places.INLINE_BYTES", 100)  # most arrays travel as files
    one, split = query(spec, seed=3), query(spec, seed=3, engine="processes", workers=3)
    assert split.indices.tolist() == one.indices.tolist()
    assert set(split.notes) - {"workers"} == set(one.notes) and split.components.keys() == one.components.keys()
    if one.scores is not None:
        np.testing.assert_allclose(split.scores, one.scores, rtol=1e-5, atol=1e-6)


def test_says_where_it_comes_from_and_what_it_takes(spec: StrategySpec) -> None:
    module = inspect.getmodule(spec.function)
    assert module is not None and "Source:" in (module.__doc__ or ""), "the module docstring cites no Source:"
    text = inspect.getdoc(spec.function) or ""
    assert spec.summary.endswith("."), "the first line of the docstring is no sentence"
    for section in ("Parameters", "Returns"):
        assert f"{section}\n---" in text, f"the docstring has no {section} section"
    for name in inspect.signature(spec.function).parameters:
        assert name in text, f"the docstring does not describe {name}"
    assert spec.paper and spec.family and spec.use_when


def test_options_have_types_that_fit_their_defaults(spec: StrategySpec) -> None:
    for option in spec.options.values():
        assert option.type is not Any, f"option {option.name} has no type"
        assert coerce(option.name, option.default, option.type) == option.default or option.default is None


def test_names_only_known_arrays(spec: StrategySpec) -> None:
    assert set(spec.needs) | set(spec.uses) <= set(ARRAYS)
    assert spec.oracle == ("oracle_labels" in (*spec.needs, *spec.uses))


@pytest.mark.scale
def test_memory_grows_with_the_pool_and_not_with_its_square(spec: StrategySpec) -> None:
    peaks = []
    for n in (20_000, 80_000):
        pool = make_pool(n=n, d=16)
        tracemalloc.start()
        query(spec, pool, batch_size=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5 * peaks[0] + 2**22, f"peaks {peaks[0]:,} and {peaks[1]:,} bytes: steeper than linear"
    each = (peaks[1] - peaks[0]) / 60_000
    assert each < 1000, f"{each:.0f} bytes for each further row of 16 numbers"
    assert peaks[0] < 2**27, f"{peaks[0]:,} bytes for 20,000 rows of 16 numbers"


def test_on_a_device_it_computes_what_the_registry_says_and_picks_the_same(
    spec: StrategySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(d2, "LOOP_VALUES", 0)  # small pools otherwise need no passes
    monkeypatch.setattr(sampling, "SMALL", 64)
    pool = make_pool(n=400, d=12)
    del pool["logits"], pool["probs"]
    names = {"logits": ("embeddings", "head_weight", "head_bias"), "probs": ("embeddings", "head_weight", "head_bias")}
    named = {part for name in (*spec.needs, *spec.uses) for part in names.get(name, (name,)) if part in pool}
    arguments: Arrays = {name: pool[name] for name in sorted(named)}
    labels = np.full(400, -1)
    labels[LABELED] = pool["oracle_labels"][LABELED]
    arguments |= {"labels": labels, "labeled": LABELED, "batch_size": 40}
    plain, there = pw.select(spec.name, **arguments), pw.select(spec.name, device="cpu", **arguments)
    assert there.indices.tolist() == plain.indices.tolist()
    assert "device" not in plain.notes
    used = set(there.notes["device"].removeprefix("cpu: ").split(", ")) - {
        "not used",
        "all of this ran on the processor",
    }
    told = set(spec.on_device)
    assert used <= told, (used, told)
    assert used == told or spec.name in ("lfosa", "margin_clustering"), "what it tells is for other options or sizes"
