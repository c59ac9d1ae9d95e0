"""The compiled forms of row scores, where the extra `fast` is installed and they pay; answers are the same bit for bit.

Loading numba and them takes about a second of processor time, ten where they are compiled for the first time. So they
are loaded when a process has handled so many values without them that the loss comes to that second, or by `load`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from poolwise.types import Array

FEWEST = 2**16
"""Values in a block from which on they save time."""

PAYS = 2**29
"""Values handled without them (1.5 to 2.5 ns more for each) after which they are loaded."""


class _State:
    """What this process has handled, and the forms once they are loaded; answers do not depend on it."""

    handled = 0
    forms: ModuleType | None = None
    missing = False


def load() -> bool:
    """Load them now, for a process that will choose often; say whether that was possible."""
    if _State.forms is None and not _State.missing:
        try:
            from poolwise.kernels import jit
        except (ImportError, RuntimeError, OSError):  # also: no folder where numba may keep what it compiled
            _State.missing = True
        else:
            _State.forms = jit
    return _State.forms is not None


def forms(block: Array) -> ModuleType | None:
    """Return the module `jit` for a large contiguous float32 block if it is loaded or should be by now."""
    if block.size < FEWEST or block.dtype != np.float32 or not block.flags.c_contiguous:
        return None
    if _State.forms is None and not _State.missing:
        _State.handled += block.size
        if _State.handled >= PAYS:
            load()
    return _State.forms


def loaded() -> ModuleType | None:
    """Return the module `jit` if it is loaded."""
    return _State.forms
