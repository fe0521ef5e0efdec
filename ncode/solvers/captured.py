"""Which tensors a right-hand side reads that need a gradient, found in autograd's graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.adjoint.graph import edge, edges, mark, shared, walk
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import clock, leaves
from ncode.tracing import transforming


class Captured:
    """What f reads besides t and z, and what it gives at the first time.

    That is what was declared, and the other leaves that f reaches, found in the graph of one evaluation. Without this
    a tensor merely captured by f would silently get no gradient.

    Args:
        declared: tensors at which gradients stop, whatever their history.

    Raises:
        RuntimeError: under a transform of :mod:`torch.func` or in forward mode.

    Attributes:
        tensors: what needs a gradient.
        reached: positions of those that f reaches at the first time.
        velocity: what f gives there.
    """

    def __init__(self, f: RightHandSide, state: State, t: float | Tensor, declared: Sequence[Tensor]):
        # By identity: a tensor declared twice would get its gradient twice.
        declared = list({id(p): p for p in declared if p.requires_grad}.values())
        if transforming():
            # A tangent of what f captures would be lost without a sign.
            raise RuntimeError(
                "gradients: torch.func's transforms and forward mode need gradients='direct', the others are "
                "autograd's own"
            )
        inputs = leaves(state)
        with torch.enable_grad():
            outputs = f(clock(t, state), inputs)
        # Where the walk stops: at the state's leaves and at what was declared, with or without a history of its own.
        cuts, stops, starts = edges(declared), edges(inputs), edges(outputs)
        found, reached = walk(starts, stops | cuts)
        histories = [behind for node, _ in cuts for behind in node.next_functions]
        upstream, passed = walk(histories, set())
        if passed & cuts or not {id(leaf) for leaf in found}.isdisjoint(id(leaf) for leaf in upstream):
            # Autograd does not stop at a tensor whose gradient it is asked for: what lies behind a declared tensor
            # and is reached on another way too would count twice. Leaves alone are right, if slower.
            self.tensors, reached = walk([*starts, *cuts], stops)
            mark(reached)
        else:
            mark(reached, cuts)
            self.tensors = [*declared, *found]
        self.reached = frozenset(i for i, tensor in enumerate(self.tensors) if edge(tensor) in reached)
        self.velocity = tuple(output.detach() for output in outputs)


def known_at_first(f: RightHandSide, velocity: State) -> RightHandSide:
    """f, whose first evaluation is known already."""
    pending: list[State] = [velocity]

    def known(t: Tensor, z: State) -> State:
        return pending.pop() if pending else f(t, z)

    return known


def must_be_known(velocity: State, z: State, t: float, known: set) -> bool:
    """Raise a ``RuntimeError`` where ``velocity`` comes from a leaf that no gradient is asked of.

    Returns:
        Whether evaluations share a part of autograd's graph that one gradient through it would use up.
    """
    state = edges(z)
    found, seen = walk(edges(velocity), known | state)
    if found:
        raise RuntimeError(
            f"f reaches a tensor of shape {tuple(found[0].shape)} at t = {t:.6g} that it does not reach at "
            "the first time, and that needs a gradient, which would be lost: make it a parameter of the field, "
            "name it (solve's parameters, path_cost's captured), or use gradients='direct'"
        )
    return shared(seen - state, known)


MEANWHILE = (
    "what it reads was set anew meanwhile (a state of the field, or parameters, as by torch.func.functional_call), or "
    "it is random, as dropout makes it. These gradients evaluate f again: use gradients='direct'"
)


def must_be_alike(found: State, kept: State) -> None:
    """Raise a ``RuntimeError`` where what was computed again differs from what was kept."""
    if not alike(found, kept):
        raise RuntimeError(f"f no longer gives the velocity that it gave in the forward pass: {MEANWHILE}")


def alike(found: State, kept: State) -> bool:
    """Whether what was computed again differs by no more than a GPU rounds differently."""
    for a, b in zip(found, kept, strict=False):
        allowed = max(1e-3, 10 * torch.finfo(b.dtype).eps) * b.abs().amax()
        if not bool((a - b).abs().amax() <= allowed):
            return False
    return True
