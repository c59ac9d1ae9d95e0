"""Finding the weights of a deep model, on disk or on the hub, without ever unpickling a file."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

from poolwise.errors import DownloadError, InputError, OptionError, missing_extra
from poolwise.models.torchvision_compat import ensure_torchvision

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".th", ".tar")
"""File endings of checkpoints that run code of their author when opened."""

SAFE_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What is downloaded from the hub: settings, vocabularies and safetensors, nothing that runs code."""


def require(package: str, purpose: str) -> Any:
    """Import a package of the extra `torch`, with torchvision made importable first.

    Raises
    ------
    MissingExtraError
        If it is not installed; says what to type.
    """
    try:
        importlib.import_module("torch")
        ensure_torchvision()
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or package, "torch", purpose) from error


def pick_device(device: str) -> str:
    """Turn "auto" into the best device there is: cuda, then mps, then cpu.

    Raises
    ------
    OptionError
        If the device is not there.
    """
    torch = require("torch", "choosing a device")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device.partition(":")[0], False):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise OptionError(f"device {device!r} is not on this machine; there is {known}. Try --device auto.")
    return device


def find_model(model: str, weights: str | Path | None) -> Path | None:
    """Find a local file or folder that the user named, as weights or as the model itself.

    Raises
    ------
    InputError
        If `weights` does not exist, or is or holds only pickled checkpoints.
    """
    named = weights if weights is not None else model if model and Path(model).expanduser().exists() else None
    if named is None:
        return None
    path = Path(named).expanduser().absolute()
    if not path.exists():
        raise InputError(f"weights={str(named)!r} does not exist; expected a .safetensors file or a folder with one.")
    safe_files(path)
    return path


def safe_files(path: Path) -> list[Path]:
    """List the .safetensors files of a path; a folder is searched with its subfolders.

    Raises
    ------
    InputError
        If there is none; where there are pickled checkpoints, says how to convert one.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    safe = [file for file in files if file.suffix == ".safetensors"]
    if safe:
        return safe
    pickled = [file for file in files if file.suffix in PICKLES]
    if pickled:
        name = pickled[0].name
        raise InputError(
            f"{str(pickled[0])!r} is a pickled checkpoint, which can run any code when opened; expected .safetensors. "
            'If you trust its author, convert it once: python -c "import torch; from safetensors.torch import '
            f"save_file; save_file(torch.load('{name}', weights_only=True), 'model.safetensors')\""
        )
    raise InputError(f"{str(path)!r} holds no .safetensors file. Save the model with save_pretrained, or safetensors.")


def one_safe_file(path: Path) -> Path:
    """Return the only .safetensors file of a path, or `model.safetensors` among several.

    Raises
    ------
    InputError
        If it is not clear which one is meant.
    """
    files = safe_files(path)
    chosen = [file for file in files if file.name == "model.safetensors" and file.parent == path] or files
    if len(chosen) != 1:
        names = ", ".join(file.name for file in files[:4])
        raise InputError(f"{str(path)!r} holds {len(files)} .safetensors files ({names}). Name one with weights=FILE.")
    return chosen[0]


def hub_folder(repository: str) -> Path:
    """Download a model from the Hugging Face hub into its usual cache, without any pickled file.

    Raises
    ------
    DownloadError
        If there is no such model or no connection.
    InputError
        If the model is published without safetensors.
    """
    hub = require("huggingface_hub", f"downloading {repository!r}")
    try:
        folder = Path(hub.snapshot_download(repository, allow_patterns=list(SAFE_FILES)))
    except Exception as error:  # the hub client raises errors of four libraries
        raise DownloadError(
            f"cannot get {repository!r} from the hub ({type(error).__name__}). Check the name and the connection, "
            "or download it elsewhere and say weights=FOLDER."
        ) from error
    if not any(folder.rglob("*.safetensors")):
        raise InputError(f"{repository!r} is published without .safetensors files. Choose a model that has them.")
    return folder


def load_state(path: Path) -> dict[str, Any]:
    """Load all tensors of one .safetensors file on the CPU.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    require("torch", "loading weights")
    safetensors = require("safetensors.torch", "loading weights")
    try:
        return dict(safetensors.load_file(str(path)))
    except Exception as error:  # SafetensorError is no builtin and moves between releases
        raise InputError(f"{str(path)!r} is not a safetensors file ({error}). Get or save it again.") from error


def files_digest(path: Path) -> str:
    """Hash the names and contents of the settings and weights of a file or folder (SHA-256)."""
    wanted = {".json", ".safetensors", ".txt", ".model"}
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file() and f.suffix in wanted)
    total = hashlib.sha256()
    for file in files:
        total.update(b"" if file == path else file.relative_to(path).as_posix().encode())
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()
