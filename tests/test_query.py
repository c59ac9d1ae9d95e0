"""What select accepts, and what it says when it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import poolwise as pw
from poolwise.errors import ArrayMissingError, BudgetError, InputError, OptionError, ShapeError, UnknownNameError
from poolwise.kernels.posterior import SampledProbs
from poolwise.query import build_context, check_values, run_strategy
from poolwise.registry import STRATEGIES, strategy
from poolwise.types import IndexArray

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
W = RNG.normal(size=(3, 4)).astype(np.float32)
Z = X @ W.T
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)


def test_a_batch_larger_than_the_pool_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"between 1 and 30 .* got 31"):
        pw.select("margin", probs=P, batch_size=31)
    with pytest.raises(BudgetError, match="between 1 and 5"):
        pw.select("margin", probs=P, batch_size=6, unlabeled=np.arange(5))
    for wrong in (0, -1):
        with pytest.raises(BudgetError, match=f"got {wrong}"):
            pw.select("margin", probs=P, batch_size=wrong)
    for wrong in (2.5, True, "3"):
        with pytest.raises(OptionError, match="whole number"):
            pw.select("margin", probs=P, batch_size=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("labeled", [[], [17]], ids=["streamed row", "labeled row"])
@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("margin", "probs"),
        ("margin", "logits"),
        ("margin", "embeddings"),
        ("mase", "logits"),
        ("base", "embeddings"),
        ("coreset", "embeddings"),
    ],
)
def test_a_row_with_nan_or_inf_is_named(name: str, array: str, labeled: list[int], value: float) -> None:
    given = {"probs": {"probs": P}, "logits": {"logits": Z}, "embeddings": {"embeddings": X, "head_weight": W}}[array]
    if name == "mase":
        given = given | {"head_weight": W}
    broken = given[array].copy()
    broken[17, 1] = value
    with pytest.raises(InputError, match=f"{array} row 17 holds NaN or inf"):
        pw.select(name, batch_size=2, labeled=labeled, **(given | {array: broken}))


def test_a_head_with_nan_is_refused() -> None:
    broken = W.copy()
    broken[2, 0] = np.nan
    with pytest.raises(InputError, match="head_weight row 2"):
        pw.select("margin", embeddings=X, head_weight=broken, batch_size=2)


def test_drawn_heads_are_checked_but_their_samples_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(SampledProbs, "read", lambda self, key, dtype: read.append(len(X[key])))
    weights, biases = np.tile(W, (5, 1, 1)), np.zeros((5, 3))
    wanted = {"prob_samples": SampledProbs(X, weights, biases)}
    check_values(STRATEGIES["batchbald"], wanted, np.arange(30))
    assert not read
    for broken, message in ((X, "embeddings row 2"), (weights, "weights of prob_samples row 2")):
        good = broken[2].copy()
        broken[2] = np.nan
        try:
            with pytest.raises(InputError, match=message):
                check_values(STRATEGIES["batchbald"], {"prob_samples": SampledProbs(X, weights, biases)}, np.arange(30))
        finally:
            broken[2] = good


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    for name in ("margin", "mase", "base"):
        broken = P.copy()
        broken[4] *= 2
        with pytest.raises(InputError, match=r"probs row 4 sums to 2 .* logits="):
            pw.select(name, probs=broken, head_weight=W, batch_size=2)
    pw.select("margin", probs=P * np.float32(1.0005), batch_size=2)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="probs has 29 rows and embeddings has 30"):
        pw.select("margin", embeddings=X, probs=P[1:], batch_size=2)
    with pytest.raises(ShapeError, match=r"head_weight has shape \(3, 3\); expected \(C, 4\)"):
        pw.select("margin", embeddings=X, head_weight=W[:, :3], batch_size=2)
    with pytest.raises(ShapeError, match="3 classes and head_weight has 2"):
        pw.select("mase", logits=Z, head_weight=W[:2], batch_size=2)
    with pytest.raises(ShapeError, match="expected"):
        pw.select("margin", probs=P[:, 0], batch_size=2)
    with pytest.raises(ShapeError, match="expected"):
        pw.select("margin", probs=P[:, :0], batch_size=2)


def test_an_unknown_strategy_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        pw.select("margn", probs=P, batch_size=2)


def test_options_of_the_wrong_name_type_or_range_are_refused() -> None:
    with pytest.raises(OptionError, match="no option 'colour'"):
        pw.select("base", logits=Z, head_weight=W, batch_size=2, colour="red")
    with pytest.raises(OptionError, match="'ascending', 'rotate', 'draft'; got 'down'"):
        pw.select("base", logits=Z, head_weight=W, batch_size=2, order="down")


@pytest.mark.parametrize(
    ("name", "given", "missing"),
    [
        ("coreset", {"probs": P}, "embeddings"),
        ("margin", {"embeddings": X}, "probs"),
        ("mase", {"embeddings": X}, "logits"),
        ("mase", {"logits": Z}, "head_weight"),
        ("balanced_random", {"probs": P}, "oracle_labels"),
    ],
)
def test_a_missing_array_is_named_with_what_supplies_it(name: str, given: dict[str, Any], missing: str) -> None:
    with pytest.raises(ArrayMissingError, match=f"needs {missing} .* supply it with .* Given: {next(iter(given))}"):
        pw.select(name, batch_size=2, **given)


def test_the_size_of_an_empty_call_is_unknown() -> None:
    with pytest.raises(ArrayMissingError, match="size of the pool is unknown"):
        pw.select("random", batch_size=2)
    assert len(pw.select("random", unlabeled=[4, 9, 11], batch_size=2)) == 2


def test_labels_may_cover_the_pool_or_only_the_labeled_items() -> None:
    spec = STRATEGIES["base"]
    arrays = {"logits": Z, "head_weight": W}
    whole = np.full(30, -1)
    whole[[7, 2]] = [1, 0]
    forms: list[dict[str, Any]] = [
        {"labels": whole},
        {"labels": whole, "labeled": [2, 7]},
        {"labels": [1, 0], "labeled": [7, 2]},
        {"labels": [0, 1], "labeled": np.isin(np.arange(30), [2, 7])},
    ]
    for form in forms:
        context = build_context(spec, arrays, **form)
        assert context.labeled.tolist() == [2, 7]
        assert context.arrays["labels"].tolist() == whole.tolist()
        assert context.unlabeled.tolist() == [i for i in range(30) if i not in (2, 7)]


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="labels has 3 rows"):
        pw.select("base", logits=Z, head_weight=W, labels=[0, 1, 2], labeled=[1, 2], batch_size=2)
    with pytest.raises(ShapeError, match="use -1 where unlabeled"):
        pw.select("base", logits=Z, head_weight=W, labels=[0, 1, 2], batch_size=2)
    with pytest.raises(InputError, match="labeled item 2 has label -1"):
        pw.select("base", logits=Z, head_weight=W, labels=[0, -1], labeled=[1, 2], batch_size=2)
    with pytest.raises(InputError, match="not whole numbers"):
        pw.select("base", logits=Z, head_weight=W, labels=[0.5, 1], labeled=[1, 2], batch_size=2)


def test_masks_and_indices_say_the_same() -> None:
    mask = np.arange(30) % 3 == 0
    by_mask = pw.select("margin", probs=P, labeled=mask, batch_size=5).indices
    assert by_mask.tolist() == pw.select("margin", probs=P, labeled=np.flatnonzero(mask), batch_size=5).indices.tolist()
    assert not mask[by_mask].any()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"labeled": [3, 3]}, "item 3 twice"),
        ({"labeled": [30]}, "items 0 to 29"),
        ({"unlabeled": [-1]}, "pool index -1"),
        ({"labeled": [1, 2], "unlabeled": [2, 5]}, "item 2 is in both"),
        ({"labeled": np.zeros(29, dtype=bool)}, "mask of 29"),
        ({"labeled": [1.5]}, "not whole numbers"),
    ],
)
def test_a_wrong_state_is_refused(state: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pw.select("margin", probs=P, batch_size=2, **state)


def test_logits_probabilities_and_head_lead_to_the_same_batch() -> None:
    for name in ("margin", "entropy", "least_confidence"):
        batches = [
            pw.select(name, batch_size=9, **given).indices.tolist()
            for given in ({"probs": P}, {"logits": Z}, {"embeddings": X, "head_weight": W})
        ]
        assert batches[0] == batches[1] == batches[2]


def test_a_strategy_that_answers_wrongly_is_caught() -> None:
    def answer(value: Any) -> Any:
        def wrong(unlabeled: IndexArray, *, batch_size: int) -> Any:
            return value

        return wrong

    for number, value in enumerate(
        (np.array([1]), np.array([1, 1]), np.array([1, 99]), np.array([0, 1]), np.array([1.0, 2.0]))
    ):
        name = f"test_wrong_{number}"
        strategy(name, family="test", paper="none")(answer(value))
        try:
            context = build_context(STRATEGIES[name], {}, unlabeled=[1, 2, 3])
            with pytest.raises(InputError, match="wrong batch"):
                run_strategy(STRATEGIES[name], context, batch_size=2, seed=0, options={})
        finally:
            del STRATEGIES._entries[name]


def test_a_trusted_store_is_not_read_twice() -> None:
    reads: list[int] = []

    class Counted:
        shape, dtype = X.shape, X.dtype

        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, key: Any) -> Any:
            reads.append(1)
            return X[key]

    build_context(STRATEGIES["coreset"], {"embeddings": Counted()}, trusted=True)
    assert not reads
    build_context(STRATEGIES["margin"], {"embeddings": Counted(), "head_weight": W})
    assert not reads, "rows that will be streamed were read beforehand"
    build_context(STRATEGIES["coreset"], {"embeddings": Counted()})
    assert not reads, "rows that will be streamed were read beforehand"
    build_context(STRATEGIES["kmeans"], {"embeddings": Counted()})
    assert reads


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(OptionError, match="seed must be a whole number"):
        pw.select("random", embeddings=np.eye(5), batch_size=2, seed=seed)


def test_a_sparse_matrix_is_refused_with_how_to_make_it_dense():
    with pytest.raises(InputError, match="TruncatedSVD"):
        pw.select("coreset", embeddings=scipy.sparse.eye_array(5, format="csr"), batch_size=2)


def test_complex_numbers_are_refused():
    with pytest.raises(InputError, match="real numbers"):
        pw.select("coreset", embeddings=np.eye(5) * 1j, batch_size=2)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("typiclust", {"max_clusters": 0}),
        ("typiclust", {"n_neighbors": -1}),
        ("cluster_margin", {"cluster_size": 0}),
        ("cluster_margin", {"candidates_per_pick": float("nan")}),
        ("kmeans", {"iterations": 0}),
    ],
)
def test_an_option_out_of_range_is_named(name, option):
    with pytest.raises(OptionError, match=next(iter(option))):
        pw.select(name, embeddings=np.eye(5), batch_size=2, head_weight=np.eye(5), **option)


@pytest.mark.parametrize("shape", [(9,), (9, 4, 1)])
def test_embeddings_of_another_rank_are_refused_beside_a_head(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="embeddings has shape"):
        pw.select("margin", embeddings=np.ones(shape), head_weight=np.ones((3, 4)), batch_size=1)


@pytest.mark.parametrize("labeled", [3, np.array(3), iter([1, 2]), [np.inf], [np.nan], [0.5], [1e30], [[1], [2, 3]]])
def test_labeled_items_that_are_no_indices_are_refused(labeled: object) -> None:
    with pytest.raises(InputError, match="labeled"):
        pw.select("random", embeddings=np.eye(6), labeled=labeled, batch_size=1)


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(InputError, match="embeddings is no table of numbers"):
        pw.select("random", embeddings=[[1.0, 2.0], [3.0]], batch_size=1)


def test_nothing_left_to_choose_from_is_said() -> None:
    with pytest.raises(BudgetError, match="no item is left to choose from"):
        pw.select("random", embeddings=np.eye(3), labeled=[0, 1, 2], batch_size=1)


def test_a_broken_head_is_to_be_fitted_again() -> None:
    weight = np.ones((3, 4))
    weight[1, 2] = np.nan
    with pytest.raises(InputError, match=r"head_weight row 1 holds NaN or inf.* Fit the head again"):
        pw.select("margin", embeddings=np.ones((5, 4)), head_weight=weight, batch_size=1)


def test_a_certain_row_has_entropy_zero_not_minus_zero() -> None:
    batch = pw.select("entropy", probs=np.eye(3), batch_size=3)
    assert not np.signbit(batch.scores).any()
