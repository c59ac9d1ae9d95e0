"""Backbones, one family per file; importing this package registers them all."""

from poolwise.models import (
    backbone,
    pixels,
    sentence_transformers,
    tfidf,
    timm,
    torchvision_compat,
    transformers,
    weights,
)
from poolwise.models.backbone import Embedder, Fittable, Fitted, default_backbone, open_backbone

__all__ = [
    "Embedder",
    "Fittable",
    "Fitted",
    "backbone",
    "default_backbone",
    "open_backbone",
    "pixels",
    "sentence_transformers",
    "tfidf",
    "timm",
    "torchvision_compat",
    "transformers",
    "weights",
]
