"""Clustering accuracy."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ncode.arguments import arguments
from ncode.reproduction.metrics import points
from ncode.reproduction.metrics.points import Labels

MOST = 10_000
"""Labels and clusters at most: the table of both has as many rows and columns."""


@arguments(labels=points.labels, clusters=points.labels)
def clustering_accuracy(labels: Labels, clusters: Labels) -> float:
    """The share of points in the right class when clusters are assigned to classes in the best way, one to one.

    Raises:
        ValueError: on vectors of different lengths, numbers of :data:`MOST` or more, or negative ones, such as a
            clustering's -1 for noise: say what these are to count as.
    """
    if len(labels) != len(clusters):
        raise ValueError(f"clusters: are {len(clusters)}, for {len(labels)} labels")
    if min(labels.min(), clusters.min()) < 0:
        raise ValueError("labels, clusters: must not be negative")
    if max(labels.max(), clusters.max()) >= MOST:
        raise ValueError(f"labels, clusters: must be below {MOST}: they count from 0")
    table = np.zeros((clusters.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(table, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(labels))
