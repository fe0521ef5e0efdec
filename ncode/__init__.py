"""Adaptive control for neural ODEs (N-CODE): a library, and the paper's reproducible companion.

The models are :class:`NeuralODE`, :class:`AugmentedNeuralODE`, :class:`DataControlledODE` and :class:`NCODE`; a
:class:`Field` is what they follow, a controller (:class:`OpenLoop`, :class:`ClosedLoop`, :class:`DataControl`) is
what steers it, and a :class:`Solver` says how.
"""

from ncode.control import ClosedLoop, DataControl, OpenLoop
from ncode.cost import path_cost
from ncode.fields import MLP, Field, TimedMLP
from ncode.flows import NCODE, AugmentedNeuralODE, DataControlledODE, Flow, NeuralODE, Trajectory
from ncode.integrate import NFE, SolveError, Solver
from ncode.solve import solve

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
