"""Penalties on how a flow gets from x(0) to x(T) (Finlay et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.flows import Flow
from ncode.solve import solve


def kinetic_energy(
    flow: Flow, x0: Float[Tensor, "batch *state"]
) -> tuple[Float[Tensor, "batch *end"], Float[Tensor, " batch"]]:
    """x(T) and every sample's ∫ ‖x'‖²/d dt, with d the size of its state: least for straight paths at even speed.

    One solve gives both: the energy is a quadrature beside the state, and the evaluations count as the flow's.

    Raises:
        SolveError: when the solve fails.
    """
    problem = flow.problem(x0)
    energy = x0.new_zeros(len(x0), 1)

    def with_energy(t, z):
        velocity = problem.f(t, z[:-1])
        return (*velocity, velocity[0].flatten(1).square().mean(1, keepdim=True))

    times = torch.tensor([0.0, flow.solver.horizon], dtype=x0.dtype, device=x0.device)
    path, flow.nfe = solve(with_energy, (*problem.state, energy), times, flow.solver, problem.captured)
    return path[0][-1], path[-1][-1, :, 0]
