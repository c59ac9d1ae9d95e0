"""Query strategies, one per file; importing this package registers them all."""

from poolwise.strategies import (
    badge,
    balanced_random,
    base,
    cluster_margin,
    coreset,
    entropy,
    kmeans,
    least_confidence,
    margin,
    mase,
    maxherding,
    noise_stability,
    probcover,
    random,
    typiclust,
    uherding,
)

__all__ = [
    "badge",
    "balanced_random",
    "base",
    "cluster_margin",
    "coreset",
    "entropy",
    "kmeans",
    "least_confidence",
    "margin",
    "mase",
    "maxherding",
    "noise_stability",
    "probcover",
    "random",
    "typiclust",
    "uherding",
]
