"""Files of other programs open as the same rows, memory-mapped where the format allows it, never unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolwise.errors import CorruptArrayError, InputError, StoreError
from poolwise.kernels.blocks import load_rows
from poolwise.store.arrays import open_rows


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(50, 6)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_plain_npz_are_mapped(tmp_path: Path, x: np.ndarray, dtype: Any, order: Any) -> None:
    values = np.asarray(x * 9, dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", features=values)
    for name in ("x.npy", "x.npz", "x.npz#features"):
        rows = open_rows(tmp_path / name)
        assert isinstance(rows, np.memmap)
        assert rows.dtype == dtype
        assert np.array_equal(rows, values)


def test_compressed_npz_is_loaded(tmp_path: Path, x: np.ndarray) -> None:
    np.savez_compressed(tmp_path / "x.npz", x)
    assert np.array_equal(load_rows(open_rows(tmp_path / "x.npz")), x)


def test_one_of_several_arrays_is_chosen_by_name(tmp_path: Path, x: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", train=x, test=-x)
    assert np.array_equal(load_rows(open_rows(tmp_path / "x.npz#test")), -x)
    with pytest.raises(InputError, match=r"has 'train', 'test'. Name one: `.*x\.npz#train`"):
        open_rows(tmp_path / "x.npz")
    with pytest.raises(InputError, match="expected an array 'valid'"):
        open_rows(tmp_path / "x.npz#valid")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_safetensors_is_mapped_as_the_package_writes_it(tmp_path: Path, x: np.ndarray, dtype: str) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    values = np.abs(x * 9).astype(dtype)
    numpy.save_file({"a": values, "b": values[:3]}, tmp_path / "x.safetensors", metadata={"made": "here"})
    rows = open_rows(tmp_path / "x.safetensors#a")
    assert isinstance(rows, np.memmap)
    assert rows.dtype == dtype
    assert np.array_equal(rows, values)
    assert np.array_equal(load_rows(open_rows(tmp_path / "x.safetensors#b")), values[:3].astype(np.float32))


def write_safetensors(path: Path, dtype: str, shape: list[int], data: bytes) -> None:
    header = json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16_is_widened_block_by_block(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5], [0.0, 3.140625], [1e30, -1e-30]], dtype=np.float32)
    upper = values.view(np.uint32) >> 16
    expected = (upper << 16).view(np.float32)
    write_safetensors(tmp_path / "x.safetensors", "BF16", [3, 2], upper.astype("<u2").tobytes())
    rows = open_rows(tmp_path / "x.safetensors")
    assert rows.dtype == np.float32
    assert rows.shape == (3, 2)
    assert np.array_equal(load_rows(rows), expected)
    assert np.array_equal(load_rows(rows, np.array([2, 0])), expected[[2, 0]])


def test_bfloat16_equals_torch(tmp_path: Path, x: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    wanted = torch.from_numpy(x).to(torch.bfloat16)
    save({"x": wanted}, tmp_path / "x.safetensors")
    assert np.array_equal(load_rows(open_rows(tmp_path / "x.safetensors")), wanted.float().numpy())


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed"])
@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64()])
def test_parquet_lists_become_rows(tmp_path: Path, x: np.ndarray, kind: str, value: Any) -> None:
    flat = pa.array(x.astype(value.to_pandas_dtype()).ravel(), type=value)
    if kind == "fixed":
        column = pa.FixedSizeListArray.from_arrays(flat, 6)
    else:
        make, offset = (pa.ListArray, pa.int32()) if kind == "list" else (pa.LargeListArray, pa.int64())
        column = make.from_arrays(pa.array(np.arange(51) * 6, type=offset), flat)
    table = pa.table({"id": [str(i) for i in range(50)], "feature": column, "n": list(range(50))})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=20)
    rows = open_rows(tmp_path / "x.parquet")
    assert rows.dtype == (np.float16 if value == pa.float16() else np.float32)
    assert np.array_equal(rows[:], x.astype(rows.dtype))
    assert open_rows(tmp_path / "x.parquet#n")[:].tolist() == list(range(50))


def test_numeric_parquet_columns_become_the_columns_of_rows(tmp_path: Path, x: np.ndarray) -> None:
    names = [f"f{j}" for j in range(6)]
    pq.write_table(pa.table({"id": ["a"] * 50, **dict(zip(names, x.T, strict=True))}), tmp_path / "x.parquet")
    assert np.array_equal(open_rows(tmp_path / "x.parquet")[:], x)
    assert np.array_equal(open_rows(tmp_path / "x.parquet#f2")[:], x[:, 2])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "b"]}, "no column of numbers"),
        ({"f": [1.0, None]}, "no value in row 1 of f"),
        ({"f": [[1.0], None]}, "no value in row 1 of its list column"),
        ({"f": [[1.0, 2.0], [1.0]]}, "lists of 1 to 2 numbers"),
        ({"f": [[1.0, 2.0, 3.0], [1.0]]}, "lists of 1 to 3 numbers"),
        ({"f": [[1.0, None]]}, "nulls"),
        ({"f": [["a"]]}, "expected rows of numbers"),
        ({"f": [[1.0]], "g": [[1.0]]}, "has 'f', 'g'"),
    ],
)
def test_parquet_that_holds_no_rows_is_explained(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        open_rows(tmp_path / "x.parquet")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "exploded",)

    objects = np.array([Bomb()], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", objects, allow_pickle=True)
    np.savez_compressed(tmp_path / "c.npz", objects, allow_pickle=True)
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("x.npy", "x.npz", "c.npz", "p.npy"):
        with pytest.raises(CorruptArrayError):
            open_rows(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_is_no_array_is_not_said_to_be_safe_to_unpickle(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("1 2 3")
    with pytest.raises(CorruptArrayError, match=r"not in NumPy's format.*never unpickled") as caught:
        open_rows(tmp_path / "x.npy")
    assert "unsafely" not in str(caught.value) and ".." not in str(caught.value)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors", "x.parquet"])
@pytest.mark.parametrize("keep", [0, 5, 40, -7])
def test_a_cut_off_file_is_explained(tmp_path: Path, x: np.ndarray, name: str, keep: int) -> None:
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, x)
    elif name == "x.npz":
        np.savez(path, x)
    elif name == "x.parquet":
        pq.write_table(pa.table({"f": x[:, 0]}), path)
    else:
        write_safetensors(path, "F32", [50, 6], x.tobytes())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptArrayError, match=r"cannot read .*Write the file again"):
        open_rows(path)


def test_a_header_that_claims_a_huge_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CorruptArrayError, match="claims"):
        open_rows(tmp_path / "x.safetensors")


def test_files_of_another_kind_and_missing_ones_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read arrays from 'model\.pt'.*np\.save"):
        open_rows(tmp_path / "model.pt")
    with pytest.raises(StoreError, match="cannot access"):
        open_rows(tmp_path / "none.npy")
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "scalar.npy", np.float32(1))
    for name in ("text.npy", "scalar.npy"):
        with pytest.raises(InputError, match="expected rows of numbers"):
            open_rows(tmp_path / name)
    with pytest.raises(InputError, match="leave out"):
        open_rows(tmp_path / "text.npy#a")
