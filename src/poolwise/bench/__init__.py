"""Benchmarks: suites of data sets, strategies and seeds, run in parallel, resumed, summed up with intervals."""

from poolwise.bench.compare import compare
from poolwise.bench.results import Results, read_results, write_results
from poolwise.bench.run import run
from poolwise.bench.suite import Suite, load_suite, make_suite
from poolwise.bench.table import summarise, to_dict, to_markdown, to_rich

__all__ = [
    "Results",
    "Suite",
    "compare",
    "load_suite",
    "make_suite",
    "read_results",
    "run",
    "summarise",
    "to_dict",
    "to_markdown",
    "to_rich",
    "write_results",
]
