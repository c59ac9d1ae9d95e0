"""Every error that poolwise raises on purpose.

    PoolwiseError
    |-- InputError (ValueError)          an argument or file holds something that cannot be used
    |   |-- ShapeError                   two arrays do not fit together
    |   |-- BudgetError                  more items asked for than there are
    |   |-- OptionError (TypeError)      an option has the wrong name, type or range
    |   `-- UnreadableItemError          the content of one item cannot be opened
    |-- DownloadError (OSError)          a file could not be fetched, or is not the file expected
    |-- UnknownNameError (LookupError)   no such strategy, dataset, label, ...
    |-- ArrayMissingError (LookupError)  a strategy needs an array that is not there
    |-- MissingExtraError (ImportError)  an optional dependency is not installed
    |-- DeviceMemoryError (MemoryError)  a GPU has too little free memory
    |-- EngineError (RuntimeError)       processes that work together failed
    |   `-- WorkerLostError              one of them is gone
    `-- StoreError (OSError)             the pool directory cannot be read or written
        |-- PoolVersionError             made by a newer poolwise
        `-- CorruptArrayError            a part is truncated or does not match its checksum

A message has four parts: the thing, what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PoolwiseError(Exception):
    """Base of every error raised on purpose; the CLI prints it as one line."""


class InputError(PoolwiseError, ValueError):
    """An argument or a file holds something that cannot be used."""


class ShapeError(InputError):
    """Two arrays do not fit together."""


class BudgetError(InputError):
    """More items were asked for than there are."""


class OptionError(InputError, TypeError):
    """An option has the wrong name, type or range."""


class UnreadableItemError(InputError):
    """The content of one item cannot be opened; the message is the reason alone."""


class DownloadError(PoolwiseError, OSError):
    """A file could not be fetched, or is not the file expected."""


class UnknownNameError(PoolwiseError, LookupError):
    """A name is not registered."""


class ArrayMissingError(PoolwiseError, LookupError):
    """A strategy needs an array that is not there."""


class MissingExtraError(PoolwiseError, ImportError):
    """An optional dependency is not installed."""


class DeviceMemoryError(PoolwiseError, MemoryError):
    """A GPU has too little free memory."""


class EngineError(PoolwiseError, RuntimeError):
    """Processes that work together failed."""


class WorkerLostError(EngineError):
    """A process was killed or went away."""


class StoreError(PoolwiseError, OSError):
    """A pool directory cannot be read or written."""


class PoolVersionError(StoreError):
    """A pool directory was made by a newer poolwise."""


class CorruptArrayError(StoreError):
    """An array part is truncated or does not match its checksum."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not registered, with the nearest names suggested."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UnknownNameError(f"no {kind} named {name!r}; {hint}Known: {', '.join(names)}.")


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Build the error for an optional dependency that is not installed."""
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed. "
        f"Install it with `pip install -c constraints.txt 'poolwise[{extra}]'`."
    )
