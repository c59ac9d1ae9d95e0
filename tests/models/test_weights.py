"""Weights are found, and pickled ones are never opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poolwise.errors import DownloadError, InputError
from poolwise.models import weights
from poolwise.models.weights import files_digest, find_model, hub_folder, one_safe_file, safe_files


class Explosive:
    """Leaves a mark if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["model.pth", "pytorch_model.bin", "x.pt", "x.ckpt", "x.pkl"])
def test_a_pickle_is_refused_unopened_with_the_conversion(tmp_path: Path, name: str) -> None:
    import pickle

    (tmp_path / name).write_bytes(pickle.dumps(Explosive(tmp_path / "mark")))
    for named in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=r"pickled checkpoint.*save_file\(torch.load\(.*weights_only=True\)"):
            find_model("anything", named)
    assert not (tmp_path / "mark").exists()


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist; expected a .safetensors file"):
        find_model("x", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no \.safetensors file"):
        find_model("x", tmp_path)
    assert find_model("x/y", None) is None


def test_the_main_file_of_a_folder_is_taken(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    assert len(safe_files(tmp_path)) == 2
    with pytest.raises(InputError, match=r"holds 2 \.safetensors files .a.safetensors, b.safetensors"):
        one_safe_file(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert one_safe_file(tmp_path).name == "model.safetensors"


def test_the_digest_covers_names_settings_and_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    seen = {files_digest(tmp_path)}
    (tmp_path / "README.md").write_text("x")
    assert files_digest(tmp_path) in seen, "what does not change the vectors does not count"
    (tmp_path / "config.json").write_text("{}")
    seen.add(files_digest(tmp_path))
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    seen.add(files_digest(tmp_path))
    assert len(seen) == 3


def test_the_hub_is_asked_for_harmless_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        patterns: list[str] = []  # noqa: RUF012

        def snapshot_download(self, repository: str, allow_patterns: list[str]) -> str:
            if repository == "no/where":
                raise OSError("no connection")
            self.patterns[:] = allow_patterns
            return str(tmp_path)

    hub = Hub()
    monkeypatch.setattr(weights, "require", lambda package, purpose: hub)
    with pytest.raises(DownloadError, match="cannot get 'no/where' from the hub"):
        hub_folder("no/where")
    with pytest.raises(InputError, match=r"'a/b' is published without \.safetensors"):
        hub_folder("a/b")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert hub_folder("a/b") == tmp_path
    assert hub.patterns
    assert not any(pattern.endswith((".py", ".bin", ".pt", ".pth", ".pkl", "*")) for pattern in hub.patterns)
