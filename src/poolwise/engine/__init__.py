"""Where work runs: threads, processes of this machine, or Ray.

`choose` is what `poolwise.select(..., engine=..., workers=...)` calls; `map` does one task for many items.
"""

from __future__ import annotations

from poolwise.engine.door import choose
from poolwise.engine.mapping import map_tasks

map = map_tasks

__all__ = ["choose", "map", "map_tasks"]
