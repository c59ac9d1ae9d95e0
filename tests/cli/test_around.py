"""Prices, groups, reducers, chance and foreign items through the command line: `select` on files, `query` on a pool."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

import poolwise as pw
from tests.cli.conftest import Run

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype(np.float32)
P = RNG.dirichlet(np.ones(3), N)
COSTS = RNG.uniform(0.5, 5, N).astype(np.float32)
GROUPS = np.arange(N) % 6
SCORES = RNG.normal(size=N)


@pytest.fixture
def files(poolwise: Run) -> Run:
    """The arrays in files of the current folder."""
    labels = np.where(np.arange(N) < 12, np.arange(N) % 3, -1)
    values = {"x": X, "p": P, "costs": COSTS, "groups": GROUPS, "scores": SCORES, "labels": labels}
    for name, value in values.items():
        np.save(f"{name}.npy", value)
    with Path("items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "text", "price", "patient", "label"])
        writer.writerows([f"i{i}", f"text {i}", COSTS[i], f"p{GROUPS[i]}", ["a", "b", ""][min(i, 2)]] for i in range(N))
    return poolwise


def picked(out: str) -> list[int]:
    return [int(row["index"]) for row in csv.DictReader(io.StringIO(out))]


def test_select_takes_costs_from_an_array_or_a_column(files: Run) -> None:
    expected = pw.select("margin", probs=P, costs=COSTS, batch_size=9).indices.tolist()
    assert expected != pw.select("margin", probs=P, batch_size=9).indices.tolist()
    for source in ("costs.npy", "'items.csv#price'"):
        answer = files(f"select --strategy margin --probs p.npy --costs {source} --batch-size 9")
        assert picked(answer.out) == expected, answer.err
    assert "cost" in answer.out.splitlines()[0]


def test_select_limits_groups_given_as_numbers_or_names(files: Run) -> None:
    expected = pw.select("coreset", embeddings=X, groups=GROUPS, max_per_group=1, batch_size=6).indices.tolist()
    for source in ("groups.npy", "'items.csv#patient'"):
        answer = files(
            f"select --strategy coreset --embeddings x.npy --groups {source} --max-per-group 1 --batch-size 6"
        )
        assert picked(answer.out) == expected, answer.err
    assert len(set(GROUPS[expected].tolist())) == 6


def test_select_reduces_and_perturbs(files: Run) -> None:
    answer = files("select --strategy coreset --embeddings x.npy --probs p.npy --within margin --keep 8 --batch-size 8")
    assert sorted(picked(answer.out)) == sorted(pw.select("margin", probs=P, batch_size=8).indices.tolist())
    flags = files("select --strategy margin --probs p.npy --stochastic power --beta 2 --batch-size 8")
    options = {"stochastic": "power", "beta": 2.0}
    assert picked(flags.out) == pw.select("margin", probs=P, batch_size=8, **options).indices.tolist()


def test_select_keeps_back_what_a_detector_or_scores_of_ones_own_call_foreign(files: Run) -> None:
    labels = np.load("labels.npy")
    detector = files(
        "select --strategy margin --probs p.npy --embeddings x.npy --labels labels.npy --ood knn --batch-size 5"
    )
    by_knn = pw.select("margin", probs=P, embeddings=X, labels=labels, ood="knn", batch_size=5)
    assert picked(detector.out) == by_knn.indices.tolist()
    own = files("select --strategy margin --probs p.npy --labels labels.npy --ood scores.npy --batch-size 5")
    assert (SCORES[picked(own.out)] <= np.quantile(SCORES[:12], 0.95)).all(), own.err
    pareto = files("select --strategy poal --probs p.npy --ood scores.npy --batch-size 5")
    assert picked(pareto.out) == pw.select("poal", probs=P, ood_scores=SCORES, batch_size=5).indices.tolist()


def test_select_takes_rejected_items_and_any_other_array(files: Run) -> None:
    np.save("rejected.npy", np.arange(50, 60))
    mask = np.arange(N) >= 50
    np.save("mask.npy", mask)
    labels = np.load("labels.npy")
    expected = pw.select("similar", embeddings=X, labels=labels, foreign=mask, batch_size=5).indices.tolist()
    for name in ("rejected.npy", "mask.npy"):
        answer = files(
            f"select --strategy similar --embeddings x.npy --labels labels.npy --foreign {name} --batch-size 5"
        )
        assert picked(answer.out) == expected, answer.err
    np.save("samples.npy", np.stack([P, P[::-1]], axis=1))
    bald = files("select --strategy bald --array prob_samples=samples.npy --stochastic none --batch-size 4")
    samples = np.load("samples.npy")
    assert picked(bald.out) == pw.select("bald", prob_samples=samples, batch_size=4, stochastic="none").indices.tolist()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--costs short.npy", "costs has 5 rows and probs has 60"),
        ("--costs nan.npy", "costs of item 3 is nan; every cost must be above 0"),
        ("--costs negative.npy", "costs of item 4 is -1.0; every cost must be above 0"),
        ("--costs nowhere.npy", "nowhere.npy"),
        ("--costs items.csv", "which column holds the cost? Columns: item_id, text, price, patient, label"),
        ("--costs 'items.csv#text'", "costs"),
        ("--groups short.npy", "groups has 5 rows and probs has 60"),
        ("--groups nan.npy --max-per-group 2", "groups holds values that are not whole numbers"),
        ("--max-per-group 2", "--max-per-group needs the group of every item"),
        ("--groups groups.npy --max-per-group 1 --batch-size 9", "max_per_group=1 leaves 6 of 60 items in 6 groups"),
        ("--ood nothing", "no detector named 'nothing'"),
        ("--ood short.npy", "5 rows"),
        ("--ood nan.npy", "ood_scores row 3 holds NaN"),
        ("--foreign short.npy", "foreign holds item"),
        ("--within seals", "needs embeddings"),
        ("--within nothing", "nothing"),
        ("--keep 8", "--keep says how many items --within lets compete"),
        ("--beta 2", "--beta belongs to --stochastic"),
        ("--stochastic power --set stochastic=softmax", "contradict each other"),
        ("--array nothing=x.npy", "expected NAME=FILE with a name of"),
        ("--array probs=p.npy", "probs is given twice"),
    ],
)
def test_select_names_what_is_wrong(files: Run, flags: str, message: str) -> None:
    np.save("short.npy", np.ones(5))
    np.save("nan.npy", np.where(np.arange(N) == 3, np.nan, 1.0))
    np.save("negative.npy", np.where(np.arange(N) == 4, -1.0, 1.0))
    size = "" if "--batch-size" in flags else "--batch-size 5"
    answer = files(f"select --strategy margin --probs p.npy {flags} {size}")
    assert answer.code == 1 and not answer.out
    assert message in answer.err, answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.fixture
def pool(files: Run) -> Run:
    """A pool of 60 texts with patients and two labels."""
    made = files(
        "init t.pool --table items.csv --text text --id-column item_id --group-column patient --embeddings x.npy"
    )
    assert made.code == 0, made.err
    return files


def test_query_limits_the_groups_of_the_pools_items(pool: Run) -> None:
    answer = pool("query t.pool --strategy coreset --max-per-group 1 --batch-size 6 --json")
    rows = answer.json()["batch"]
    assert sorted(GROUPS[[row["index"] for row in rows]].tolist()) == list(range(6))
    refused = pool("query t.pool --strategy coreset --max-per-group 1 --batch-size 7")
    assert refused.code == 1 and "6 groups" in refused.err


def test_query_keeps_prices_until_they_are_forgotten(pool: Run) -> None:
    with Path("prices.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cost", "item_id"])
        writer.writerows([COSTS[i], f"i{i}"] for i in range(N - 1, -1, -1))  # in another order than the pool
    expected = pw.select("coreset", embeddings=X, costs=COSTS, batch_size=5, seed=7).indices.tolist()
    first = pool("query t.pool --strategy coreset --costs prices.csv --batch-size 5 --seed 7")
    assert picked(first.out) == expected, first.err
    assert pool("release t.pool").code == 0
    assert picked(pool("query t.pool --strategy coreset --batch-size 5 --seed 7").out) == expected
    assert pool("release t.pool").code == 0
    free = pool("query t.pool --strategy coreset --no-costs --batch-size 5 --seed 7")
    assert picked(free.out) == pw.select("coreset", embeddings=X, batch_size=5, seed=7).indices.tolist()
    assert pool("release t.pool").code == 0
    array = pool("query t.pool --strategy coreset --costs costs.npy --batch-size 5 --seed 7")
    assert picked(array.out) == expected


def test_query_reduces(pool: Run) -> None:
    answer = pool("query t.pool --strategy coreset --within random --keep 6 --batch-size 5 --json")
    assert answer.json()["notes"]["kept"] == 6, answer.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("i0", 1.0)], "no price for item 'i1'"),
        ([(f"i{i}", 1.0) for i in [*range(N), 3]], "an item twice"),
        (
            [(f"i{i}", -2.0 if i == 5 else 1.0) for i in range(N)],
            "costs of item 'i5' is -2.0; every cost must be above 0",
        ),
        ([(f"i{i}", "" if i == 5 else 1.0) for i in range(N)], "costs of item 'i5' is nan"),
        ([("other", 1.0)], "no item 'other'"),
        ([(f"i{i}", "dear") for i in range(N)], "costs"),
    ],
)
def test_query_names_what_is_wrong_with_prices(pool: Run, rows: list[tuple[str, object]], message: str) -> None:
    with Path("prices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "cost"), *rows])
    answer = pool("query t.pool --strategy coreset --costs prices.csv --batch-size 5")
    assert answer.code == 1 and message in answer.err, answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert pool("query t.pool --strategy coreset --batch-size 5").code == 0  # nothing was kept


def test_query_says_that_new_items_have_no_price_and_a_pool_without_groups_has_none(pool: Run) -> None:
    costs = pool("query t.pool --strategy random --costs costs.npy --batch-size 2")
    assert costs.code == 0, costs.err
    with Path("more.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "text"), ("new", "text")])
    np.save("one.npy", X[:1] + 1)
    added = pool("add t.pool --table more.csv --text text --id-column item_id --embeddings one.npy")
    assert added.code == 0, added.err
    late = pool("query t.pool --strategy random --batch-size 2")
    assert late.code == 1 and "1 of 61 items of pool 't.pool' have no price" in late.err
    assert pool("query t.pool --strategy random --no-costs --batch-size 2").code == 0
    assert pool("init plain.pool --embeddings x.npy").code == 0
    grouped = pool("query plain.pool --strategy random --max-per-group 1 --batch-size 2")
    assert grouped.code == 1 and "no item of pool 'plain.pool' has one" in grouped.err


def test_items_without_a_group_are_groups_of_their_own() -> None:
    names = ["a", "", "a", None, ""]
    batch = pw.select(
        "random", embeddings=np.eye(5), groups=np.array(names, dtype=object), max_per_group=1, batch_size=4
    )
    assert sum(i in (0, 2) for i in batch.indices.tolist()) == 1


def test_glister_takes_validation_items_from_a_file_and_works_on_a_pool(pool: Run) -> None:
    np.save("validation.npy", np.arange(N) < 6)
    answer = pool(
        "select --strategy glister --embeddings x.npy --probs p.npy --labels labels.npy --set least_accuracy=0 "
        "--array validation=validation.npy --batch-size 4 --json"
    )
    assert answer.json()["notes"]["validation"] == 6, answer.err
    cold = pool("query t.pool --strategy activeft --batch-size 4 --json")
    assert len(cold.json()["batch"]) == 4, cold.err


def test_a_device_changes_nothing_but_where_it_is_computed(files: Run) -> None:
    pytest.importorskip("torch")
    np.savez("head.npz", weight=RNG.normal(size=(3, 4)).astype(np.float32))
    for name in ("coreset", "margin", "random"):
        words = f"select --strategy {name} --embeddings x.npy --batch-size 9 --head head.npz"
        plain, there = files(words), files(f"{words} --device cpu")
        assert plain.code == there.code == 0 and picked(there.out) == picked(plain.out)
        told = {"coreset": "k-center distances", "margin": "logits of the head", "random": "not used"}[name]
        assert f"device cpu: {told}" in there.err and "device" not in plain.err
    refused = files(f"{words} --device toaster")
    assert refused.code == 1 and "expected cpu, cuda or cuda:N" in refused.err
