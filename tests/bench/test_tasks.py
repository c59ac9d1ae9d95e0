"""Facts about benchmark tasks."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.bench.tasks import DATA_VARIABLE, data_folder, load_task, long_tail, parse_task
from poolwise.errors import InputError, OptionError


def test_bundled_task_needs_no_data(tmp_path):
    task = load_task("fashion_demo:pool=300", tmp_path)
    assert task.name == "fashion_demo:pool=300"
    assert task.pool.shape == (300, 128)
    assert task.pool.dtype == np.float32
    assert task.test.shape == (1000, 128)
    assert len(task.classes) == 10


def test_a_part_of_the_pool_is_the_same_every_time():
    assert load_task("fashion_demo:pool=200").digest == load_task("fashion_demo:pool=200").digest
    assert load_task("fashion_demo:pool=200").digest != load_task("fashion_demo:pool=201").digest


def test_long_tail_keeps_the_share_of_the_profile():
    labels = np.repeat(np.arange(5), 100)
    counts = np.sort(np.bincount(labels[long_tail(labels, 0.05)]))[::-1]
    assert counts.tolist() == [int(100 * 0.05 ** (k / 4)) for k in range(5)]
    assert np.bincount(labels[long_tail(labels, 1.0)]).tolist() == [100] * 5


def test_options_are_checked():
    assert parse_task("tiny_imagenet_features_lt: factor = 0.1") == ("tiny_imagenet_features_lt", {"factor": 0.1})
    with pytest.raises(OptionError, match="pool"):
        parse_task("mnist:pool=many")
    with pytest.raises(OptionError, match="expected OPTION=VALUE"):
        parse_task("mnist:100")
    with pytest.raises(OptionError, match="between 2 and 5000"):
        load_task("fashion_demo:pool=5001")


def test_absent_data_say_where_they_were_looked_for(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"images/mnist.npz.*--data-dir"):
        load_task("mnist", tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder(tmp_path / "other") == tmp_path / "other"


@pytest.mark.parametrize(
    ("text", "shape", "n_test", "n_classes"),
    [
        ("tiny_imagenet_features", (25_000, 256), 3000, 200),
        ("tiny_imagenet_features_lt", (7852, 256), 3000, 200),
        ("mnist:pool=500", (500, 128), 10_000, 10),
        ("trec6", (5452, 256), 500, 6),
        ("tabular:set=iris", (90, 4), 60, 3),
    ],
)
def test_real_tasks_have_the_stated_shapes(shared_data, text, shape, n_test, n_classes):
    task = load_task(text, shared_data)
    assert task.pool.shape == shape
    assert task.test.shape == (n_test, shape[1])
    assert len(task.classes) == n_classes
    assert task.pool_labels.max() == task.test_labels.max() == n_classes - 1
    assert np.isfinite(task.pool).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["newsgroups20_tfidf", "banking77", "sst2", "ag_news", "imdb", "cifar10", "fashion_mnist"]
)
def test_larger_real_tasks_can_be_loaded(shared_data, text):
    task = load_task(text, shared_data)
    assert len(task.pool) == len(task.pool_labels) >= 5000
    assert task.pool.shape[1] == task.test.shape[1]
