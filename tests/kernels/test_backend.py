"""The door to torch: same answers on either side of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.kernels import backend

torch = pytest.importorskip("torch")


def head(n: int = 700, d: int = 12, c: int = 9) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "embeddings": rng.normal(size=(n, d)).astype(np.float16),
        "head_weight": rng.normal(size=(c, d)).astype(np.float32),
        "head_bias": rng.normal(size=c).astype(np.float32),
    }


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence", "mase", "base"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_torch_and_numpy_pick_the_same_items(name: str, device: str) -> None:
    plain = pw.select(name, batch_size=90, **head())
    through_torch = pw.select(name, batch_size=90, device=device, **head())
    assert through_torch.indices.tolist() == plain.indices.tolist()
    assert plain.scores is not None and through_torch.scores is not None
    np.testing.assert_allclose(through_torch.scores, plain.scores, rtol=1e-6)


def test_an_unknown_device_is_refused_in_words() -> None:
    with pytest.raises(OptionError, match="cuda:N"):
        pw.select("margin", batch_size=1, device="toaster", **head())


ALL_HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("through_torch", [True, False])
@pytest.mark.parametrize("finite_only", [True, False])
def test_every_float16_value_becomes_numpys_float32_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, through_torch: bool, finite_only: bool
) -> None:
    if not through_torch:
        monkeypatch.delitem(sys.modules, "torch")
    halves = ALL_HALVES[np.isfinite(ALL_HALVES)] if finite_only else ALL_HALVES  # inf and NaN take another way
    source = np.tile(halves, 3).reshape(-1, 32)  # more than one tile
    source.setflags(write=False)
    out = np.empty(source.shape, dtype=np.float32)
    backend.convert(source, out)
    expected = source.astype(np.float32)
    number = ~np.isnan(expected)
    assert np.array_equal(out.view(np.uint32)[number], expected.view(np.uint32)[number])
    assert np.isnan(out[~number]).all()
    if not through_torch:
        assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))
    assert not source.flags.writeable


def test_converting_parts_of_rows_gives_numpys_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    source = ALL_HALVES.reshape(256, 256)[::2, :100]
    out = np.empty(source.shape, dtype=np.float32)
    backend.convert(source, out)
    assert np.array_equal(out.view(np.uint32), source.astype(np.float32).view(np.uint32))
    empty = np.empty((0, 4), dtype=np.float32)
    backend.convert(np.empty((0, 4), dtype=np.float16), empty)


@pytest.mark.parametrize("n_rows", [0, 1, 1023, 1024, 1025, 1535, 1536, 2600, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_in_parts_cover_every_row(n_rows: int, dtype: type) -> None:
    rng = np.random.default_rng(n_rows)
    x, weight, bias = rng.normal(size=(n_rows, 7)), rng.normal(size=(7, 5)), rng.normal(size=5)
    got = backend.Affine(weight, bias, np.dtype(dtype))(x.astype(dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, x @ weight + bias, rtol=1e-5, atol=1e-5)
