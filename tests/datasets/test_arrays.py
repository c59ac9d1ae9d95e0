"""Arrays in memory and in files: rows are counted without loading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolwise.datasets import open_source
from poolwise.datasets.arrays import check_embeddings
from poolwise.errors import InputError
from poolwise.store.arrays import open_rows

X = np.arange(12, dtype=np.float32).reshape(6, 2)


def test_every_format_gives_the_same_number_of_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "one.npz", anything=X, labels=np.zeros(6))
    np.savez_compressed(tmp_path / "named.npz", embeddings=X, other=np.zeros((3, 3)))
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1]}), tmp_path / "x.parquet")
    for name in ("x.npy", "one.npz", "named.npz", "x.parquet"):
        source = open_source(embeddings=tmp_path / name)
        assert len(source) == 6, name
        assert np.array_equal(open_rows(source.embeddings)[slice(0, 6)], X), "the store opens the same array"
        assert [item.item_id for item in source.items] == list("012345")
    for value in (X, pd.DataFrame(X), X.tolist()):
        assert check_embeddings(value)[0] == 6


def test_a_safetensors_head_is_read_as_the_library_writes_it(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file({"features": X}, tmp_path / "x.safetensors", metadata={"made": "here"})
    assert check_embeddings(tmp_path / "x.safetensors") == (6, tmp_path / "x.safetensors")
    save_file({"features": X, "ids": X[:, 0].copy()}, tmp_path / "two.safetensors")
    assert check_embeddings(tmp_path / "two.safetensors") == (6, f"{tmp_path / 'two.safetensors'}#features")


def test_a_torch_tensor_is_accepted() -> None:
    torch = pytest.importorskip("torch")
    assert len(open_source(embeddings=torch.tensor(X))) == 6


def test_ids_and_labels_come_from_a_table_or_from_the_other_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"key": list("uvwxyz"), "y": ["a", "b"] * 3, "f0": X[:, 0], "f1": X[:, 1]})
    frame.to_parquet(tmp_path / "t.parquet")
    lists = pa.table({"key": list("uvwxyz"), "y": ["a", "b"] * 3, "vector": X.tolist()})
    pq.write_table(lists, tmp_path / "lists.parquet")
    for embeddings in (frame, tmp_path / "t.parquet", tmp_path / "lists.parquet"):
        source = open_source(embeddings=embeddings, id_column="key", label_column="y")
        assert np.array_equal(source.embeddings, X)
        assert [item.item_id for item in source.items] == list("uvwxyz")
        assert source.labels == ("a", "b") * 3
    source = open_source(embeddings=X, table=frame, id_column="key")
    assert source.embeddings is X
    assert source.items[5].item_id == "z"


def test_embeddings_beside_images_or_texts_must_have_their_rows() -> None:
    frame = pd.DataFrame({"t": list("abcdef")})
    assert open_source(table=frame, text="t", embeddings=X).embeddings is X
    with pytest.raises(InputError, match="embeddings have 5 rows, but there are 6 items"):
        open_source(table=frame, text="t", embeddings=X[:5])
    with pytest.raises(InputError, match="has 6 rows, but the embeddings have 5"):
        open_source(embeddings=X[:5], table=frame)


def test_one_of_several_arrays_can_be_named_and_others_are_its_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=X, b=X[:3] + 1, y=np.array(list("pqpqpq")), n=np.arange(6))
    source = open_source(embeddings=f"{tmp_path / 'x.npz'}#a", label_column="y", id_column="n")
    assert source.labels == tuple("pqpqpq")
    assert [item.item_id for item in source.items] == list("012345")
    assert np.array_equal(open_rows(source.embeddings)[slice(0, 6)], X)
    with pytest.raises(InputError, match="has no array 'z'; it has a, b, n, y"):
        open_source(embeddings=f"{tmp_path / 'x.npz'}#z")
    with pytest.raises(InputError, match="has 6 rows, but the embeddings have 3"):
        open_source(embeddings=f"{tmp_path / 'x.npz'}#b", label_column="y")
    with pytest.raises(InputError, match="has no column 'label'"):
        open_source(embeddings=f"{tmp_path / 'x.npz'}#b", label_column="label")


def test_a_folder_of_parts_counts_all_its_rows(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"part-{number}.npy", X)
    source = open_source(embeddings=tmp_path)
    assert len(source) == len(open_rows(source.embeddings)) == 18
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no .npy file"):
        open_source(embeddings=tmp_path / "empty")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: np.save(p / "x.npy", X[:, 0]), r"shape \(6,\); expected \(N, D\)"),
        (lambda p: np.save(p / "x.npy", X[:0]), "at least one row"),
        (lambda p: np.save(p / "x.npy", np.array([{}], dtype=object), allow_pickle=True), "cannot be read"),
        (lambda p: (p / "x.npy").write_bytes(b""), "cannot be read"),
        (lambda p: (p / "x.npz").write_bytes(b"PK nonsense"), "cannot be read"),
        (lambda p: np.savez(p / "x.npz", a=X, b=X), "a .6, 2., b .6, 2.; expected one .* Name it: FILE#NAME"),
        (lambda p: (p / "x.safetensors").write_bytes(b"\xff" * 12), "cannot be read"),
        (lambda p: (p / "x.safetensors").write_bytes(b"\x01"), "cannot be read"),
        (lambda p: (p / "x.pt").write_bytes(b"x"), "ends in '.pt'; expected one of .npy"),
        (lambda p: None, "is not a file"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, make, message: str) -> None:
    make(tmp_path)
    path = next(tmp_path.iterdir(), tmp_path / "x.npy")
    with pytest.raises(InputError, match=message):
        open_source(embeddings=path)


def test_columns_that_hold_no_numbers_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"k": list("ab"), "name": list("cd"), "f": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'name' holds string; expected numbers"):
        open_source(embeddings=tmp_path / "t.parquet", id_column="k")
    pq.write_table(pa.table({"k": list("ab"), "v": [[1.0, 2.0], [3.0]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="lists of different lengths"):
        open_source(embeddings=tmp_path / "t.parquet", id_column="k")
    with pytest.raises(InputError, match="they are not a table"):
        open_source(embeddings=X, id_column="k")
