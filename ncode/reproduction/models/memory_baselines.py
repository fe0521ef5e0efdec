"""The baselines of the memory task (Fig. 6): static weights, and a state that is carried through the episode."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.fields.base import Field
from ncode.fields.mlp import MLP
from ncode.reproduction.models.memory import Stimuli, Task
from ncode.solvers.dispatch import solve
from ncode.solvers.options import Solver


class LSTMMemory(nn.Module):
    """An LSTM that takes one step a presentation, and a linear readout of its last state.

    Args:
        task: sizes and durations.
        hidden: units; the paper has 5000 for 1000 bits.
    """

    def __init__(self, task: Task, hidden: int):
        super().__init__()
        self.cell = nn.LSTM(task.bits, hidden)
        self.readout = nn.Linear(hidden, task.bits)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        states, _ = self.cell(stimuli)
        return self.readout(states[-1])


class ODERNNMemory(nn.Module):
    """An ODE-RNN (Rubanova et al. 2019): a recurrent cell takes the stimulus in, h' = f(h) until the next.

    Args:
        task: sizes and durations.
        hidden: dimension of h, and width of f's one hidden layer.
        solver: over one presentation.
    """

    def __init__(self, task: Task, hidden: int, solver: Solver | None = None):
        super().__init__()
        self.cell = nn.GRUCell(task.bits, hidden)
        self.duration = task.duration
        self.field = MLP(hidden, (hidden,))
        self.readout = nn.Linear(hidden, task.bits)
        self.solver = solver or Solver("rk4", steps=1)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        h = stimuli.new_zeros(stimuli.shape[1], self.cell.hidden_size)
        for stimulus in stimuli:
            h = _flow(self.field, self.cell(stimulus, h), {}, self.duration, self.solver)
        return self.readout(h)


class DataControlledMemory(nn.Module):
    """A NODE with data control (Massaroli et al. 2020): x' = f([x : stimulus]), x carried, read out at the end.

    Were x set to the stimulus as in :class:`ncode.reproduction.models.memory.HebbianNCODE`, nothing of the episode
    would be left in it.

    Args:
        task: sizes and durations.
        hidden: width of f's one hidden layer.
        solver: over one presentation.
    """

    def __init__(self, task: Task, hidden: int, solver: Solver | None = None):
        super().__init__()
        self.duration = task.duration
        self.field = MLP(task.bits, (hidden,), inputs=task.bits)
        self.solver = solver or Solver("rk4", steps=1)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        x = torch.zeros_like(stimuli[0])
        for stimulus in stimuli:
            x = _flow(self.field, x, {"u": stimulus}, self.duration, self.solver)
        return x


BASELINES = {"lstm": LSTMMemory, "ode_rnn": ODERNNMemory, "data": DataControlledMemory}


def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def hidden_for(kind: str, task: Task, budget: int) -> int:
    """The largest size of a baseline (see :data:`BASELINES`) that has no more than ``budget`` parameters."""
    low, high = 1, 1
    while _size(kind, task, 2 * high) <= budget:
        high *= 2
    low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _size(kind, task, middle) <= budget else (low, middle)
    return low


def _size(kind: str, task: Task, hidden: int) -> int:
    with torch.device("meta"):
        return parameters(BASELINES[kind](task, hidden))


def _flow(field: Field, x: Tensor, theta: dict[str, Tensor], duration: float, solver: Solver) -> Tensor:
    t = x.new_tensor([0.0, duration])
    (path,), _ = solve(lambda t, z: (field(t, z[0], theta),), (x,), t, solver)
    return path[-1]
