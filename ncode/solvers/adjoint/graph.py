"""A walk through autograd's graph: which leaves a tensor comes from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

_MARK = "ncode"
Edge = tuple
"""Where a tensor stands in the graph: a node, and which of its outputs."""


def edge(tensor: Tensor) -> Edge:
    """Where ``tensor`` stands: what next_functions would say of it."""
    found = torch.autograd.graph.get_gradient_edge(tensor)
    return found.node, found.output_nr


def edges(tensors: Iterable[Tensor]) -> set[Edge]:
    """Where those of ``tensors`` stand that need a gradient."""
    return {edge(tensor) for tensor in tensors if tensor.requires_grad}


def mark(seen: Iterable[Edge]) -> None:
    """Leave a sign at what stands here, by which :func:`shared` knows it again."""
    for node, _ in seen:
        node.metadata[_MARK] = True


def shared(seen: Iterable[Edge]) -> bool:
    """Whether a node among ``seen`` was there before, and keeps tensors that a gradient through it would use up.

    Views keep none, and neither do leaves.
    """
    return any(_MARK in node.metadata and _keeps(node) for node, _ in seen)


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
