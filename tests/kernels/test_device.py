"""Rows on a device: the picks of NumPy, whatever the data, held there or sent again in every pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.speed.generators import isotropic, structured

import poolwise as pw
from poolwise.errors import DeviceMemoryError, InputError, OptionError
from poolwise.kernels import backend, device, edges, kcenter_shard, sampling
from poolwise.kernels.blocks import LinearLogits, ShardedRows, Softmax
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.device import DeviceRows
from poolwise.kernels.envelope import Envelope
from poolwise.kernels.envelope_device import DeviceEnvelope
from poolwise.kernels.kcenter import KCenterPicks, k_center
from poolwise.kernels.points import ROUNDING
from poolwise.kernels.vectors import GradientVectors, PlainVectors, Vectors

torch = pytest.importorskip("torch")

NONE = np.empty(0, dtype=np.int64)


@pytest.fixture(params=["sent", "held", "staged"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How rows reach the device: as they are, kept there in small blocks, or through pinned memory that is made up."""
    monkeypatch.setattr(kcenter_shard, "PLAIN_ROWS", 16)
    monkeypatch.setattr(sampling, "SMALL", 64)
    monkeypatch.setattr(device, "block_rows", lambda row_bytes: 333)
    if request.param == "held":
        monkeypatch.setattr(device, "fits", lambda name, size: True)
    if request.param == "staged":
        monkeypatch.setattr(device, "is_gpu", lambda name: name is not None)
        monkeypatch.setattr(backend, "torch", lambda: MadeUpGpu())
    return str(request.param)


class MadeUpGpu:
    """torch on the processor, with as much of torch.cuda as sending rows needs; two gigabytes are free."""

    def __init__(self) -> None:
        event = SimpleNamespace(record=lambda stream: None, synchronize=lambda: None)
        stream = SimpleNamespace(wait_event=lambda event: None, wait_stream=lambda other: None)
        self.cuda = SimpleNamespace(
            Event=lambda: event,
            Stream=lambda name: stream,
            current_stream=lambda name: stream,
            stream=lambda stream: contextlib.nullcontext(),
            mem_get_info=lambda name: (2**30, 2**34),
            OutOfMemoryError=torch.cuda.OutOfMemoryError,
            device_count=lambda: 1,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def empty(*args: Any, pin_memory: bool = False, **more: Any) -> Any:
        return torch.empty(*args, **more)


def adversarial(name: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    pools: dict[str, Callable[[], np.ndarray]] = {
        "structured": lambda: structured(3000, 96),
        "isotropic": lambda: isotropic(3000, 24),
        "float16": lambda: structured(3000, 48).astype(np.float16),
        "float16 extremes": lambda: (rng.choice([-1, 1], (1200, 12)) * rng.uniform(6e4, 65504, (1200, 12))).astype(
            np.float16
        ),
        "float16 smallest": lambda: (rng.integers(-9, 10, (1200, 12)) * 6e-8).astype(np.float16),
        "offset": lambda: isotropic(2000, 16) + np.float32(100),
        "duplicates": lambda: np.repeat(isotropic(120, 9), 12, axis=0),
        "grid": lambda: rng.integers(0, 3, (1500, 4)).astype(np.float32),
        "constant": lambda: np.full((700, 5), 3.25, dtype=np.float32),
        "zero": lambda: np.zeros((700, 5), dtype=np.float16),
        "outlier": lambda: np.vstack([isotropic(1500, 8), np.full((1, 8), 1e6, dtype=np.float32)]),
        "float64": lambda: rng.normal(size=(1200, 10)) + 1e7,
        "bytes": lambda: rng.integers(-128, 128, (1200, 6)).astype(np.int8),
        "huge": lambda: isotropic(1200, 8) * np.float32(1e25),
        "one row": lambda: np.ones((1, 4), dtype=np.float32),
        "one column": lambda: isotropic(1500, 1),
    }
    return pools[name]()


NAMES = [
    "structured", "isotropic", "float16", "float16 extremes", "float16 smallest", "offset", "duplicates", "grid",
    "constant", "zero", "outlier", "float64", "bytes", "huge", "one row", "one column",
]  # fmt: skip


def same(a: KCenterPicks, b: KCenterPicks) -> None:
    assert a.indices.tolist() == b.indices.tolist()
    assert a.distance.tolist() == b.distance.tolist()
    assert a.nearest.tolist() == b.nearest.tolist()
    assert a.cover_radius == b.cover_radius


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", [0, 40])
def test_k_center_picks_what_numpy_picks_bit_for_bit(way: str, name: str, labels: int) -> None:
    x = adversarial(name)
    labels = min(labels, len(x) - 1)
    labeled = np.sort(np.random.default_rng(0).choice(len(x), labels, replace=False))
    free = np.setdiff1d(np.arange(len(x)), labeled)
    count = min(len(free), 150)
    plain = k_center(x, labeled, free, count)
    with backend.on("cpu"):
        same(k_center(x, labeled, free, count), plain)
        assert backend.notes()["device"] == "cpu: k-center distances"


def test_k_center_is_the_textbook_loop_on_the_device(way: str) -> None:
    x = structured(1500, 20).astype(np.float64)
    gap = ((x - x[7]) ** 2).sum(axis=1)
    expected = []
    for _ in range(60):
        expected.append(int(gap.argmax()))
        gap = np.minimum(gap, ((x - x[expected[-1]]) ** 2).sum(axis=1))
    with backend.on("cpu"):
        rest = np.setdiff1d(np.arange(len(x)), [7])
        assert k_center(x.astype(np.float32), np.array([7]), rest, 60).indices.tolist() == expected


def test_k_center_takes_every_row_when_the_batch_is_the_pool(way: str) -> None:
    x = adversarial("duplicates")[:500]
    everyone = np.arange(len(x))
    with backend.on("cpu"):
        same_as_numpy = k_center(x, NONE, everyone, len(x))
    same(same_as_numpy, k_center(x, NONE, everyone, len(x)))
    assert sorted(same_as_numpy.indices.tolist()) == everyone.tolist()


def test_a_row_too_long_for_float32_is_named_by_its_pool_index(way: str) -> None:
    x = isotropic(900, 4)
    x[777] = 1e30
    with backend.on("cpu"), pytest.raises(InputError, match="row 777"):
        k_center(x, np.array([0]), np.arange(1, 900), 5)


def head(n_classes: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n_classes, width)).astype(np.float32) / np.float32(np.sqrt(width))


def gradients(x: np.ndarray, form: str, bias: bool = False) -> Vectors:
    logits = LinearLogits(x, head(7, x.shape[1]))
    if form == "plain":
        return PlainVectors(x, np.arange(len(x)))
    stored = logits.read(slice(0, len(x)), np.float32)
    if form == "head":
        return GradientVectors(Softmax(logits), x, np.arange(len(x)), bias=bias)
    if form == "logits":
        return GradientVectors(Softmax(stored), x, np.arange(len(x)), bias=bias)
    p = Softmax(stored).read(slice(0, len(x)), np.float32)
    return GradientVectors(p, x, np.arange(len(x)), bias=bias)


@pytest.mark.parametrize("form", ["plain", "head", "logits", "probs"])
@pytest.mark.parametrize(
    "name", ["structured", "float16", "offset", "duplicates", "constant", "zero", "outlier", "one row"]
)
def test_d2_sampling_draws_what_numpy_draws(way: str, form: str, name: str) -> None:
    x = adversarial(name)
    count = min(len(x), 120)

    def draw(first: Any) -> list[int]:
        draws = d2_sample([gradients(x, form)], count, np.random.default_rng(3), first=first, method="rejection")
        return list(draws.positions.tolist())

    plain = draw("largest"), draw("uniform")
    with backend.on("cpu"):
        assert (draw("largest"), draw("uniform")) == plain


@pytest.mark.parametrize("form", ["plain", "head", "probs"])
@pytest.mark.parametrize("bias", [False, True])
def test_bounds_on_the_device_are_the_squared_distances(way: str, form: str, bias: bool) -> None:
    x = structured(900, 12)
    x[100:130] = x[40]  # copies: the short formula would leave rounding
    vectors = gradients(x, form, bias)
    g = x.astype(np.float64)
    if form != "plain":
        z = g @ head(7, 12).astype(np.float64).T
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(p)), p.argmax(axis=1)] -= 1
        wide = np.hstack([g, np.ones((len(g), 1))]) if bias else g
        g = np.einsum("ij,ik->ijk", p, wide).reshape(len(g), -1)
    first, later = np.array([40, 3]), np.arange(200, 260)
    with backend.on("cpu"):
        envelope = DeviceEnvelope(vectors)  # type: ignore[arg-type]
        envelope.start(vectors.take(first))
        near = ((g[:, None] - g[first]) ** 2).sum(axis=2).min(axis=1)
        slip = 2 * ROUNDING * ((g**2).sum(axis=1) + (g**2).sum(axis=1).max())
        assert np.all(np.abs(envelope.m - near) <= slip)
        assert np.all(envelope.m[100:130] == 0)
        envelope.refresh(vectors.take(later))
        near = np.minimum(near, ((g[:, None] - g[later]) ** 2).sum(axis=2).min(axis=1))
        assert np.all(np.abs(envelope.m - near) <= slip)
        assert np.all(envelope.m[later] == 0)


def test_truncated_gradients_stay_with_numpy_and_say_so() -> None:
    given = {"embeddings": structured(900, 12), "head_weight": head(7, 12)}
    there = pw.select("badge", batch_size=200, topk=3, device="cpu", **given)
    assert there.indices.tolist() == pw.select("badge", batch_size=200, topk=3, **given).indices.tolist()
    assert there.notes["device"] == "cpu: logits of the head"


def test_bounds_at_the_edge_of_a_bin_are_settled_whatever_float32_says() -> None:
    x = np.zeros((400, 2), dtype=np.float32)
    x[1:, 0] = np.sqrt(np.linspace(0.5, 4, 399))
    x[50, 0] = 2.0  # |x|^2 is 4, on an edge
    vectors = PlainVectors(x, np.arange(400), origin=None)
    envelope = Envelope(vectors)
    envelope.start(vectors.take(np.array([0])))
    right = envelope.m.copy()
    for wrong in (1 - 3e-6, 1 + 3e-6):
        envelope.m[:] = right * np.float32(wrong)
        envelope._settle(None, lambda points: points.sq)
        assert np.array_equal(np.frexp(envelope.m)[1], np.frexp(right)[1])
        assert len(edges.near_edges(right, vectors.sq)) < 12


def test_the_longest_vector_is_found_in_float64_and_the_lowest_among_equals() -> None:
    x = isotropic(300, 5)
    x[[250, 40, 90]] = 9.0
    x[90, 0] = np.nextafter(np.float32(9), np.float32(10))
    vectors = PlainVectors(x, np.arange(300), origin=None)
    for _ in vectors.measure():
        pass
    assert edges.longest(vectors)[1] == 90
    x[90, 0] = 9.0
    assert edges.longest(vectors)[1] == 40
    vectors.sq[[40, 250]] *= np.float32(1 - 1e-6)  # as another order of the sum might have it
    assert edges.longest(vectors)[1] == 40


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence", "mase"])
@pytest.mark.parametrize("pool", ["structured", "float16", "offset", "duplicates", "constant", "float64", "one row"])
def test_scores_through_a_head_choose_what_numpy_chooses(way: str, name: str, pool: str) -> None:
    x = adversarial(pool)
    for n_classes in (1, 2, 30):
        given = {"embeddings": x, "head_weight": head(n_classes, x.shape[1])}
        plain = pw.select(name, batch_size=min(len(x), 40), **given)
        there = pw.select(name, batch_size=min(len(x), 40), device="cpu", **given)
        assert there.indices.tolist() == plain.indices.tolist()
        np.testing.assert_allclose(there.scores, plain.scores, rtol=1e-6)
        assert len(x) < 80 or there.notes["device"] == "cpu: logits of the head, scores"


def test_equal_class_weights_have_no_boundary_on_the_device_either() -> None:
    weight = head(6, 20)
    weight[4] = weight[1]
    given = {"embeddings": structured(2000, 20), "head_weight": weight}
    there, plain = pw.select("mase", batch_size=50, device="cpu", **given), pw.select("mase", batch_size=50, **given)
    assert there.indices.tolist() == plain.indices.tolist()
    assert there.notes["equal_class_pairs"] == 1


@pytest.mark.parametrize("name", ["margin", "mase"])
def test_a_row_with_nan_is_named_by_its_pool_index(name: str) -> None:
    x = structured(2000, 8)
    x[1234, 3] = np.nan
    with pytest.raises(InputError, match="embeddings row 1234 holds NaN"):
        pw.select(name, batch_size=5, device="cpu", embeddings=x, head_weight=head(5, 8))


def test_k_means_begins_with_the_same_rows() -> None:
    x = structured(3000, 24)
    plain = kmeans(x, np.arange(3000), 60, np.random.default_rng(1))
    with backend.on("cpu"):
        there = kmeans(x, np.arange(3000), 60, np.random.default_rng(1))
    assert np.array_equal(plain.labels, there.labels)


@pytest.mark.parametrize(
    "unlabeled", [np.arange(3, 900), np.setdiff1d(np.arange(900), [5, 6, 70]), np.arange(0, 900, 7)]
)
def test_rows_come_in_order_as_float32_once_sent_and_once_held(way: str, unlabeled: np.ndarray) -> None:
    x = structured(900, 6).astype(np.float16)
    parts = ShardedRows([x[:100], x[100:650], x[650:]])
    with backend.on("cpu"):
        rows = DeviceRows(
            lambda pos: device.read_stored(parts, unlabeled[pos]),
            (len(unlabeled), 6),
            np.dtype(np.float16),
            lambda t: t + 1,
        )
        for _ in range(2):
            for here, block in rows.blocks():
                assert block.dtype == torch.float32
                assert np.array_equal(block.numpy(), x[unlabeled[here]].astype(np.float32) + 1)
            some = np.arange(1, len(unlabeled), 3)
            for here, block in rows.blocks(some):
                assert np.array_equal(block.numpy(), x[unlabeled[some[here]]].astype(np.float32) + 1)
        assert (rows.held is not None) == (way == "held")


def test_rows_are_held_where_a_margin_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_bytes", lambda name: 10 * 2**30)
    assert device.fits("cuda", 7 * 2**30)
    assert not device.fits("cuda:1", 9 * 2**30)
    assert not device.fits("cpu", 1)  # the rows are in its memory already, or larger than it
    assert not device.fits(None, 1)


def test_a_full_device_says_what_to_do() -> None:
    with pytest.raises(DeviceMemoryError, match="leave device out"), backend.on("cpu"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nmore")
    assert issubclass(DeviceMemoryError, MemoryError)


def test_a_device_that_is_not_there_says_what_there_is() -> None:
    with pytest.raises(OptionError, match=r"cuda:99.*this machine has \d+ CUDA devices.*Leave device out"):
        pw.select("coreset", batch_size=1, device="cuda:99", embeddings=np.eye(3))


@pytest.fixture
def tidy() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("way", ["as older versions do", "as newer versions do"])
def test_products_are_full_float32_whatever_the_program_has_set(tidy: None, way: str) -> None:
    newer = [getattr(library, "matmul", None) for library in (torch.backends.cuda, torch.backends.mkldnn)]
    if not all(hasattr(switch, "fp32_precision") for switch in newer):
        pytest.skip("this torch has one switch for all libraries")
    if way == "as older versions do":
        torch.set_float32_matmul_precision("medium")
    else:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    before = [switch.fp32_precision for switch in newer]
    assert "tf32" in before
    with backend.on("cpu"):
        assert [switch.fp32_precision for switch in newer] == ["ieee", "ieee"]
        with backend.on(None):
            assert backend.device() is None
        with backend.on("cpu"):
            pass
        assert [switch.fp32_precision for switch in newer] == ["ieee", "ieee"]
    assert [switch.fp32_precision for switch in newer] == before


def test_a_torch_of_one_switch_is_put_back_too() -> None:
    older = SimpleNamespace(now="high", backends=SimpleNamespace(cuda=SimpleNamespace(matmul=None), mkldnn=None))
    older.get_float32_matmul_precision = lambda: older.now
    older.set_float32_matmul_precision = lambda value: setattr(older, "now", value)
    with backend.full_precision(older):
        assert older.now == "highest"
    assert older.now == "high"


def test_no_array_of_rows_times_centres_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    addmm = torch.addmm

    def watched(*args: Any, **more: Any) -> Any:
        nonlocal largest
        out = addmm(*args, **more)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch, "addmm", watched)
    monkeypatch.setattr(kcenter_shard, "PLAIN_ROWS", 16)
    monkeypatch.setattr(device, "PROCESSOR_BYTES", 2**12)
    x = isotropic(6000, 8)
    with backend.on("cpu"):
        k_center(x, np.arange(2000), np.arange(2000, 6000), 600)
    assert 0 < largest <= 1024 * 1300  # active rows, or a block, times a chunk of centres; all at once would be 1e7


@pytest.mark.gpu
@pytest.mark.parametrize("held", [True, False])
def test_a_gpu_gives_the_batches_of_numpy(monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(device, "fits", lambda name, size: held)
    given = {"embeddings": structured(30000, 256).astype(np.float16), "head_weight": head(50, 256)}
    for name in ("coreset", "badge", "margin", "entropy", "mase", "base"):
        arrays = given if name != "coreset" else {"embeddings": given["embeddings"]}
        plain = pw.select(name, batch_size=1000, **arrays)
        there = pw.select(name, batch_size=1000, device="cuda", **arrays)
        assert there.indices.tolist() == plain.indices.tolist(), name
