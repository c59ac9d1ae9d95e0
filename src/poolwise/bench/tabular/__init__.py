"""The pool-based benchmark on small tabular data: published protocol, published numbers, every strategy.

Source: Zhan et al., IJCAI 2021, with the protocol and corrections of Lu, Li & Lin, arXiv 2306.08954.
"""

from poolwise.bench.tabular import strategies
from poolwise.bench.tabular.registry import TABULAR, State, tabular
from poolwise.bench.tabular.results import Results, Row, format_table
from poolwise.bench.tabular.run import run_tabular

__all__ = ["TABULAR", "Results", "Row", "State", "format_table", "run_tabular", "strategies", "tabular"]
