"""The methods' tables: Butcher's order conditions, for every rooted tree, and the paths between steps."""

from __future__ import annotations

import itertools
import math
from functools import cache

import pytest

from ncode.solvers.tableaus import TABLEAUS, Tableau

NAMES = list(TABLEAUS)


@cache
def trees(order: int) -> frozenset:
    """Rooted trees of so many nodes; a tree is the sorted tuple of its root's branches."""
    if order == 1:
        return frozenset({()})
    found = set()
    for sizes in partitions(order - 1):
        for branches in itertools.product(*(trees(size) for size in sizes)):
            found.add(tuple(sorted(branches)))
    return frozenset(found)


def partitions(n: int, most: int | None = None):
    if n == 0:
        yield ()
    for first in range(min(n, most or n), 0, -1):
        for rest in partitions(n - first, first):
            yield (first, *rest)


def nodes(tree: tuple) -> int:
    return 1 + sum(nodes(branch) for branch in tree)


def density(tree: tuple) -> int:
    return nodes(tree) * math.prod(density(branch) for branch in tree)


def stage_values(tree: tuple, method: Tableau) -> list[float]:
    """Π over the branches of Σ_j a_ij (the branch's values)_j, for every stage i."""
    values = [1.0] * method.stages
    for branch in tree:
        inner = stage_values(branch, method)
        for i, row in enumerate(method.a):
            values[i] *= sum(a * v for a, v in zip(row, inner, strict=False))
    return values


def miss(tree: tuple, method: Tableau, weights, s: float = 1.0) -> float:
    """How far Σ w_i φ_i is from s^nodes/γ, which Taylor's series has."""
    found = sum(w * v for w, v in zip(weights, stage_values(tree, method), strict=True))
    return abs(found - s ** nodes(tree) / density(tree))


def up_to(order: int):
    return itertools.chain.from_iterable(trees(n) for n in range(1, order + 1))


def test_there_are_as_many_trees_as_cayley_counted():
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("name", NAMES)
def test_order_conditions_hold_up_to_the_order_and_no_further(name):
    method = TABLEAUS[name]
    # dopri8's weights are rational approximations to about 1e-13, some of its coefficients of size 50.
    assert max(miss(tree, method, method.b) for tree in up_to(method.order)) < 1e-10
    assert max(miss(tree, method, method.b) for tree in trees(method.order + 1)) > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_nodes_are_sums_of_rows(name):
    method = TABLEAUS[name]
    for i, (c, row) in enumerate(zip(method.c, method.a, strict=True)):
        assert len(row) == i
        assert sum(row) == pytest.approx(c, abs=1e-13)


@pytest.mark.parametrize("name", [name for name in NAMES if TABLEAUS[name].adaptive])
def test_the_embedded_solution_is_of_a_lower_order(name):
    method = TABLEAUS[name]
    embedded = [b - e for b, e in zip(method.b, method.error, strict=True)]
    order = method.order - 1
    assert max(miss(tree, method, embedded) for tree in up_to(order)) < 1e-10
    # Where it has the method's own order, nothing would be left to estimate.
    assert max(miss(tree, method, embedded) for tree in trees(method.order)) > 1e-6


@pytest.mark.parametrize("name", [name for name in NAMES if TABLEAUS[name].dense])
@pytest.mark.parametrize("s", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_paths_between_steps_have_their_order(name, s):
    method = TABLEAUS[name]
    weights = [sum(a * s ** (power + 1) for power, a in enumerate(row)) for row in method.dense]
    assert max(miss(tree, method, weights, s) for tree in up_to(method.dense_order)) < 1e-10
    slope = [sum((power + 1) * a * s**power for power, a in enumerate(row)) for row in method.dense]
    if s in (0.0, 1.0):
        # The slope at the ends is that of the first and of the last stage.
        expected = [float(i == (0 if s == 0 else method.stages - 1)) for i in range(method.stages)]
        assert slope == pytest.approx(expected, abs=1e-12)


def test_first_same_as_last():
    assert {name for name in NAMES if TABLEAUS[name].fsal} == {"bosh3", "dopri5", "tsit5", "dopri8"}
    assert {name for name in NAMES if TABLEAUS[name].interpolates} == {"bosh3", "dopri5", "tsit5"}
