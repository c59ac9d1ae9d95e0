"""Reading svmlight files and checking them against index.csv."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_svmlight_file

from poolwise.bench.tabular.loader import encode, find_sets, load_set, parse_svmlight
from poolwise.errors import InputError, UnknownNameError


def test_all_released_sets_agree_with_their_index(tabular_dir: Path) -> None:
    assert len(find_sets(tabular_dir)) == 26
    for name in ("appendicitis", "ex8b", "iris", "tictactoe"):
        load_set(name, tabular_dir)


@pytest.mark.parametrize("name", ["appendicitis", "thyroid", "sonar"])
def test_values_equal_those_of_scikit_learn(tabular_dir: Path, name: str) -> None:
    ours = load_set(name, tabular_dir)
    x, y = load_svmlight_file(str(tabular_dir / f"{name}-svmstyle.txt.gz"))
    assert np.array_equal(ours.x, x.toarray())
    assert np.array_equal(np.array([float(ours.classes[c]) for c in ours.y]), y)


def test_plain_and_gzipped_files_are_the_same_set(folder: Path) -> None:
    plain = load_set("two", folder)
    path = folder / "two-svmstyle.txt"
    (folder / "packed.svm.gz").write_bytes(gzip.compress(path.read_bytes()))
    packed = load_set("packed", folder)
    assert np.array_equal(plain.x, packed.x)
    assert np.array_equal(plain.y, packed.y)


def test_labels_are_numbered_in_numeric_order_and_plus_one_is_one() -> None:
    classes, y = encode(["10", "+1", "-1", "1", "2"])
    assert [float(c) for c in classes] == [-1, 1, 2, 10]
    assert y.tolist() == [3, 1, 0, 1, 2]


def test_string_labels_are_encoded(folder: Path) -> None:
    data = load_set("words", folder)
    assert data.classes == ("no", "yes")
    assert data.y.tolist() == load_set("two", folder).y.tolist()


def test_absent_values_are_zero_and_comments_and_blank_lines_are_dropped() -> None:
    x, labels = parse_svmlight("1 2:5 # note\n\n# only a note\n-1 qid:3 1:-2.5\n", "f")
    assert x.tolist() == [[0, 5], [-2.5, 0]]
    assert labels == ["1", "-1"]


def test_indices_may_count_from_zero() -> None:
    assert parse_svmlight("a 0:1 2:3\nb 1:2\n", "f")[0].tolist() == [[1, 0, 3], [0, 2, 0]]


@pytest.mark.parametrize("line", ["1 2", "1 x:3", "1 2:y", "1 2:nan", "1 3:inf", "1 -4:2"])
def test_a_bad_value_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(InputError, match="f, line 2: expected"):
        parse_svmlight("1 1:1\n" + line, "f")


def test_an_empty_file_and_a_single_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "one.txt").write_text("1 1:2\n1 1:3\n")
    with pytest.raises(InputError, match="holds no"):
        load_set("empty", tmp_path)
    with pytest.raises(InputError, match="has 1 class"):
        load_set("one", tmp_path)


def test_unknown_sets_are_answered_with_near_names(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="'three'"):
        load_set("thre", folder)
    with pytest.raises(InputError, match="--data-dir"):
        load_set("two", folder / "nowhere")


@pytest.mark.parametrize("what", ["sha256", "rows", "class counts"])
def test_a_file_that_differs_from_its_index_is_refused(tabular_dir: Path, tmp_path: Path, what: str) -> None:
    shutil.copy(tabular_dir / "appendicitis-svmstyle.txt.gz", tmp_path)
    index = (tabular_dir / "index.csv").read_text()
    changes = {"sha256": ("4aed7fd6", "00000000"), "rows": (",106,", ",107,"), "class counts": ("-1:85", "-1:84")}
    (tmp_path / "index.csv").write_text(index.replace(*changes[what], 1))
    with pytest.raises(InputError, match=what):
        load_set("appendicitis", tmp_path)
