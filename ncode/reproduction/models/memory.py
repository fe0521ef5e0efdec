"""Pattern memorisation (Section 4.3, Figs. 6 and A.3; the task of Miconi et al. 2018): episodes and N-CODE.

An episode shows m random patterns of n bits, each twice and in random order, and then one of them again with a part
of its bits set to zero: what were they? A learner maps the stimuli of a batch of episodes, (presentations, batch, n),
to what it holds at the end, (batch, n). Nothing is trained within an episode: whatever remembers is the state.

The learners are :class:`HebbianNCODE` (Eq. 7), the ones of :mod:`ncode.reproduction.models.memory_baselines`, and two
that learn nothing: :func:`hebbian_rule` and :class:`NearestNeighbour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, flag, instance, integer, integers, optional, real, tensor
from ncode.solvers import hebbian
from ncode.solvers.dispatch import solve
from ncode.solvers.options import FIXED, Solver

Stimuli = Float[Tensor, "presentations batch n"]


@dataclass(frozen=True)
class Task:
    """What an episode is made of.

    Args:
        bits: n, the length of a pattern.
        patterns: m, how many an episode has.
        degraded: p, the share of the query's bits that are set to zero.
        shows: how often each pattern is shown.
        duration: of a presentation, and of the query.

    Raises:
        ValueError: naming the argument that makes no sense.
    """

    bits: int
    patterns: int
    degraded: float = 0.5
    shows: int = 2
    duration: float = 0.5

    def __post_init__(self):
        for name in ("bits", "patterns", "shows"):
            integer(1)(name, getattr(self, name))
        real(least=0, most=1)("degraded", self.degraded)
        real(above=0)("duration", self.duration)


def _seed(name: str, value: Any) -> None:
    """Rule for :func:`ncode.arguments.arguments`: an integer, or several, as NumPy takes them."""
    (integers(0) if isinstance(value, tuple) else integer(0))(name, value)


class Episodes(NamedTuple):
    """A batch of episodes: ``stimuli``, the query last, and ``target``, the pattern that the query is made of."""

    stimuli: Tensor
    target: Tensor


@arguments(task=instance(Task), batch=integer(1), seed=_seed)
def episodes(task: Task, batch: int, seed: int | tuple[int, ...]) -> Episodes:
    """``batch`` random episodes; bits are -1 and 1, unknown ones of the query 0."""
    generator = np.random.default_rng(seed)
    patterns = generator.choice([-1.0, 1.0], (batch, task.patterns, task.bits))
    shown = np.tile(np.arange(task.patterns), (batch, task.shows))
    shown = generator.permuted(shown, axis=1)
    target = patterns[:, 0]
    # Exchangeable patterns and a random order: which of them is asked for makes no difference.
    unknown = np.tile(np.arange(task.bits) < round(task.degraded * task.bits), (batch, 1))
    query = np.where(generator.permuted(unknown, axis=1), 0.0, target)
    presented = np.take_along_axis(patterns, shown[:, :, None], axis=1).swapaxes(0, 1)
    stimuli = np.concatenate([presented, query[None]])
    return Episodes(torch.tensor(stimuli, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))


class Stream:
    """Endless fresh episodes for :func:`ncode.training.fit`: number k is a function of (seed, k) alone."""

    @arguments(task=instance(Task), batch=integer(1), seed=_seed)
    def __init__(self, task: Task, batch: int, seed: tuple[int, ...], device: torch.device | str = "cpu"):
        self.task, self.batch, self.seed, self.device = task, batch, seed, device

    def __getitem__(self, k: int) -> Episodes:
        return Episodes(*(part.to(self.device) for part in episodes(self.task, self.batch, (*self.seed, k))))


@arguments(output=tensor(None, None, least=1), target=tensor(None, None, least=1))
def bit_error(output: Float[Tensor, "batch n"], target: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
    """Share of bits with the wrong sign; an output of exactly 0 is a coin toss and counts one half."""
    if output.shape != target.shape:
        raise ValueError(f"target: must have the output's shape {tuple(output.shape)}, not {tuple(target.shape)}")
    return (1 - output.sign() * target).mean(1) / 2


@arguments(task=instance(Task), copies=flag)
def chance(task: Task, copies: bool = True) -> float:
    """The bit error of guessing the unknown bits, with the known ones copied, or of guessing all."""
    return task.degraded / 2 if copies else 0.5


class HebbianNCODE(nn.Module):
    """The closed loop of Eq. 7: x' = tanh(θx) - λx, θ' = μ ∘ x xᵀ, with θ carried through the episode.

    x is set to the stimulus at every presentation. The output is x at the end of the query.

    Args:
        task: sizes and durations.
        spread: standard deviation of μ's initial entries, whose mean is 0.
        learn_mu, learn_theta0: which parameters are trained; θ0 starts at 0.
        leak: λ, the rate of decay.
        clamp: hold every bit that the stimulus knows at its value; only unknown bits of the query then move.
        method: ``"euler"``, ``"midpoint"`` or ``"rk4"`` in the exact low-rank form of
            :mod:`ncode.solvers.hebbian`, or any adaptive method of :class:`~ncode.solvers.options.Solver` on the
            tuple (x, θ).
        steps: fixed steps a presentation.
        tolerance: rtol and atol of an adaptive method.
        direct: integrate the tuple (x, θ) for fixed steps as well: the low-rank form's reference, and much slower.
    """

    @arguments(
        task=instance(Task),
        spread=real(least=0),
        learn_mu=flag,
        learn_theta0=flag,
        leak=real(),
        clamp=flag,
        tolerance=real(above=0),
        direct=flag,
    )
    def __init__(
        self,
        task: Task,
        *,
        spread: float = 0.01,
        learn_mu: bool = True,
        learn_theta0: bool = False,
        leak: float = 0.0,
        clamp: bool = False,
        method: str = "rk4",
        steps: int = 1,
        tolerance: float = 1e-3,
        direct: bool = False,
    ):
        super().__init__()
        n = task.bits
        self.task, self.leak, self.clamp = task, leak, clamp
        self.solver = Solver(method, rtol=tolerance, atol=tolerance, steps=steps if method in FIXED else None)
        self.direct = direct or method not in hebbian.TABLEAUS
        self.mu = nn.Parameter(spread * torch.randn(n, n), requires_grad=learn_mu)
        self.theta0 = nn.Parameter(torch.zeros(n, n), requires_grad=learn_theta0)

    @arguments(stimuli=tensor(None, None, None, least=1))
    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        """x at the end of the query.

        Raises:
            SolveError: when an adaptive solve fails, or the path leaves the floating-point range.
            ValueError: when the stimuli have another number of bits than the task, or are not finite.
        """
        if stimuli.shape[2] != self.task.bits:
            raise ValueError(f"stimuli: must have the task's {self.task.bits} bits, not {stimuli.shape[2]}")
        theta = self.theta0.expand(stimuli.shape[1], -1, -1)
        for stimulus in stimuli[:-1]:
            _, theta = self._present(stimulus, theta)
        x, _ = self._present(stimuli[-1], theta, move_theta=False)
        return x

    def trajectory(self, stimuli: Stimuli, points: int = 20) -> tuple[Tensor, Tensor, Tensor]:
        """The whole path, by the direct form: t, x (time, batch, n) and θ (time, batch, n, n).

        ``points`` times a presentation; x jumps to the stimulus between one presentation's last and the next's first.
        """
        duration = self.task.duration
        t = torch.linspace(0, duration, points, dtype=stimuli.dtype, device=stimuli.device)
        theta, times, states, synapses = self.theta0.expand(stimuli.shape[1], -1, -1), [], [], []
        for k, stimulus in enumerate(stimuli):
            x, path = self._integrate(stimulus, theta, t, self.solver)
            theta = path[-1]
            times.append(k * duration + t)
            states.append(x)
            synapses.append(path)
        return torch.cat(times), torch.cat(states), torch.cat(synapses)

    def solver_error(self, stimuli: Stimuli, tolerance: float = 1e-10) -> Float[Tensor, " batch"]:
        """The largest error of any bit of the output, against a tight dopri8 solve in float64."""
        options = {"leak": self.leak, "clamp": self.clamp, "method": "dopri8", "tolerance": tolerance}
        # Its initialisation is thrown away, and must not move the caller's random numbers on.
        with torch.random.fork_rng(devices=[]):
            reference = HebbianNCODE(self.task, **options).to(stimuli.device).double()
        reference.load_state_dict(self.state_dict())
        with torch.no_grad():
            return (self(stimuli).double() - reference(stimuli.double())).abs().amax(1)

    def _present(self, stimulus: Tensor, theta: Tensor, move_theta: bool = True) -> tuple[Tensor, Tensor]:
        if self.direct:
            ends = stimulus.new_tensor([0.0, self.task.duration])
            x, theta = self._integrate(stimulus, theta, ends, self.solver)
            return x[-1], theta[-1]
        return hebbian.flow(
            stimulus,
            theta,
            self.mu,
            self.task.duration,
            method=self.solver.method,
            steps=self.solver.steps,
            leak=self.leak,
            free=self._free(stimulus),
            move_theta=move_theta,
        )

    def _integrate(self, stimulus: Tensor, theta: Tensor, t: Tensor, solver: Solver) -> tuple[Tensor, Tensor]:
        free = self._free(stimulus)

        def velocity(t, state):
            x, theta = state
            dx = torch.tanh(torch.bmm(theta, x.unsqueeze(2)).squeeze(2)) - self.leak * x
            dtheta = self.mu * (x.unsqueeze(2) * x.unsqueeze(1))
            return dx if free is None else dx * free, dtheta

        return solve(velocity, (stimulus, theta), t, solver=solver)

    def _free(self, stimulus: Tensor) -> Tensor | None:
        return (stimulus == 0).to(stimulus) if self.clamp else None


@arguments(strength=real(), diagonal=optional(real()))
def hebbian_rule(task: Task, strength: float, diagonal: float | None = None, **options) -> HebbianNCODE:
    """A control that learns nothing: Eq. 7 with μ = ``strength`` for all synapses, ``diagonal`` for a bit's own.

    Bits are exchangeable in this task, so the expected error does not change when they are permuted: its gradient at
    such a μ is again two numbers, and descent on it never leaves this family.
    """
    learner = HebbianNCODE(task, learn_mu=False, **options)
    with torch.no_grad():
        learner.mu.fill_(strength)
        learner.mu.fill_diagonal_(strength if diagonal is None else diagonal)
    return learner


class NearestNeighbour(nn.Module):
    """The oracle: of all patterns shown, the one that agrees with the query in most known bits."""

    def forward(self, stimuli: Stimuli) -> Float[Tensor, "batch n"]:
        shown, query = stimuli[:-1], stimuli[-1]
        best = (shown * query).sum(2).argmax(0)
        return shown[best, torch.arange(len(best))]
