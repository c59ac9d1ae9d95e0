"""Where work runs: threads, processes of this machine, or Ray."""

from __future__ import annotations

from poolwise.engine.door import choose

__all__ = ["choose"]
