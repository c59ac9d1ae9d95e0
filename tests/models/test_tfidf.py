"""Facts particular to TF-IDF."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from poolwise.errors import OptionError
from poolwise.models.tfidf import Tfidf

TEXTS = ["red green red", "green blue", "blue blue black", "red black green", "white red", "white blue green"]


def by_hand(texts: list[str]) -> np.ndarray:
    """TF-IDF of words and pairs of words as the module's docstring writes it, in plain Python."""
    bags = []
    for text in texts:
        words = text.split()
        bags.append(Counter(words + [f"{a} {b}" for a, b in itertools.pairwise(words)]))
    terms = sorted(set().union(*bags))
    df = {term: sum(term in bag for bag in bags) for term in terms}
    rows = []
    for bag in bags:
        row = [
            (1 + math.log(bag[t])) * (math.log((1 + len(texts)) / (1 + df[t])) + 1) if t in bag else 0.0 for t in terms
        ]
        length = math.sqrt(sum(v * v for v in row))
        rows.append([v / length for v in row])
    return np.array(rows)


def test_scalar_products_are_those_of_the_formula(rng: np.random.Generator) -> None:
    got = Tfidf().fit(TEXTS, rng).embed(TEXTS)  # all 6 components: a rotation, nothing is lost
    x = by_hand(TEXTS)
    assert np.allclose(got @ got.T, x @ x.T, atol=1e-5)


def test_rows_have_length_one_or_zero(rng: np.random.Generator) -> None:
    fitted = Tfidf(2).fit(TEXTS, rng)
    vectors = fitted.embed([*TEXTS, "words never seen", ""])
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1] * 6 + [0, 0], atol=1e-5)


def test_chinese_is_cut_into_characters(rng: np.random.Generator) -> None:
    texts = ["我喜欢小猫和小狗", "我喜欢小猫", "股票市场今天下跌", "今天股票上涨了"] * 3
    vectors = Tfidf().fit(texts, rng).embed(texts)
    similar = vectors @ vectors.T
    assert similar[0, 1] > 0.25 > similar[0, 2]
    assert similar[2, 3] > 0.25 > similar[1, 3]


@pytest.mark.parametrize("texts", [["😀", "😀 😀", "🎉"], ["a", "b", "c"], ["!!!", "???"]])
def test_texts_without_words_still_have_vectors(texts: list[str], rng: np.random.Generator) -> None:
    assert np.abs(Tfidf().fit(texts, rng).embed(texts)).max() > 0


def test_nothing_but_blanks_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(OptionError, match="at least one text that is not blank"):
        Tfidf().fit(["", ""], rng)


def test_real_newsgroups_are_neighbours(shared_data: Path) -> None:
    rows = pq.read_table(shared_data / "text" / "newsgroups20_train.parquet").slice(0, 1000).to_pydict()
    labels = np.array(rows["label"])
    opened = Tfidf(128)
    texts = [opened.prepare(f"{s}\n{b}") for s, b in zip(rows["subject"], rows["body"], strict=True)]
    vectors = opened.fit(texts, np.random.default_rng(0)).embed(texts)
    nearest = (vectors[800:] @ vectors[:800].T).argmax(axis=1)
    accuracy = float(np.mean(labels[:800][nearest] == labels[800:]))
    assert accuracy > 0.55, f"1-NN {accuracy:.3f} among 20 groups; chance is 0.05"
