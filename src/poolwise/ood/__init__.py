"""Out-of-distribution detectors, one per file; importing this package registers them all."""

from poolwise.ood import (
    answers,
    class_cosine,
    energy,
    given,
    knn,
    mahalanobis,
    max_logit,
    max_prob,
    relative_mahalanobis,
)

__all__ = [
    "answers",
    "class_cosine",
    "energy",
    "given",
    "knn",
    "mahalanobis",
    "max_logit",
    "max_prob",
    "relative_mahalanobis",
]
