"""Reports: one section per file, joined by `page` into one self-contained offline HTML file."""

from poolwise.report import (
    balance,
    choice,
    comparison,
    cost,
    curves,
    html,
    learning,
    model,
    page,
    picks,
    savings,
    setup,
    summary,
)

__all__ = [
    "balance",
    "choice",
    "comparison",
    "cost",
    "curves",
    "html",
    "learning",
    "model",
    "page",
    "picks",
    "savings",
    "setup",
    "summary",
]
