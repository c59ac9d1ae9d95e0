"""Exporters: the labels of a pool for other tools, and labels from files; one format per file."""

from poolwise.exporters import read_label_studio, read_labels

__all__ = ["read_label_studio", "read_labels"]
