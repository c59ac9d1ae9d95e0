"""The one door to torch, opened only when it is asked for or already open."""

from __future__ import annotations

import sys

import numpy as np

from poolwise.types import Array


def convert(source: Array, out: Array) -> None:
    """Copy `source` into `out` of another dtype; through torch where it is loaded and faster.

    float16 to float32 is 3 to 15 times faster in torch than in NumPy, and gives the same bits.
    """
    torch = sys.modules.get("torch")
    if torch is not None and source.dtype == np.float16 and out.dtype == np.float32 and source.flags.writeable:
        torch.from_numpy(out).copy_(torch.from_numpy(source))
    else:
        np.copyto(out, source, casting="unsafe")
