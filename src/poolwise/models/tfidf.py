"""TF-IDF with truncated SVD (latent semantic analysis). Needs no network and no torch.

Source: Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 41(6), 1990; sublinear term
frequency 1 + ln tf from Manning, Raghavan & Schuetze, "Introduction to Information Retrieval", 2008,
section 6.4.1. Smoothed idf ln((1 + n) / (1 + df)) + 1, so that a term in every text keeps some weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from poolwise.errors import OptionError
from poolwise.models.backbone import EmbeddedContent, digest_of, refuse_weights
from poolwise.registry import backbone
from poolwise.types import Array

MAX_WIDTH = 256
MAX_TERMS = 40_000
MAX_CHARACTERS = 20_000
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts that put no space between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


@backbone("tfidf")
def tfidf(
    model: str = "", *, content: EmbeddedContent = "text", weights: str | Path | None = None, device: str = "cpu"
) -> Tfidf:
    """Open the TF-IDF embedder; `tfidf:WIDTH` sets the largest D, default 256.

    Raises
    ------
    OptionError
        If WIDTH is no whole number from 2 to 1024.
    """
    refuse_weights("tfidf", weights)
    width = int(model) if model.isdecimal() else MAX_WIDTH if model == "" else 0
    if not 2 <= width <= 1024:
        raise OptionError(f"backbone 'tfidf:{model}' must name a width from 2 to 1024, such as tfidf:256.")
    return Tfidf(width)


@dataclass(frozen=True)
class Tfidf:
    """Terms of one and two words (characters, in scripts without spaces), weighted, projected, unit length.

    parameters : terms (bytes of the terms joined by line feeds) uint8, idf (V,), components (D, V),
        analyzer () 0 for words, 1 for characters; empty before `fit`
    """

    max_width: int = MAX_WIDTH
    parameters: Mapping[str, Array] | None = None
    content: EmbeddedContent = "text"
    at_least: int | None = None
    fit_rows: int = 20_000

    @property
    def name(self) -> str:
        """Name with the largest width."""
        return f"tfidf:{self.max_width}"

    @property
    def width(self) -> int:
        """D, at most 256 unless asked otherwise."""
        return len(self._fitted()["components"])

    @property
    def digest(self) -> str:
        """Digest of the width and the parameters."""
        return digest_of({"name": self.name, "version": 1}, self._fitted())

    def prepare(self, content: str) -> str:
        """Keep the first 20,000 characters, with single spaces between the words."""
        return " ".join(content[:MAX_CHARACTERS].split())

    def fit(self, prepared: Sequence[str], rng: np.random.Generator) -> Tfidf:
        """Learn terms, their weights and the projection from n texts.

        A term must occur in at least 2 texts, 3 from 5,000 texts on; in tiny pools 1 is enough.
        """
        characters = _unspaced(prepared)
        min_df = 1 if len(prepared) < 200 else 2 if len(prepared) < 5000 else 3
        counts, terms, characters = _count_terms(prepared, characters, min_df)  # (n, V)
        df = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log((1 + counts.shape[0]) / (1 + df)) + 1
        width = max(1, min(self.max_width, *counts.shape))
        with threadpool_limits(1):
            _, _, components = randomized_svd(
                _weighted(counts, idf), width, n_iter=4, random_state=int(rng.integers(2**31))
            )
        return self.restored(
            {
                "terms": np.frombuffer("\n".join(terms).encode("utf-8"), np.uint8),
                "idf": idf.astype(np.float32),
                "components": components.astype(np.float32),
                "analyzer": np.array(int(characters)),
            }
        )

    def restored(self, parameters: Mapping[str, Array]) -> Tfidf:
        """Return a copy with these parameters."""
        return replace(self, parameters=dict(parameters))

    def embed(self, prepared: Sequence[str]) -> NDArray[np.float32]:
        """Project n texts: (n, D) float32 of length 1, or 0 where no term is known."""
        known = self._fitted()
        counts = self._vectorizer.transform(prepared)
        with threadpool_limits(1):
            x = np.asarray(_weighted(counts, known["idf"]) @ known["components"].T)  # (n, D)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        return x.astype(np.float32)

    @cached_property
    def _vectorizer(self) -> Any:
        known = self._fitted()
        terms = known["terms"].tobytes().decode("utf-8").split("\n")
        return _vectorizer(bool(known["analyzer"]), vocabulary=terms)

    def _fitted(self) -> Mapping[str, Any]:
        assert self.parameters is not None, "fit it, or restore its parameters, first"
        return self.parameters


def _unspaced(texts: Sequence[str]) -> bool:
    """Say whether most letters belong to scripts without spaces."""
    start = "".join(text[:200] for text in texts[:500])
    return 2 * len(UNSPACED.findall(start)) > sum(letter.isalpha() for letter in start)


def _vectorizer(characters: bool, **options: Any) -> Any:
    how = {"analyzer": "char"} if characters else {"analyzer": "word", "token_pattern": r"(?u)\b\w\w+\b"}
    return CountVectorizer(lowercase=True, ngram_range=(1, 2), dtype=np.float32, **how, **options)


def _count_terms(texts: Sequence[str], characters: bool, min_df: int) -> tuple[Any, list[str], bool]:
    """Count the most frequent terms; by characters where there are no words at all."""
    attempts = [(characters, min_df), (characters, 1), (True, 1)]
    for by_characters, least in attempts:
        vectorizer = _vectorizer(by_characters, min_df=least, max_features=MAX_TERMS)
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError:  # no term is frequent enough
            continue
        return counts, list(vectorizer.get_feature_names_out()), by_characters
    raise OptionError("no text holds a letter; tfidf needs at least one text that is not blank.")


def _weighted(counts: Any, idf: Array) -> Any:
    """Weigh counts by (1 + ln tf) idf and scale rows to length 1."""
    x = sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    x.data = (1 + np.log(x.data)).astype(np.float32)
    x = sparse.csr_matrix(x.multiply(idf.astype(np.float32)))
    lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags((1 / np.maximum(lengths, 1e-12)).astype(np.float32)) @ x)
