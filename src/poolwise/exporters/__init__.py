"""Exporters: the labels of a pool for other tools, and labels from files; one format per file."""

from poolwise.exporters import answers, csv, jsonl, label_studio, parquet, read_label_studio, read_labels

__all__ = ["answers", "csv", "jsonl", "label_studio", "parquet", "read_label_studio", "read_labels"]
