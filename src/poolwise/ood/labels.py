"""What detectors that are fitted on labels ask of them."""

from __future__ import annotations

import numpy as np

from poolwise.errors import InputError
from poolwise.types import IndexArray


def labeled_classes(name: str, labels: IndexArray, labeled: IndexArray) -> IndexArray:
    """Classes (L,) of the labeled items.

    Raises
    ------
    InputError
        If there are none.
    """
    if not len(labeled):
        raise InputError(
            f"detector {name!r} needs labeled items of the classes of interest; got none. Label some first, or use "
            "another detector, such as energy."
        )
    return np.asarray(np.asarray(labels)[labeled])
