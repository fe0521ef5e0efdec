"""Adaptive control for neural ODEs (N-CODE): a library, and the paper's reproducible companion.

The models are :class:`NeuralODE`, :class:`AugmentedNeuralODE`, :class:`DataControlledODE` and :class:`NCODE`; a
:class:`Field` is what they follow, a controller (:class:`OpenLoop`, :class:`ClosedLoop`, :class:`DataControl`) is
what steers it, and a :class:`Solver` says how.
"""

from ncode.controllers import ClosedLoop, DataControl, OpenLoop
from ncode.costs import path_cost
from ncode.fields.base import Field
from ncode.fields.mlp import MLP, TimedMLP
from ncode.models import NCODE, AugmentedNeuralODE, DataControlledODE, Flow, NeuralODE, Trajectory
from ncode.solvers.dispatch import solve
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "NCODE",
    "NFE",
    "AugmentedNeuralODE",
    "ClosedLoop",
    "DataControl",
    "DataControlledODE",
    "Field",
    "Flow",
    "NeuralODE",
    "OpenLoop",
    "SolveError",
    "Solver",
    "TimedMLP",
    "Trajectory",
    "path_cost",
    "solve",
]
