"""All rows of the table; add a case by adding it to the list of its file."""

from benchmarks.speed.case import Case
from benchmarks.speed.cases import badge, clusters, kcenter, rowwise, submodular

CASES: list[Case] = [*kcenter.CASES, *badge.CASES, *rowwise.CASES, *clusters.CASES, *submodular.CASES]
"""In the order of the table."""
