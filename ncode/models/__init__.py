"""The models: each is a field, what sets its parameters, and a solver.

All map a batch of states x(0) to a batch of states x(T) of the same shape, and give the whole path on request.

======================================  ================================================
:class:`NeuralODE`                      x' = f(x, θ), one θ for all samples
:class:`AugmentedNeuralODE`             the same on [x, 0] in d + p dimensions
:class:`DataControlledODE`              x' = f([x : x(0)], θ)
:class:`NCODE`, open loop               x' = f(x, θ), θ = γ(x(0))
:class:`NCODE`, closed loop             x' = f(x, θ), θ' = g(θ, x, t)
======================================  ================================================
"""

from ncode.models.controlled import NCODE
from ncode.models.flow import Flow, Problem, Trajectory, find_flows
from ncode.models.graphed import Graphed
from ncode.models.neural_ode import AugmentedNeuralODE, DataControlledODE, NeuralODE

__all__ = [
    "NCODE",
    "AugmentedNeuralODE",
    "DataControlledODE",
    "Flow",
    "Graphed",
    "NeuralODE",
    "Problem",
    "Trajectory",
    "find_flows",
]
