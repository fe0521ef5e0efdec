"""Adaptive control for neural ODEs (N-CODE): a library, and the paper's reproducible companion.

The models are :class:`NeuralODE`, :class:`AugmentedNeuralODE`, :class:`DataControlledODE` and :class:`NCODE`; a
:class:`Field` is what they follow, a controller (:class:`OpenLoop`, :class:`ClosedLoop`, :class:`DataControl`) is
what steers it, and a :class:`Solver` says how.
"""

from ncode.controllers import ClosedLoop, Controller, DataControl, OpenLoop
from ncode.costs import path_cost
from ncode.fields.base import Field
from ncode.fields.mlp import MLP, TimedMLP
from ncode.fields.wrap import Wrapped
from ncode.models import NCODE, AugmentedNeuralODE, DataControlledODE, Flow, Graphed, NeuralODE, Trajectory
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
    "Controller",
    "DataControl",
    "DataControlledODE",
    "Field",
    "Flow",
    "Graphed",
    "NeuralODE",
    "OpenLoop",
    "SolveError",
    "Solver",
    "TimedMLP",
    "Trajectory",
    "Wrapped",
    "path_cost",
    "solve",
]
