"""Choosing among strategies; importing this package registers what chooses for itself."""

from poolwise.auto import albl, autoal, budget_rule, ensemble, look, refine, rule, selectal, tailor

__all__ = ["albl", "autoal", "budget_rule", "ensemble", "look", "refine", "rule", "selectal", "tailor"]
