"""This library's solves of a :class:`benchmarks.problems.Case`, as its users write them."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.peers import TorchProblem, Way
from benchmarks.problems import Case
from ncode import NCODE, ClosedLoop, NeuralODE, Solver
from ncode.fields import base, mlp, per_sample


class Given(nn.Module):
    """A controller that gives the θ that it is handed."""

    def __init__(self, theta: torch.Tensor):
        super().__init__()
        self.theta = [theta]

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        return self.theta[0]


class Custom(base.Field):
    """The same perceptron as a user's own module, which knows no gradient of its own."""

    def __init__(self, dim: int, width: int):
        super().__init__((dim,))
        self.first, self.last = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, t, x, theta):
        hidden = per_sample.linear(x, self.value("first.weight", theta), self.value("first.bias", theta))
        return per_sample.linear(torch.tanh(hidden), self.value("last.weight", theta), self.value("last.bias", theta))


def ncode(
    case: Case,
    tolerance: float,
    dtype: torch.dtype = torch.float32,
    custom: bool = False,
    **options,
) -> Way:
    """One of the library's models; ``custom`` takes the field for a user's own module; ``options`` of the solver."""
    problem = TorchProblem(case, dtype)
    dim, m = problem.x.shape[1], problem.theta.shape[-1]
    width = (m - dim) // (2 * dim + 1)
    field = (Custom(dim, width) if custom else mlp.MLP(dim, (width,))).to(dtype)
    solver = Solver(rtol=tolerance, atol=tolerance, **options)
    if case.kind == "neural ODE":
        model = NeuralODE(field, horizon=case.horizon, solver=solver)
        _set(field, problem.theta)
        problem.theta.grad = None
        leaves = [problem.x, *field.parameters()]
    else:
        g = None
        if problem.closed:
            g = ClosedLoop(dim, m, hidden=(len(case.g[1]),)).to(dtype)
            with torch.no_grad():
                for parameter, array in zip(g.parameters(), case.g, strict=True):
                    parameter.copy_(torch.as_tensor(array))
        model = NCODE(field, gamma=Given(problem.theta), g=g, horizon=case.horizon, solver=solver)
        leaves = [problem.x, problem.theta, *(g.parameters() if g else ())]

    def ahead():
        return model(problem.x)

    def back(end):
        torch.autograd.grad(end, leaves, problem.upstream)

    def solve():
        end = ahead()
        back(end)
        return end.detach().numpy()

    solve.model, solve.ahead, solve.back = model, ahead, back
    return solve


def _set(field: nn.Module, values: torch.Tensor) -> None:
    """The field's parameters, in their order, from one vector."""
    nn.utils.vector_to_parameters(values.detach(), field.parameters())
