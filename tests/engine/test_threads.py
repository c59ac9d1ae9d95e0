"""Selection over several ranks equals selection in one process; ranks are threads here, with the same code."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import poolwise as pw
from poolwise.engine import threads
from poolwise.engine.communicator import Room, Threads
from poolwise.engine.plan import Settings, compact, expand, make_plan, open_job
from poolwise.engine.supervise import supervised
from poolwise.errors import EngineError, InputError, OptionError, WorkerLostError
from poolwise.query import build_context
from poolwise.registry import STRATEGIES

STRATEGY_OPTIONS = [
    ("coreset", {}),
    ("coreset", {"metric": "cosine"}),
    ("coreset", {"first": "random"}),
    ("badge", {}),
    ("badge", {"condition_on_labeled": True, "bias": True}),
    ("badge", {"topk": 2}),
    ("base", {}),
    ("base", {"order": "draft"}),
    ("base", {"order": "rotate", "quota": "expected"}),
    ("mase", {}),
    ("margin", {}),
    ("entropy", {}),
    ("least_confidence", {}),
    ("random", {}),
]


def pool(kind: str, n: int = 700, width: int = 6) -> np.ndarray:
    rng = np.random.default_rng(5)
    if kind == "random":
        return rng.normal(size=(n, width)).astype(np.float32)
    if kind == "ties":
        return rng.integers(-2, 3, size=(n, width)).astype(np.float32)
    if kind == "duplicates":
        return rng.normal(size=(9, width)).astype(np.float32)[rng.integers(0, 9, n)]
    return np.full((n, width), 0.5, dtype=np.float32)


def question(x: np.ndarray, name: str) -> dict:
    rng = np.random.default_rng(1)
    labeled = np.arange(3, len(x), 40)
    labels = np.full(len(x), -1)
    labels[labeled] = rng.integers(0, 4, len(labeled))
    weight = rng.normal(size=(4, x.shape[1])).astype(np.float32)
    return {"embeddings": x, "head_weight": weight, "labels": labels}


def same(a: pw.Selection, b: pw.Selection) -> bool:
    components = all(np.allclose(a.components[k], b.components[k], rtol=1e-5, atol=1e-6) for k in a.components)
    scores = a.scores is None or np.allclose(a.scores, b.scores, rtol=1e-5, atol=1e-6)
    return np.array_equal(a.indices, b.indices) and scores and components


@pytest.mark.parametrize("kind", ["random", "ties", "duplicates", "constant"])
@pytest.mark.parametrize(("name", "options"), STRATEGY_OPTIONS)
def test_any_number_of_workers_chooses_the_same_batch(name, options, kind):
    asked = question(pool(kind), name)
    one = pw.select(name, batch_size=60, seed=2, **asked, **options)
    for workers in (2, 3, 7):
        assert same(one, pw.select(name, batch_size=60, seed=2, workers=workers, **asked, **options)), workers


@pytest.mark.parametrize("name", ["coreset", "badge", "base", "margin"])
def test_odd_pools_and_batches(name):
    x = pool("ties", 40)
    asked = question(x, name) | {"labels": None, "unlabeled": np.r_[2:9, 30:36]}
    for batch_size in (1, 13):  # one item; the whole pool
        one = pw.select(name, batch_size=batch_size, **asked)
        for workers in (2, 13, 99):
            assert same(one, pw.select(name, batch_size=batch_size, workers=workers, **asked))


def test_large_enough_for_rejection_sampling_and_several_windows():
    x = np.random.default_rng(0).normal(size=(9000, 20)).astype(np.float32)
    asked = question(x, "")
    for name in ("badge", "coreset"):
        one = pw.select(name, batch_size=300, **asked)
        assert same(one, pw.select(name, batch_size=300, workers=3, **asked))


@pytest.mark.parametrize("kind", ["random", "duplicates"])
@pytest.mark.parametrize("name", ["kmeans", "typiclust", "dpp", "auto", "albl", "coreset_partitioned"])
def test_what_cannot_be_split_is_chosen_by_one_worker_as_in_one_process(name, kind):
    asked = question(pool(kind), name)
    split = pw.select(name, batch_size=8, seed=2, workers=3, **asked)
    assert same(pw.select(name, batch_size=8, seed=2, **asked), split) and split.notes["workers"] == 1


AROUND = [
    ("margin", {"within": "random", "keep": 90}),
    ("margin", {"stochastic": "power", "beta": 2.0}),
    ("coreset", {"costs": np.linspace(1, 9, 700)}),
    ("badge", {"groups": np.arange(700) // 20, "max_per_group": 1}),
    ("bald", {}),  # draws by chance unless told otherwise
]


@pytest.mark.parametrize(("name", "around"), AROUND)
def test_what_acts_on_the_whole_pool_is_obeyed_by_one_worker(name, around):
    asked = question(pool("random"), name) | around
    split = pw.select(name, batch_size=30, seed=2, workers=3, **asked)
    assert same(pw.select(name, batch_size=30, seed=2, **asked), split) and split.notes["workers"] == 1


def test_without_its_chance_bald_is_split():
    asked = question(pool("random"), "bald") | {"stochastic": "none"}
    split = pw.select("bald", batch_size=30, workers=3, **asked)
    assert same(pw.select("bald", batch_size=30, **asked), split) and split.notes["workers"] == 3


def test_past_batches_reach_the_one_worker():
    asked = question(pool("random"), "albl")
    history = [pw.select("albl", batch_size=5, seed=seed, **asked) for seed in range(2)]
    split = pw.select("albl", batch_size=5, seed=7, workers=2, history=history, **asked)
    assert same(pw.select("albl", batch_size=5, seed=7, history=history, **asked), split)


def test_a_strategy_that_only_this_program_knows_is_named():
    spec = replace(STRATEGIES["margin"], name="of_my_own")
    context = build_context(spec, {"probs": np.full((9, 2), 0.5)})
    plan = make_plan(spec, context, 2, 0, {}, None, workers=1, mode="split")
    with pytest.raises(EngineError, match=r"no strategy 'of_my_own'.*Install it as a plugin, or use engine='local'"):
        open_job(plan.messages(np.empty(0, dtype=np.int64), lambda name, rows: Path())[0], print)


def test_two_rounds_refuse_what_acts_on_the_whole_pool():
    with pytest.raises(OptionError, match="within cannot be used with two rounds"):
        pw.select("coreset", embeddings=pool("random"), batch_size=5, workers=2, rounds=2, within="random")
    with pytest.raises(OptionError, match="costs cannot be used"):
        pw.select("coreset", embeddings=pool("random"), costs=np.ones(700), batch_size=5, workers=2, rounds=2)


@pytest.mark.parametrize("where", [0, 3, 350, 699])
@pytest.mark.parametrize("name", ["coreset", "margin"])
def test_nan_is_found_in_every_share_labeled_or_not(name, where):
    asked = question(pool("random"), name)
    asked["embeddings"][where, 2] = np.nan
    with pytest.raises(InputError, match=f"embeddings row {where} holds NaN"):
        pw.select(name, batch_size=5, workers=3, **asked)
    assert threading.active_count() < 8


def test_a_bug_in_a_part_is_an_error_and_no_hang(monkeypatch):
    def broken(self, count):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("poolwise.engine.sharded.TopPart.top", broken)
    with pytest.raises(EngineError, match=r"worker 1 of 3 failed with ZeroDivisionError: oh\. Try workers=1"):
        pw.select("margin", batch_size=5, workers=3, **question(pool("random"), ""))


class Watched(np.ndarray):
    """Rows that note which of them each thread reads."""

    seen: dict

    def __getitem__(self, key):
        found = np.asarray(self.view(np.ndarray)[key])
        if isinstance(key, slice | np.ndarray):
            rows = np.arange(len(self))[key]
            self.seen.setdefault(threading.current_thread().name, set()).update(rows.tolist())
        return found


@pytest.mark.parametrize("name", ["coreset", "badge", "margin"])
def test_a_rank_reads_its_own_rows_and_the_labeled_ones_only(name):
    asked = question(pool("random", 900), name)
    Watched.seen = {}
    spec = STRATEGIES[name]
    rows = asked["embeddings"].view(Watched)
    context = build_context(spec, {"embeddings": rows, "head_weight": asked["head_weight"]}, labels=asked["labels"])
    plan = make_plan(spec, context, 40, 0, {}, None, workers=3, mode="split")
    Watched.seen.clear()
    supervised(threads.launch, plan, Settings())
    mine = [set(stretch) for stretch in plan.stretches]
    labeled = set(context.labeled.tolist())
    readers = [read - labeled for thread, read in Watched.seen.items() if thread.startswith("poolwise-rank")]
    followers = [read for read in readers if not read & mine[0]]
    assert len(followers) == 2
    assert all(any(read <= share for share in mine[1:]) for read in followers)


def test_after_a_loss_a_run_goes_on_from_the_picks_it_had():
    asked = question(pool("random", 3000), "")
    spec = STRATEGIES["coreset"]
    context = build_context(spec, {"embeddings": asked["embeddings"]}, labels=asked["labels"])
    plan = make_plan(spec, context, 700, 0, {}, None, workers=3, mode="split")
    starts = []

    def unlucky(plan, before, scratch, settings, tell):
        starts.append(len(before))

        def tell_once(picks):
            tell(picks)
            if len(picks) > 200 * len(starts) and len(starts) < 3:
                raise WorkerLostError("worker 2 of 3 was ended by SIGKILL")

        return threads.launch(plan, before, scratch, settings, tell_once)

    picks = supervised(unlucky, plan, Settings())
    one = pw.select("coreset", embeddings=asked["embeddings"], labels=asked["labels"], batch_size=700)
    assert len(starts) == 3 and 0 < starts[1] < starts[2]
    assert np.array_equal(picks.indices, one.indices) and picks.notes["restarts"] == 2
    assert np.allclose(picks.scores, one.scores) and picks.notes["cover_radius"] == one.notes["cover_radius"]
    assert np.array_equal(picks.components["nearest"], one.components["nearest"])


def test_a_loss_in_every_attempt_says_what_to_type():
    spec = STRATEGIES["coreset"]
    context = build_context(spec, {"embeddings": pool("random")})
    plan = make_plan(spec, context, 5, 0, {}, None, workers=2, mode="split")

    def doomed(*_):
        raise WorkerLostError("worker 1 of 2 was ended by SIGKILL")

    with pytest.raises(EngineError, match=r"1 of 2 was ended by SIGKILL; .* 3 times .*--workers.*--engine local"):
        supervised(doomed, plan, Settings())


def brute_radius(x, centres):
    return np.sqrt(((x[:, None] - x[centres]) ** 2).sum(axis=2).min(axis=1).max())


def test_two_rounds_cover_within_four_times_the_optimum_and_are_repeatable():
    """k-center greedy is within 2 of the optimum, so 4 OPT >= 2 times its radius holds for any input."""
    x = pool("random", 600)
    one = pw.select("coreset", embeddings=x, batch_size=20)
    two = pw.select("coreset", embeddings=x, batch_size=20, workers=4, rounds=2)
    assert brute_radius(x, two.indices) <= 4 * brute_radius(x, one.indices)
    assert two.notes["finalists"] == 80 and len(set(two.indices.tolist())) == 20
    again = pw.select("coreset", embeddings=x, batch_size=20, workers=4, rounds=2)
    assert np.array_equal(two.indices, again.indices)


def test_two_rounds_work_for_strategies_that_cannot_be_split_and_with_more_wanted_than_a_share_has():
    x = pool("random", 100)
    got = pw.select("kmeans", embeddings=x, batch_size=70, workers=3, rounds=2)
    assert len(set(got.indices.tolist())) == 70


def test_two_rounds_partition_at_random():
    spec = STRATEGIES["coreset"]
    context = build_context(spec, {"embeddings": pool("random")})
    plan = make_plan(spec, context, 5, 0, {}, None, workers=2, mode="rounds")
    assert np.array_equal(np.sort(np.concatenate(plan.shares)), np.arange(700))
    assert abs(len(np.intersect1d(plan.shares[0], np.arange(350))) - 175) < 60  # not the first half


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 0}, "workers must be"),
        ({"workers": 2, "rounds": 3}, "rounds must be"),
        ({"address": "h:1"}, "is for engine 'ray'"),
        ({"engine": "processes", "address": "h:1"}, "is for engine 'ray'"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(OptionError, match=message):
        pw.select("coreset", embeddings=pool("random"), batch_size=5, **wrong)


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(pw.PoolwiseError, match=r"no engine named 'spark'.*local, processes, ray"):
        pw.select("coreset", embeddings=pool("random"), batch_size=5, engine="spark")


@pytest.mark.parametrize("indices", [[], [5], [0, 1, 2, 3], [4, 9, 10, 11, 13], [1, 1000, 2000]])
def test_compact_indices_come_back(indices):
    given = np.array(indices, dtype=np.int64)
    assert expand(compact(given)).tolist() == indices


def test_the_four_calls():
    room = Room(3, timeout_s=10)
    found = {}

    def rank(number):
        comm = Threads(room, number)
        found[number] = (
            comm.gather_candidates(number * 10),
            comm.broadcast_rows("hello" if number == 0 else None),
            comm.sum_f64(np.array([1.0, number])).tolist(),
        )
        comm.barrier()

    ranks = [threading.Thread(target=rank, args=(number,)) for number in range(3)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    assert found[0] == ([0, 10, 20], "hello", [3.0, 3.0])
    assert found[1] == found[2] == (None, "hello", [3.0, 3.0])


@pytest.mark.parametrize("name", ["coreset", "badge", "mase", "margin", "kmeans"])
def test_workers_on_a_device_choose_what_one_process_without_it_chooses(name: str) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    given = {"embeddings": rng.normal(size=(6000, 24)).astype(np.float16)}
    if name in ("badge", "mase", "margin"):
        given["head_weight"] = rng.normal(size=(6, 24)).astype(np.float32)
    plain = pw.select(name, batch_size=60, **given)
    there = pw.select(name, batch_size=60, workers=2, device="cpu", **given)
    assert there.indices.tolist() == plain.indices.tolist()
    assert there.notes["device"].startswith("cpu: ") and "not used" not in there.notes["device"]
