"""A pool keeps what sampled models say, knows which labels they had seen, and reads nothing that is stale."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poolwise as pw
from poolwise.errors import ArrayMissingError, InputError, MissingExtraError, OptionError, ShapeError, UnknownNameError
from poolwise.train import sample as sampling
from poolwise.train.ensembles import fit_bootstrap
from poolwise.train.pool_inputs import PoolInputs

N, D = 60, 4


def embeddings(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (3 * np.eye(3, D)[y] + rng.normal(size=(n, D))).astype(np.float32), y


def make_pool(path: Path, n_labeled: int = 18) -> pw.Pool:
    x, y = embeddings()
    pool = pw.Pool.create(path, embeddings=x, classes=["a", "b", "c"])
    pool.label(np.arange(n_labeled), y[:n_labeled], allow_unasked=True)
    return pool


def array_names(pool: pw.Pool) -> list[str]:
    return pool.store.arrays.names("prob_samples")


def test_the_array_is_what_the_models_say_in_float16(tmp_path: Path) -> None:
    pool, (x, y) = make_pool(tmp_path / "p.pool"), embeddings()
    done = pool.sample("bootstrap", samples=5, seed=3)
    kept = pool.store.arrays.read(done.array)[:]
    expected = fit_bootstrap(x[:18], y[:18], 3, x, samples=5, seed=3)[slice(0, None)]
    assert kept.dtype == np.float16 and kept.shape == (N, 5, 3)
    assert np.array_equal(kept, expected.astype(np.float16))
    assert (done.samples, done.width, done.n_items, done.n_new) == (5, 3, N, N)


def test_queries_read_the_array_until_labels_come(tmp_path: Path) -> None:
    pool, other = make_pool(tmp_path / "p.pool"), make_pool(tmp_path / "other.pool")
    done = pool.sample("bootstrap", samples=7)
    kept = pool.store.arrays.read(done.array)[:]
    options = {"batch_size": 4, "seed": 1, "stochastic": "none"}
    batch = pool.query("bald", **options)
    assert batch.notes["prob_samples"] == "bootstrap, 7 samples"
    free = np.arange(18, N)
    assert batch.indices.tolist() == pw.select("bald", prob_samples=kept, unlabeled=free, **options).indices.tolist()
    pool.label(batch.indices, [0, 1, 2, 0])
    later = pool.query("bald", **options)
    assert "labels came since" in later.notes["stale_prob_samples"] and "prob_samples" not in later.notes
    other.label(batch.indices, [0, 1, 2, 0], allow_unasked=True)
    assert later.indices.tolist() == other.query("bald", **options).indices.tolist()  # Laplace, as without samples


def test_the_same_call_makes_nothing_new_and_another_source_replaces_the_array(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "p.pool")
    first = pool.sample("bootstrap", samples=4)
    assert pool.sample("bootstrap", samples=4).n_new == 0
    second = pool.sample("laplace", samples=4)
    assert first.array != second.array and array_names(pool) == [second.array]
    assert len({pool.sample("bootstrap", samples=4, seed=s).array for s in (1, 2)} | {first.array}) == 3


def test_a_stopped_call_goes_on_with_the_next_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, whole = make_pool(tmp_path / "p.pool"), make_pool(tmp_path / "whole.pool")
    expected = whole.sample("bootstrap", samples=4)
    monkeypatch.setattr(sampling, "PART_BYTES", 2 * 4 * 3 * 16)  # parts of 16 rows
    write_part, parts = pool.store.arrays.write_part, []

    def stop_after_two(*args, **options):
        if len(parts) == 2:
            raise KeyboardInterrupt
        parts.append(len(args[2]))
        write_part(*args, **options)

    monkeypatch.setattr(pool.store.arrays, "write_part", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        pool.sample("bootstrap", samples=4)
    assert pool.query("bald", batch_size=2).notes == {}  # half an array is no array
    pool.release()
    monkeypatch.setattr(pool.store.arrays, "write_part", write_part)
    done = pool.sample("bootstrap", samples=4)
    assert parts == [16, 16] and done.n_new == N - 32 and done.array == expected.array
    assert np.array_equal(pool.store.arrays.read(done.array)[:], whole.store.arrays.read(expected.array)[:])


def test_items_added_later_are_sampled_by_the_same_models(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "p.pool")
    before = pool.sample("bootstrap", samples=4)
    pool.add(embeddings=embeddings(10, seed=1)[0])
    assert "items were added" in pool.query("bald", batch_size=2).notes["stale_prob_samples"]
    after = pool.sample("bootstrap", samples=4)
    assert after.array == before.array and (after.n_new, after.n_items) == (10, N + 10)
    assert pool.query("bald", batch_size=2).notes == {"prob_samples": "bootstrap, 4 samples"}


def test_never_reads_more_than_a_part_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, seen = make_pool(tmp_path / "p.pool"), []
    read = sampling.SampledProbs.__getitem__
    monkeypatch.setattr(sampling, "PART_BYTES", 2 * 4 * 3 * 16)
    monkeypatch.setattr(sampling.SampledProbs, "__getitem__", lambda s, key: seen.append(key) or read(s, key))
    pool.sample("bootstrap", samples=4)
    assert [key.stop - key.start for key in seen] == [16, 16, 16, 12]


def test_noise_deviations_feed_their_strategy(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pool = make_pool(tmp_path / "p.pool")
    with pytest.raises(ArrayMissingError, match="--from noise"):
        pool.query("noise_stability_network", batch_size=3)
    done = pool.sample("noise", samples=4, hidden=6, sketch=2)
    assert (done.samples, done.width) == (4, 2)
    batch = pool.query("noise_stability_network", batch_size=3)
    kept = pool.store.arrays.read(done.array)[:]
    free = np.arange(18, N)
    assert np.linalg.norm(kept.reshape(N, -1)[free].astype(float), axis=1).argmax() + 18 == batch.indices[0]
    pool.label(batch.indices, [0, 1, 2])
    with pytest.raises(ArrayMissingError, match="labels came since"):
        pool.query("noise_stability_network", batch_size=3)


@pytest.mark.parametrize("source", ["dropout", "ensemble", "swag"])
def test_heads_of_every_kind_serve_a_query(source: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pool = make_pool(tmp_path / "p.pool")
    done = pool.sample(source, samples=3, hidden=4, epochs=2)
    kept = pool.store.arrays.read(done.array)[:].astype(float)
    assert kept.sum(axis=2) == pytest.approx(1, abs=2e-3) and kept.std(axis=1).max() > 0
    assert pool.query("mean_std", batch_size=2).notes["prob_samples"] == f"{source}, 3 samples"


def photos(path: Path, n: int = 24) -> Path:
    rng = np.random.default_rng(0)
    path.mkdir()
    for k in range(n):
        level = 60 if k % 2 else 180
        Image.fromarray(rng.normal(level, 20, size=(6, 6, 3)).clip(0, 255).astype(np.uint8)).save(path / f"{k:02d}.png")
    return path


def prepare(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255 - 0.5


def image_pool(tmp_path: Path) -> pw.Pool:
    pool = pw.Pool.create(tmp_path / "i.pool", images=photos(tmp_path / "photos"), classes=["bright", "dark"])
    pool.label(np.arange(12), np.arange(12) % 2, allow_unasked=True)
    return pool


def test_networks_on_the_images_of_a_pool(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    pool = image_pool(tmp_path)

    def make():
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 2)
        )

    net = make()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for source, network, options in (
        ("dropout", net, {}),
        ("ensemble", [net, make()], {}),
        ("swag", net, {"epochs": 3}),
        ("noise", net, {"part": "last_block", "output": "probs"}),
    ):
        samples = None if source == "ensemble" else 3
        done = pool.sample(source, samples=samples, network=network, prepare=prepare, **options)
        kept = pool.store.arrays.read(done.array)[:]
        assert kept.shape == (24, 2 if source == "ensemble" else 3, 2) and kept.std(axis=1).max() > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert pool.query("bald", batch_size=2).notes["prob_samples"] == "swag, 3 samples"
    assert len(pool.query("noise_stability_network", batch_size=2)) == 2
    inputs = PoolInputs(pool.store, prepare)
    assert inputs.shape == (24, 3, 6, 6)
    assert np.array_equal(inputs[np.array([5, 2])], inputs[0:6][[5, 2]])


def test_refuses_what_does_not_fit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pool, images = make_pool(tmp_path / "p.pool"), image_pool(tmp_path)
    net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(D, 5))
    with pytest.raises(ShapeError, match="5 outputs"):
        pool.sample("dropout", network=net)
    with pytest.raises(OptionError, match="linear heads, not a network"):
        pool.sample("laplace", network=net)
    with pytest.raises(OptionError, match="no option 'hidden'"):
        pool.sample("dropout", network=net, hidden=3)
    with pytest.raises(OptionError, match="members"):
        pool.sample("ensemble", network=[net, net], samples=3)
    with pytest.raises(UnknownNameError, match="did you mean 'dropout'"):
        pool.sample("droput")
    with pytest.raises(InputError, match="prepare"):
        pool.sample("dropout", prepare=prepare)
    with pytest.raises(ArrayMissingError, match="poolwise embed"):
        images.sample("bootstrap")
    with pytest.raises(ShapeError, match="equal shapes"):
        PoolInputs(images.store, lambda image: np.zeros(int(np.asarray(image).mean())))[:]
    with pytest.raises(InputError, match="2 classes"):
        make_pool(tmp_path / "few.pool", n_labeled=1).sample("bootstrap")


def test_an_image_that_cannot_be_read_is_named_unless_it_is_set_aside(tmp_path: Path) -> None:
    pool = image_pool(tmp_path)
    (tmp_path / "photos" / "07.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"07\.png.*poolwise embed"):
        PoolInputs(pool.store, prepare)[:]
    pool.embed("pixels")
    assert not PoolInputs(pool.store, prepare)[7:8].any()


def test_without_torch_says_what_to_install_and_linear_heads_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(tmp_path / "p.pool")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"poolwise\[torch\]"):
        pool.sample("dropout")
    assert pool.sample("bootstrap", samples=2).n_new == N
