"""The baselines of the memory task (Fig. 6): static weights, and a state that is carried through the episode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, integer, one_of, optional
from ncode.fields.base import Field
from ncode.fields.mlp import MLP
from ncode.reproduction.models.memory import Stimuli, Task
from ncode.solvers.dispatch import solve
from ncode.solvers.options import Solver


class LSTMMemory(nn.Module):
    """An LSTM that takes one or several steps a presentation, and a linear readout of its last state.

    Args:
        task: sizes and durations.
        hidden: units; the paper has 5000.
        steps: in each of which the stimulus is shown to it; the paper has 5.
    """

    @arguments(task=instance(Task), hidden=integer(1), steps=integer(1))
    def __init__(self, task: Task, hidden: int, steps: int = 1):
        super().__init__()
        self.steps = steps
        self.cell = nn.LSTM(task.bits, hidden)
        self.readout = nn.Linear(hidden, task.bits)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        states, _ = self.cell(stimuli.repeat_interleave(self.steps, 0))
        return self.readout(states[-1])


class ODERNNMemory(nn.Module):
    """An ODE-RNN (Rubanova et al. 2019): a recurrent cell takes the stimulus in, h' = f(h) until the next.

    Args:
        task: sizes and durations.
        hidden: dimension of h, and width of f's one hidden layer.
        solver: over one presentation.
    """

    @arguments(task=instance(Task), hidden=integer(1), solver=optional(instance(Solver)))
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

    @arguments(task=instance(Task), hidden=integer(1), solver=optional(instance(Solver)))
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


class LinearODERNNMemory(nn.Module):
    """The ODE-RNN as C.3 describes it: one cell h' = tanh(Wh + u) of n units, h carried on, and a read-out L(R^n, R^n).

    C.3 does not say how the stimulus u enters: here it is the cell's input while it is shown. W and the read-out have
    2n² entries, as many as N-CODE's μ and θ(0).

    Args:
        task: sizes and durations.
        hidden: not used: the cell has as many units as a pattern has bits.
        solver: over one presentation.
    """

    @arguments(task=instance(Task), solver=optional(instance(Solver)))
    def __init__(self, task: Task, hidden: int | None = None, solver: Solver | None = None):
        super().__init__()
        self.duration, self.solver = task.duration, solver or Solver("rk4", steps=1)
        self.recurrence, self.readout = nn.Linear(task.bits, task.bits), nn.Linear(task.bits, task.bits)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        h = torch.zeros_like(stimuli[0])
        for stimulus in stimuli:
            h = _solved(lambda h, u=stimulus: torch.tanh(self.recurrence(h) + u), h, self.duration, self.solver)
        return self.readout(h)


class LinearDataControlledMemory(nn.Module):
    """Data control as C.3 describes it: x' = tanh(L[x : stimulus]) with one linear layer L(R^2n, R^n); x is carried on.

    Args:
        task: sizes and durations.
        hidden: not used.
        solver: over one presentation.
    """

    @arguments(task=instance(Task), solver=optional(instance(Solver)))
    def __init__(self, task: Task, hidden: int | None = None, solver: Solver | None = None):
        super().__init__()
        self.duration, self.solver = task.duration, solver or Solver("rk4", steps=1)
        self.layer = nn.Linear(2 * task.bits, task.bits)

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        x = torch.zeros_like(stimuli[0])
        for stimulus in stimuli:
            x = _solved(
                lambda x, u=stimulus: torch.tanh(self.layer(torch.cat([x, u], -1))), x, self.duration, self.solver
            )
        return x


PRINTED = {"ode_rnn": LinearODERNNMemory, "data": LinearDataControlledMemory}
"""The baselines of one layer that C.3 describes."""

BASELINES = {"lstm": LSTMMemory, "ode_rnn": ODERNNMemory, "data": DataControlledMemory}


@arguments(module=instance(nn.Module))
def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@arguments(kind=one_of(BASELINES), task=instance(Task), budget=integer(1, 10**12))
def hidden_for(kind: str, task: Task, budget: int) -> int:
    """The largest size of a baseline (see :data:`BASELINES`) that has no more than ``budget`` parameters.

    Raises:
        ValueError: when the smallest has more.
    """
    if (least := _size(kind, task, 1)) > budget:
        raise ValueError(f"budget: the smallest {kind} has {least} parameters, more than {budget}")
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


def _solved(slope: Callable[[Tensor], Tensor], x: Tensor, duration: float, solver: Solver) -> Tensor:
    return solve(lambda t, x: slope(x), x, x.new_tensor([0.0, duration]), solver=solver)[-1]


def _flow(field: Field, x: Tensor, theta: dict[str, Tensor], duration: float, solver: Solver) -> Tensor:
    t = x.new_tensor([0.0, duration])
    return solve(lambda t, x: field(t, x, theta), x, t, solver=solver)[-1]
