"""Choosing among strategies; importing this package registers what chooses for itself."""

from poolwise.auto import rule

__all__ = ["rule"]
