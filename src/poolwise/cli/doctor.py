"""`poolwise doctor`: what is installed here, and what to install for the rest."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

import poolwise
from poolwise.cli.output import echo_json, echo_table

EXTRAS = {
    "base": ["numpy", "scipy", "scikit-learn", "pyarrow", "fastapi"],
    "torch": ["torch", "torchvision", "timm", "transformers", "sentence-transformers", "safetensors"],
    "faiss": ["faiss-cpu"],
    "fast": ["numba"],
    "ray": ["ray"],
    "cryo": ["mrcfile", "starfile"],
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check the installation: versions, cores, memory, GPU, optional packages.

    Example:  poolwise doctor
    """
    machine = describe_machine()
    packages = [
        {"extra": extra, "package": name, "version": installed(name)}
        for extra, names in EXTRAS.items()
        for name in names
    ]
    if as_json:
        echo_json({"machine": machine, "packages": packages})
        return
    echo_table("", [{"what": key, "value": value} for key, value in machine.items()])
    print()
    echo_table("", packages)
    missing = sorted({str(p["extra"]) for p in packages if p["version"] is None} - {"base"})
    for extra in missing:
        print(f"For {extra}: pip install -c constraints.txt 'poolwise[{extra}]'")


def describe_machine() -> dict[str, str]:
    """Facts about this machine that decide what runs how fast."""
    disk = shutil.disk_usage(Path.cwd())
    facts = {
        "poolwise": poolwise.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "free disk": f"{disk.free / 2**30:.0f} GiB",
        "GPU": gpu(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    return facts


def gpu() -> str:
    """Name the CUDA device, or say why there is none."""
    if installed("torch") is None:
        return "unknown (torch is not installed)"
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "none"


def installed(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
