"""A model whose adaptive solve replays CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, optional
from ncode.models.flow import Flow, Problem
from ncode.solvers.captured import alike
from ncode.solvers.dispatch import checked, must_not_be_recorded
from ncode.solvers.graphed import Reading, Recording, addresses, integrate
from ncode.solvers.options import EXPLICIT, Solver
from ncode.solvers.problem import State
from ncode.solvers.step import clock
from ncode.tracing import readable


class Graphed(nn.Module):
    """x(T) of a model, by an adaptive solve whose attempted step is one CUDA graph, and that step's gradient another.

    The solve is the model's own: the same loop, error control, limits and failures, and the gradient of the steps that
    were taken. It reads one number from the GPU a step, the error, and four before the first: whether it begins at
    finite numbers, and how long that step should be. γ is evaluated as always. Backward, every step is taken again,
    which ``nfe.backward`` counts; two states a step are kept.

    A graph repeats the operations that were recorded, on the memory that they were recorded for:

    - x(0) and u have the shape, dtype and device of the examples. Only their values may change.
    - Optimisers and ``load_state_dict`` change parameters in place, and a replay sees it. Where a parameter or buffer
      has moved, a module was switched between training and evaluation, or the model has another solver, the next call
      records anew.
    - Python runs while the field is recorded and never again: what it reads of numbers and of tensors that are neither
      parameters nor buffers stays as it was, as do hooks of the field, and PyTorch's settings such as TF32. Call
      :meth:`record` after a change of such.
    - One thread calls it at a time.

    On a CPU, which has no graphs, the same functions run as they are: the same numbers, and nothing gained.

    Args:
        model: with an explicit adaptive method of the library's own, direct gradients and shared steps. It is not
            changed, and shares its parameters and its ``nfe``; call it itself for other batches, paths and derivatives
            of gradients. The field goes through autograd, whatever ``kernels`` says.
        x0: an example of x(0), (batch, …).
        u: an example of the input, where calls give one.

    Raises:
        TypeError: when ``model`` is no flow, or ``x0`` or ``u`` no tensor.
        ValueError: when ``x0`` or ``u`` does not fit the model; when the solver's steps are fixed, implicit,
            torchdiffeq's, compiled or every sample's own, or gradients are not direct; when the field draws random
            numbers, as dropout does in training, changes its buffers, as batch normalisation does, or reaches a tensor
            that needs a gradient and is no parameter; when the model's problem does not say how it reads other tensors
            (``Problem.reading``); under ``torch.autocast``.

    Example:
        >>> fast = Graphed(model, inputs[:64])  # instead of model(x), with 64 samples
        >>> loss = (fast(x) - y).square().mean()
    """

    @arguments(model=instance(Flow), x0=instance(Tensor), u=optional(instance(Tensor)))
    def __init__(self, model: Flow, x0: Float[Tensor, "batch *state"], u: Tensor | None = None):
        super().__init__()
        self.model = model
        self.shapes = {"x0": _kind(x0), "u": _kind(u)}
        self._recording: tuple[tuple, Recording] | None = None
        self.record(x0, u)

    @property
    def nfe(self):
        """Evaluations of the last call, forward and backward: the model's."""
        return self.model.nfe

    def record(self, x0: Float[Tensor, "batch *state"], u: Tensor | None = None) -> None:
        """Record anew, with examples of the same shapes.

        Raises:
            ValueError: as the class does.
        """
        self._must_fit(x0, u)
        _must_be_explicit(self.model.solver)
        if torch.is_autocast_enabled(x0.device.type):
            raise ValueError("Graphed: not under torch.autocast, whose casts of parameters a graph would not repeat")
        if x0.device.type not in ("cuda", "cpu"):
            raise ValueError(f"x0: is on {x0.device}; graphs are CUDA's, and a CPU runs what they would hold as it is")
        self._recording = None  # whose memory is free for the next
        with torch.inference_mode(False), torch.no_grad():
            # Nothing of the caller's graph is kept, and nothing of inference mode.
            x0, u = x0.detach().clone(), None if u is None else u.detach().clone()
            reading, _ = self._pose(x0.roll(1, 0), u if u is None else u.roll(1, 0))
            _, problem = self._pose(x0, u)
            self.model._begin(problem, [0.0])
            given, memory = self._given(problem), self._memory(problem)
            _must_repeat(self.model, problem, reading(given))
        recording = Recording(reading, self.model, self.model.solver, problem.state, given, memory)
        self._recording = self._now(memory), recording

    def forward(self, x0: Float[Tensor, "batch *state"], u: Tensor | None = None) -> Float[Tensor, "batch ..."]:
        """x(T), as :meth:`ncode.models.flow.Flow.forward` gives it, up to rounding.

        Raises:
            SolveError: when the solve fails.
            ValueError: when ``x0`` or ``u`` has another shape, dtype or device than the example; otherwise as the
                model and, where it has to record anew, as the class.
            RuntimeError: under a transform of ``torch.func``; backward, when the field's parameters or buffers changed
                or moved since the call, or when a second derivative is asked for (``create_graph=True``).
        """
        if not readable():
            must_not_be_recorded()
            return _uncompiled()(self, x0, u)
        self._must_fit(x0, u)
        model = self.model
        _, problem = self._pose(x0, u)
        now = self._now(self._memory(problem))
        if self._recording is None or self._recording[0] != now or torch.is_autocast_enabled(x0.device.type):
            self.record(x0, u)
        _, recording = cast(tuple, self._recording)
        model._begin(problem, [0.0])
        end = integrate(recording, model.solver, problem.state, self._given(problem), [0.0, model.horizon], model.nfe)
        return model._shown(end[0].unsqueeze(0))[0]

    def __getstate__(self) -> dict:
        # A graph is of this process and of these parameters: a copy records anew.
        return {**super().__getstate__(), "_recording": None}

    def _now(self, memory: Sequence[Tensor]) -> tuple:
        """What a recording depends on besides values in memory."""
        model = self.model
        return (
            model.solver,
            addresses(memory),
            tuple(part.requires_grad for part in memory),
            tuple(module.training for module in model.modules()),
        )

    def _must_fit(self, x0: Tensor, u: Tensor | None) -> None:
        for name, value in (("x0", x0), ("u", u)):
            found, wanted = _kind(value), self.shapes[name]
            if found != wanted:
                raise ValueError(
                    f"{name}: is {_said(found)} and not {_said(wanted)}, as the example: call the model itself"
                )

    def _pose(self, x0: Tensor, u: Tensor | None) -> tuple[Reading, Problem]:
        """The model's problem, and its right-hand side as it reads what is given by a call."""
        model = self.model
        with _without_kernels(model):
            problem = model.pose(x0, u)
        if (read := problem.reading) is None:
            raise ValueError(
                f"model: {type(model).__name__}'s problem does not say how f reads other tensors (reading)"
            )
        own = {id(p) for p in model.parameters()}
        slots = [part if id(part) in own else None for part in problem.captured]

        def reading(given: Sequence[Tensor]):
            rest = iter(given)
            return read([next(rest) if part is None else part for part in slots])

        return reading, problem

    def _given(self, problem: Problem) -> list[Tensor]:
        """What the right-hand side captures in a call, apart from the model's parameters."""
        own = {id(p) for p in self.model.parameters()}
        return [part for part in problem.captured if id(part) not in own]

    def _memory(self, problem: Problem) -> list[Tensor]:
        """What it reads that stays where it is."""
        own, field = {id(p) for p in self.model.parameters()}, self.model.field
        return [*field.parameters(), *field.buffers(), *(part for part in problem.captured if id(part) in own)]


# A compiler would make a graph of its own between any two numbers that are read.
@cache
def _uncompiled() -> Callable:
    return torch.compiler.disable(Graphed.forward)


@contextmanager
def _without_kernels(model: Flow) -> Iterator[None]:
    """Inside, the model binds no kernel: nothing would run it."""
    solver = model.solver
    model.solver = replace(solver, kernels=False)
    try:
        yield
    finally:
        model.solver = solver


def _must_be_explicit(solver: Solver) -> None:
    refused = {
        "method": (solver.method not in EXPLICIT, f"graphs hold attempts of {', '.join(EXPLICIT)}"),
        "backend": (solver.backend != "ncode", "decides for itself"),
        "independent": (solver.independent, "evaluates fewer and fewer samples; a graph's shapes are fixed"),
        "compiled": (solver.compiled, "makes another step; a step is compiled or replayed"),
        "gradients": (solver.gradients != "direct", "solves differently; steps are taken again for 'direct' ones"),
    }
    if not solver.adaptive:
        refused["method"] = True, "takes fixed steps: capture the whole training step with torch.cuda.graph"
    for name, (wrong, why) in refused.items():
        if wrong:
            raise ValueError(f"solver: {name}={getattr(solver, name)!r} {why}")


def _must_repeat(model: Flow, problem: Problem, f: Callable[[Tensor, State], State]) -> None:
    """Raise where a right-hand side is no function of what a replay finds in memory.

    Args:
        f: as it was posed for another x(0), and reads what ``problem`` captures.
    """
    z = problem.state
    t, buffers = clock(0.0, z), dict(model.field.named_buffers())
    versions, random = [part._version for part in buffers.values()], _random_state(z[0].device)
    velocity = checked(problem.f, z, problem.names)(t, z)
    for (name, part), version in zip(buffers.items(), versions, strict=True):
        if part._version != version:
            raise ValueError(
                f"field: changes its buffer {name} at every evaluation, as batch normalisation does in training, and "
                "the gradient evaluates it again: model.field.eval()"
            )
    if any(not torch.equal(a, b) for a, b in zip(_random_state(z[0].device), random, strict=True)):
        raise ValueError(
            "field: draws random numbers, as dropout does in training, and the gradient would draw others: "
            "model.field.eval(), or draw in γ"
        )
    if not alike(f(t, z), velocity):
        raise ValueError(
            "model: its right-hand side reads something of x0 or u that its problem does not name in captured, and "
            "that a replay would not see"
        )


def _random_state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _kind(part: Tensor | None) -> tuple | None:
    return None if not isinstance(part, Tensor) else (tuple(part.shape), part.dtype, part.device)


def _said(kind: tuple | None) -> str:
    return "no tensor" if kind is None else f"{kind[0]}, {kind[1]} on {kind[2]}"
