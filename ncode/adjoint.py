"""Gradients by the adjoint: a second solve, backward in time, instead of backpropagation through the solver.

For z' = f(t, z; p) the adjoint a = ∂L/∂z obeys a' = -a ∂f/∂z (Eq. 6 without running cost), and ∂L/∂p is the
quadrature ∫ a ∂f/∂p dt. Memory does not grow with the number of steps.

What torchdiffeq's adjoint leaves to its caller is settled here. Every tensor that f captures gets its gradient,
declared or not. The error control watches the states and their adjoints, not the quadratures, which feed back into
nothing (Kidger, Chen and Lyons 2021). And each sample's adjoint is scaled to unit size, since the equation is
linear in it: an absolute tolerance then means the same whether the loss was summed or averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.integrate import NFE, RightHandSide, Solver, State, integrate


def integrate_with_adjoint(
    f: RightHandSide, state: State, t: Tensor, solver: Solver, nfe: NFE, parameters: Sequence[Tensor] = ()
) -> State:
    """Like :func:`ncode.integrate.integrate`, with gradients by the adjoint.

    Args:
        parameters: captured tensors at which the adjoint stops (see :func:`ncode.solve.solve`).

    Raises:
        ValueError: when ``t`` needs a gradient: only direct gradients reach the times.
    """
    if t.requires_grad:
        raise ValueError("t: the adjoint gives no gradient with respect to times; use gradients='direct'")
    # By identity: a tensor declared twice would get its gradient twice.
    declared = list({id(p): p for p in parameters if p.requires_grad}.values())
    tensors, reached = _captured(f, state, t, declared)
    return _Adjoint.apply(f, t, solver, nfe, len(state), reached, *state, *tensors)


def _captured(f: RightHandSide, state: State, t: Tensor, declared: list[Tensor]) -> tuple[list[Tensor], frozenset[int]]:
    """What needs a gradient besides the state, and which of it f reaches at t[0], by position.

    That is what was declared, and the other leaves that f reaches, found in the graph of one evaluation. Without
    this a tensor merely captured by f would silently get no gradient. The evaluation is not counted: it belongs to
    no solve.
    """
    with torch.enable_grad():
        inputs = tuple(part.detach().requires_grad_() for part in state)
        outputs = f(t[0], inputs)
    # Where the walk stops: at the state's leaves and at what was declared, with or without a history of its own.
    cuts = {_edge(tensor) for tensor in declared}
    stops = {_edge(tensor) for tensor in inputs}
    starts = [_edge(output) for output in outputs if output.requires_grad]
    leaves, reached = _walk(starts, stops | cuts)
    histories = [edge for node, _ in cuts for edge in node.next_functions]
    upstream, passed = _walk(histories, set())
    if passed & cuts or not {id(leaf) for leaf in leaves}.isdisjoint(id(leaf) for leaf in upstream):
        # Autograd does not stop at a tensor whose gradient it is asked for: what lies behind a declared tensor and is
        # reached on another way too would count twice. Leaves alone are right, if slower.
        tensors, reached = _walk([*starts, *cuts], stops)
    else:
        tensors = [*declared, *leaves]
    return tensors, frozenset(i for i, tensor in enumerate(tensors) if _edge(tensor) in reached)


def _walk(edges: list[tuple], stops: set[tuple]) -> tuple[list[Tensor], set[tuple]]:
    """The leaves behind ``edges`` in the graph, as far as ``stops``, and the edges seen, stops included."""
    stack, leaves, seen = list(edges), [], set()
    while stack:
        edge = stack.pop()
        if edge in seen or edge[0] is None:
            continue
        seen.add(edge)
        if edge in stops:
            continue
        if hasattr(edge[0], "variable"):
            leaves.append(edge[0].variable)
        stack.extend(edge[0].next_functions)
    return leaves, seen


def _edge(tensor: Tensor) -> tuple:
    """Where ``tensor`` stands in the graph: what next_functions would say of it."""
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, t, solver, nfe, parts, reached, *tensors):
        ctx.f, ctx.solver, ctx.nfe, ctx.parts, ctx.reached = f, solver, nfe, parts, reached
        with torch.no_grad():
            path = integrate(f, tensors[:parts], t, solver, nfe)
        ctx.save_for_backward(t, *path, *tensors[parts:])
        return path

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        t, *saved = ctx.saved_tensors
        path, parameters = saved[: ctx.parts], tuple(saved[ctx.parts :])
        ctx.nfe.backward = 0
        adjoint = [gradient[-1] for gradient in gradients]
        quadratures = [torch.zeros_like(p) for p in parameters]
        reached: set[int] = set()
        for i in range(len(t) - 1, 0, -1):
            scale = _scale(adjoint)
            z = tuple(part[i] for part in path)
            start = (*z, *(a / s for a, s in zip(adjoint, scale, strict=True)), *quadratures)
            # The forward pass's states at the output times are the truth: each segment restarts from them.
            end = integrate(
                _augmented(ctx.f, parameters, scale, reached),
                start,
                t[i - 1 : i + 1].flip(0),
                ctx.solver,
                ctx.nfe,
                backward=True,
                watched=2 * ctx.parts,
            )
            end = [part[-1] for part in end]
            adjoint = [
                a * s + gradient[i - 1]
                for a, s, gradient in zip(end[ctx.parts : 2 * ctx.parts], scale, gradients, strict=True)
            ]
            quadratures = end[2 * ctx.parts :]
        if not ctx.reached <= reached:
            raise RuntimeError(
                "f no longer reaches a tensor that it reached in the forward pass: parameters that were swapped "
                "meanwhile, as by torch.func.functional_call, need gradients='direct'"
            )
        return None, None, None, None, None, None, *adjoint, *quadratures


def _scale(adjoint: Sequence[Tensor]) -> list[Tensor]:
    """Every sample's size of a, shaped to divide each part; 1 where a is zero."""
    sizes = torch.stack([a.reshape(len(a), -1).square().mean(1).sqrt() for a in adjoint]).amax(0)
    sizes = torch.where(sizes > 0, sizes, 1.0)
    return [sizes.reshape(-1, *[1] * (a.dim() - 1)) for a in adjoint]


def _augmented(
    f: RightHandSide, parameters: tuple[Tensor, ...], scale: Sequence[Tensor], reached: set[int]
) -> RightHandSide:
    """(z, a/s, q)' = (f, -a ∂f/∂z / s, -a ∂f/∂p), where s is each sample's scale.

    The parameters that an evaluation reached are noted in ``reached``.
    """
    n = len(scale)

    def right_hand_side(t, parts):
        with torch.enable_grad():
            z = tuple(part.detach().requires_grad_() for part in parts[:n])
            velocity = f(t, z)
            pairs = [(v, -a * s) for v, a, s in zip(velocity, parts[n:], scale, strict=False) if v.requires_grad]
            # The graph of what was declared with a history is shared by all evaluations: keep it.
            products = [None] * (n + len(parameters))
            if pairs:
                velocities, weights = zip(*pairs, strict=True)
                products = torch.autograd.grad(
                    velocities, (*z, *parameters), weights, allow_unused=True, retain_graph=True
                )
        reached.update(i for i, product in enumerate(products[n:]) if product is not None)
        products = [
            torch.zeros_like(x) if product is None else product
            for x, product in zip((*z, *parameters), products, strict=True)
        ]
        adjoint = [product / s for product, s in zip(products[:n], scale, strict=True)]
        return (*(v.detach() for v in velocity), *adjoint, *products[n:])

    return right_hand_side
