"""Make `import torchvision` work beside a torch without its compiled operators.

The torchvision wheel that pip installs beside a CPU-only torch may miss its compiled library, and
then fails at import with "operator torchvision::nms does not exist". timm, transformers and lightly
import torchvision, but only for transforms. Declaring the two missing operators (not implementing
them: calling one still fails) lets the import through. Where the real operators exist, nothing is
declared.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def ensure_torchvision() -> Any:
    """Import torchvision, with its operators declared if they are missing; None without torchvision.

    Call it before the first import of torchvision, timm, transformers or lightly.

    Returns
    -------
    The library of the declared operators, kept alive by the cache; None if nothing was declared.
    """
    import torch
    from torch import library

    if find_spec("torchvision") is None or _compiled():
        return None
    declared = library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            declared.define(name + SIGNATURE)
    return declared


def _compiled() -> bool:
    """Say whether torchvision's compiled operators are there and load."""
    import torch

    spec = find_spec("torchvision")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    libraries = [path for folder in folders for path in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd"))]
    try:
        for path in libraries:
            torch.ops.load_library(str(path))
    except OSError:
        return False
    return bool(libraries) and hasattr(torch.ops.torchvision, "nms")
