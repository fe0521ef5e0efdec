"""Where a training step's time goes: by part, for the ways that :mod:`benchmarks.solver` and its suites measure.

A step is forward and backward. Its operations are timed one by one, as PyTorch dispatches them, and belong to the field
where they are the field's own evaluation or its gradient, otherwise to the solver. What a step takes beyond the sum of
its operations is Python's, and autograd's: forward without a graph it is the solver's loop; the rest, what the graph
and the backward pass add, is autograd's record of the operations, its engine and the backward pass's own loop.

Whole steps are timed without any watch on them, and interleaved with those that are watched. All times are the
processor's; an operation's is the median over rounds of what it took at its place in the step.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import measure

PARTS = ("field_forward", "field_backward", "arithmetic", "autograd", "loop")


class Clock(TorchDispatchMode):
    """Times every operation; ``place`` is what runs: a field's part, or the solver."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.phase = "arithmetic", "ahead"
        # What looking at the clock takes.
        looks = [time.thread_time() for _ in range(100)]
        self.look = min(b - a for a, b in itertools.pairwise(looks))
        self.taken: list[tuple[str, str, float]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        start = time.thread_time()
        found = func(*args, **(kwargs or {}))
        if self.place:
            self.taken.append((self.phase, self.place, time.thread_time() - start - self.look))
        return found

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        before, self.place = self.place, place
        try:
            yield
        finally:
            self.place = before


class _Gate(torch.autograd.Function):
    """A tensor as it is; on the way back, the clock's place becomes another."""

    @staticmethod
    def forward(ctx, clock: Clock, place: str, x: Tensor) -> Tensor:
        ctx.clock, ctx.place = clock, place
        with clock.at(""):
            return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        ctx.clock.place = ctx.place
        return None, None, gradient


def _watched(module: nn.Module, clock: Clock) -> Any:
    """While this lasts, ``module``'s evaluations and their gradients are the field's."""
    forward = module.forward

    def seen(*args, **kwargs):
        with clock.at("field_forward"):
            args = [_Gate.apply(clock, "arithmetic", part) if _moves(part) else part for part in args]
            found = forward(*args, **kwargs)
            return _Gate.apply(clock, "field_backward", found) if _moves(found) else found

    return mock.patch.object(module, "forward", seen)


def _moves(part: Any) -> bool:
    return isinstance(part, Tensor) and part.requires_grad


class _Kernel:
    """A kernel whose evaluations and gradients are the field's."""

    def __init__(self, kernel: Any, clock: Clock):
        self._kernel, self._clock = kernel, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kernel, name)
        place = {"f": "field_forward", "vjp": "field_backward", "finish": "field_backward"}.get(name)
        if place is None:
            return found

        def seen(*args):
            with self._clock.at(place):
                return found(*args)

        return seen


def _kernels(clock: Clock) -> Any:
    from ncode.solvers import bound

    plain = bound.integrate
    return mock.patch.object(bound, "integrate", lambda kernel, *rest: plain(_Kernel(kernel, clock), *rest))


def of(ahead: Callable[[], Any], back: Callable[[Any], object], fields: Sequence[nn.Module], rounds: int) -> dict:
    """Seconds of a step, and of its parts.

    Args:
        ahead: the forward pass; what it gives is handed to ``back``, the backward one.
        fields: the modules whose evaluations are the field's; kernels are recognised by themselves.
    """
    whole, forward, watched = [], [], []
    clock = time.process_time
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds + 1):
            start = clock()
            back(ahead())
            whole.append(clock() - start)
            start = clock()
            with torch.no_grad():
                ahead()
            forward.append(clock() - start)
            watched.append(_watch(ahead, back, fields))
    finally:
        gc.enable()
    seconds, low, high = measure.spread(whole[1:])
    sums = dict.fromkeys(PARTS, 0.0)
    phases = {"ahead": 0.0, "back": 0.0}
    for places in zip(*watched[1:], strict=True):
        phase, place, _ = places[0]
        taken = statistics.median(one[2] for one in places)
        sums[place] += taken
        phases[phase] += taken
    without = statistics.median(forward[1:])
    sums["loop"] = without - phases["ahead"]
    sums["autograd"] = seconds - without - phases["back"]
    return {"seconds": seconds, "low": low, "high": high, "operations": len(watched[-1]), **sums}


def _watch(ahead: Callable, back: Callable, fields: Sequence[nn.Module]) -> list[tuple[str, str, float]]:
    with ExitStack() as stack:
        clock = Clock()
        for field in fields:
            stack.enter_context(_watched(field, clock))
        stack.enter_context(_kernels(clock))
        stack.enter_context(clock)
        end = ahead()
        clock.phase = "back"
        back(end)
    return clock.taken
