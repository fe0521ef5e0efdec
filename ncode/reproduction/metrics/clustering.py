"""Clustering accuracy."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ncode.reproduction.metrics.points import Labels


def clustering_accuracy(labels: Labels, clusters: Labels) -> float:
    """The share of points in the right class when clusters are assigned to classes in the best way, one to one.

    Raises:
        ValueError: on negative labels, such as a clustering's -1 for noise: say what these are to count as.
    """
    if min(labels.min(), clusters.min()) < 0:
        raise ValueError("labels, clusters: must not be negative")
    table = np.zeros((clusters.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(table, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(labels))
