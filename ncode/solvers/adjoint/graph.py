"""A walk through autograd's graph: which leaves a tensor comes from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

_MARK, _MET = "ncode", "ncode met"
Edge = tuple
"""Where a tensor stands in the graph: a node, and which of its outputs."""


def edge(tensor: Tensor) -> Edge:
    """Where ``tensor`` stands: what next_functions would say of it."""
    found = torch.autograd.graph.get_gradient_edge(tensor)
    return found.node, found.output_nr


def edges(tensors: Iterable[Tensor]) -> set[Edge]:
    """Where those of ``tensors`` stand that need a gradient."""
    return {edge(tensor) for tensor in tensors if tensor.requires_grad}


def mark(seen: Iterable[Edge], stops: Iterable[Edge] = ()) -> None:
    """Leave a sign at what the first evaluation reaches, by which :func:`shared` knows it again.

    Args:
        stops: those among ``seen`` that a gradient does not go through.
    """
    stops = set(stops)
    for here in seen:
        here[0].metadata[_MET] = True
        if here not in stops:
            here[0].metadata[_MARK] = True


def shared(seen: set[Edge], stops: set[Edge]) -> bool:
    """Whether evaluations share a node among ``seen`` that keeps tensors which a gradient through it would use up.

    Views keep none, and neither do leaves. Where one of ``stops`` is met that the first evaluation did not reach,
    nobody knows what lies before it: it may be shared.
    """
    if any(_MET not in node.metadata for node, _ in seen & stops):
        return True
    return any(_MARK in node.metadata and _keeps(node) for node, _ in seen - stops)


def _keeps(node: Node) -> bool:
    # A Python function's node says nothing before it is asked for its tensors, which unpacks them.
    return isinstance(node, BackwardCFunction) or any(name.startswith("_raw_saved") for name in dir(node))


def walk(starts: Iterable[Edge], stops: set[Edge]) -> tuple[list[Tensor], set[Edge]]:
    """The leaves behind ``starts``, as far as ``stops``, and the edges seen, stops included."""
    stack, leaves, seen = list(starts), [], set()
    while stack:
        here = stack.pop()
        if here in seen or here[0] is None:
            continue
        seen.add(here)
        if here in stops:
            continue
        if hasattr(here[0], "variable"):
            leaves.append(here[0].variable)
        stack.extend(here[0].next_functions)
    return leaves, seen
