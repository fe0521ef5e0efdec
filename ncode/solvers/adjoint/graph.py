"""A walk through autograd's graph: which leaves a tensor comes from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

Edge = tuple
"""Where a tensor stands in the graph: a node, and which of its outputs."""


def edge(tensor: Tensor) -> Edge:
    """Where ``tensor`` stands: what next_functions would say of it."""
    found = torch.autograd.graph.get_gradient_edge(tensor)
    return found.node, found.output_nr


def edges(tensors: Iterable[Tensor]) -> set[Edge]:
    """Where those of ``tensors`` stand that need a gradient."""
    return {edge(tensor) for tensor in tensors if tensor.requires_grad}


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
