"""The door to torch: same answers on either side of it."""

from __future__ import annotations

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


def test_converting_a_read_only_float16_array_gives_numpys_bits() -> None:
    bits = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256).copy()
    bits.setflags(write=False)
    out = np.empty(bits.shape, dtype=np.float32)
    backend.convert(bits, out)
    expected = bits.astype(np.float32)
    finite = ~np.isnan(expected)
    assert np.array_equal(out[finite].view(np.uint32), expected[finite].view(np.uint32))
    assert np.isnan(out[~finite]).all()
    assert not bits.flags.writeable
