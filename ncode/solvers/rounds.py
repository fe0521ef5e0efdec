"""Attempted steps of samples that are solved independently: in a round every sample that is on its way tries one.

Each has its own time, length, acceptance and controller, all in vectors of float64. A sample that has arrived, or has
failed, goes on as a stand-in: it takes steps of no length at its start, where the right-hand side is known to be
defined. Where the right-hand side can be had for some samples alone, those left over move together as soon as half of
them stand by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ncode.solvers.errors import SolveError
from ncode.solvers.loop import Adaptive
from ncode.solvers.norms import per_sample, ratios
from ncode.solvers.options import NFE
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Taken, Tolerances, advance, clock, real

Only = Callable[[Tensor], RightHandSide]
"""The right-hand side for some samples alone, given their indices in the batch."""


class Round(NamedTuple):
    """One attempt of every sample.

    Attributes:
        step: what took it.
        rows: indices of the samples in the batch.
        accepted: which of them took their step.
        fresh: whose first slope is no earlier step's last.
        taken: the steps; times and lengths are vectors of float64, one number a row.
    """

    step: RungeKutta
    rows: Tensor
    accepted: Bool[Tensor, " rows"]
    fresh: Bool[Tensor, " rows"]
    taken: Taken


@dataclass
class _Samples:
    """Where the samples are, a row for each.

    Attributes:
        rows: indices in the batch.
        t0, x0: where each began: its stand-in's place.
        t, x, k1: how far it got.
        length: of the step to try, before it is cut; positive.
        memory: the controller's.
        spent: evaluations that it would have taken alone.
        stops: where steps must end, times ``sign``, in order; the last is where the sample arrives.
        afters: where the next step begins if a jump lies between, NaN otherwise.
        active, fresh, short, wild: whether it is on its way; has a slope that was evaluated anew; was rejected at the
            shortest step; made an error in its last step that is not finite.
    """

    rows: Tensor
    sign: Tensor
    t0: Tensor
    x0: State
    t: Tensor
    x: State
    k1: State
    length: Tensor
    memory: Tensor
    spent: Tensor
    stops: Tensor
    afters: Tensor
    active: Tensor
    fresh: Tensor
    short: Tensor
    wild: Tensor

    def keep(self, which: Tensor) -> None:
        """Only these rows from now on."""
        for one in fields(self):
            value = getattr(self, one.name)
            parts = tuple(part[which] for part in value) if isinstance(value, tuple) else value[which]
            setattr(self, one.name, parts)

    def retire(self, which: Bool[Tensor, " rows"]) -> None:
        """These stand by from now on."""
        self.active = self.active & ~which
        self.t = torch.where(which, self.t0, self.t)
        self.x, self.k1 = choose(which, self.x0, self.x), choose(which, none(self.k1), self.k1)


class Rounds:
    """The rounds of a solve, to be iterated once.

    Args:
        step_of: makes a step of a right-hand side.
        f: the right-hand side of all samples.
        times: (time, batch), in float64: the first, where ``state`` holds, those at which steps must end, the last.
        how: how steps are chosen; its norm is not asked, since every sample has its own error.
        limit: evaluations that one sample may take.
        only: f for some samples alone, where it can be had.
        fail: is told of every sample that fails, and raises where that ends the solve.
        velocity: f at the start, where it is known already.

    Attributes:
        spent: (batch) evaluations that every sample would have taken alone.
    """

    def __init__(
        self,
        step_of: Callable[[RightHandSide], RungeKutta],
        f: RightHandSide,
        state: State,
        times: Float[Tensor, "time batch"],
        how: Adaptive,
        limit: int,
        nfe: NFE,
        fail: Callable[[SolveError], None],
        only: Only | None = None,
        velocity: State | None = None,
    ):
        self.step_of, self.step, self.how, self.limit, self.nfe = step_of, step_of(f), how, limit, nfe
        self.fail, self.only = fail, only
        self.adapt = how.controller(self.step.order)
        self.spent = torch.zeros(times.shape[1], dtype=torch.int64, device=times.device)
        self.samples = self._begin(state, times, velocity)

    def __iter__(self) -> Iterator[Round]:
        s, how, step = self.samples, self.how, self.step
        while True:
            at, stop, length, h, end = self._aim()
            over = s.spent + step.evaluations > self.limit
            stuck = s.short | (s.t + h == s.t)
            failing, left = read(torch.stack([(s.active & (over | stuck)).sum(), s.active.sum()]))
            if failing:
                self._fail(s.active & (over | stuck), stuck)
                continue
            if not left:
                self.spent[s.rows] = s.spent
                return
            if self.only is not None and 2 * left <= len(s.rows):
                self.spent[s.rows] = s.spent
                s.keep(s.active.nonzero().squeeze(1))
                step = self.step = self.step_of(self.only(s.rows))
                continue
            h = torch.where(s.active, h, 0.0)
            y, k_last, errors, stages = step(s.t, s.x, s.k1, h, how.tol)
            self.nfe.forward += step.evaluations
            s.spent = s.spent + s.active * step.evaluations
            error = _largest(cast(Tensor, errors))
            accepted = s.active & (error <= 1)
            taken = Taken(s.t, h, end, s.x, s.k1, y, k_last, stages)
            self._adapt(error, accepted, h.abs(), length)
            s.x, s.t = choose(accepted, y, s.x), torch.where(accepted, end, s.t)
            fresh, s.fresh = s.fresh, s.fresh & ~accepted
            if k_last is not None:
                s.k1 = choose(accepted, k_last, s.k1)
            arriving = accepted & (end == stop)
            done = arriving & (s.sign * end == s.stops[:, -1])
            yield Round(step, s.rows, accepted, fresh, taken)
            self._go_on(accepted & ~done, arriving, at)
            s.retire(done)

    def _begin(self, state: State, times: Tensor, velocity: State | None) -> _Samples:
        how, start = self.how, times[0]
        batch, sign = len(start), torch.where(times[-1] < times[0], -1.0, 1.0).to(times.dtype)
        stops, afters = _stops(times, how.jumps, sign, real(state[0].dtype))
        if how.jumps:
            # A jump may lie just after the start.
            jump = torch.where(stops == (sign * start)[:, None], afters, torch.nan).nan_to_num(nan=math.inf).amin(1)
            start = torch.where(jump.isfinite(), jump, start)
        spent = torch.zeros_like(self.spent)
        active = times[0] != times[-1]
        fresh, k1 = start != times[0], velocity
        if k1 is None or (how.jumps and read(fresh.any())):
            k1 = self.step.start(start, state)
            self.nfe.forward += 1
        if how.first is None:
            length = guess(self.step, start, state, k1, sign, how.tol)
            self.nfe.forward += 1
        else:
            length = torch.full_like(start, how.first)
        spent += active * (2 if how.first is None else 1)
        no = torch.zeros_like(active)
        rows, memory = torch.arange(batch, device=start.device), torch.ones_like(start)
        return _Samples(
            rows, sign, start, state, start, state, k1, length, memory, spent, stops, afters, active, fresh, no, no
        )

    def _aim(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """For every sample the number of its next stop, its time, the step's length before and after it is cut to end
        there, and where it ends."""
        s = self.samples
        signed = (s.sign * s.t).unsqueeze(1)
        at = torch.searchsorted(s.stops, signed, right=True).clamp_(max=s.stops.shape[1] - 1)
        stop = s.sign * s.stops.gather(1, at).squeeze(1)
        length = s.length.clamp(self.how.least, self.how.most)
        left = stop - s.t
        # As in the loop of shared steps: no sliver is left before a stop.
        lands = length * (1 + 1e-9) >= left.abs()
        h = torch.where(lands, left, s.sign * length)
        return at, stop, length, h, torch.where(lands, stop, s.t + h)

    def _adapt(self, error: Tensor, accepted: Tensor, size: Tensor, length: Tensor) -> None:
        s = self.samples
        factor, memory = self.adapt.each(error, s.memory)
        proposed = size * factor
        # A step cut to end somewhere says little of how long the next may be.
        kept = torch.where(size < length, torch.maximum(proposed, length), proposed)
        s.length = torch.where(accepted, kept, torch.where(s.active, proposed, s.length))
        s.memory = torch.where(accepted, memory, s.memory)
        s.short, s.wild = s.active & ~accepted & (size <= self.how.least), error.isinf()

    def _go_on(self, moving: Tensor, arriving: Tensor, at: Tensor) -> None:
        """The next step's first slope, where the last one's end does not give it."""
        s, anew = self.samples, torch.zeros_like(moving)
        if self.how.jumps:
            after = s.afters.gather(1, at).squeeze(1)
            anew = arriving & moving & ~after.isnan()
            s.t = torch.where(anew, after, s.t)
        if not self.step.fsal:
            anew = moving
        if (self.step.fsal and not self.how.jumps) or not read(anew.any()):
            return
        s.k1 = choose(anew, self.step.start(s.t, s.x), s.k1)
        self.nfe.forward += 1
        s.spent, s.fresh = s.spent + anew, s.fresh | anew

    def _fail(self, failing: Tensor, stuck: Tensor) -> None:
        s = self.samples
        sizes = per_sample([part.detach() for part in s.x])
        for i in read(failing.nonzero().squeeze(1)):
            reason = (
                ("non-finite values" if s.wild[i] else "step size underflow") if stuck[i] else "too many evaluations"
            )
            self.fail(SolveError(reason, int(s.rows[i]), float(s.t[i]), int(s.spent[i]), float(sizes[i])))
        s.retire(failing)


def guess(step: RungeKutta, t: Tensor, x: State, k1: State, sign: Tensor, tol: Tolerances) -> Float[Tensor, " batch"]:
    """The length of every sample's first step to try: :meth:`ncode.solvers.step.RungeKutta.guess` of each."""
    sizes = [part.abs() for part in x]
    d0, d1 = (_largest(ratios(parts, sizes, *tol)) for parts in (x, k1))
    usual = (d0 >= 1e-5) & (d0 < math.inf) & (d1 >= 1e-5) & (d1 < math.inf)
    h0 = torch.where(usual, 0.01 * d0 / torch.where(usual, d1, 1.0), 1e-6)
    k2 = step.f(clock(t + sign * h0, x), advance(x, sign * h0, (1.0,), [k1]))
    d2 = _largest(ratios([b - a for a, b in zip(k1, k2, strict=True)], sizes, *tol)) / h0
    most = torch.maximum(d1, d2)
    h1 = torch.where(most <= 1e-15, (h0 * 1e-3).clamp(min=1e-6), (0.01 / most) ** (1 / step.order))
    found = torch.minimum(100 * h0, h1)
    return torch.where(found > 0, found, 1e-6)


def choose(which: Bool[Tensor, " rows"], a: State, b: State) -> State:
    """Every part's rows from ``a`` where ``which``, otherwise from ``b``."""
    return tuple(
        torch.where(which.reshape(-1, *[1] * (one.dim() - 1)), one, other) for one, other in zip(a, b, strict=True)
    )


def none(parts: State) -> State:
    """Zeros of the parts' kind, to be broadcast."""
    return tuple(part.new_zeros(()).expand_as(part) for part in parts)


def read(value: Tensor) -> Any:
    """Numbers, read off the device.

    Raises:
        ValueError: under :func:`torch.func.vmap`, where they are many at once.
    """
    try:
        return value.tolist()
    except RuntimeError as error:
        if "storage" not in str(error):
            raise
    # A transform's tensor, which has its numbers only one by one.
    try:
        return [one.item() for one in value.unbind()] if value.dim() else value.item()
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise ValueError(
            "independent: torch.func.vmap hides which sample is where; hand the whole batch to one solve, or use "
            "independent=False"
        ) from None


def _largest(errors: Tensor) -> Float[Tensor, " rows"]:
    """Every sample's error, the largest over the parts, in float64; infinite where it is not finite."""
    worst = (errors.amax(0) if errors.dim() > 1 else errors).double()
    return torch.nan_to_num(worst, nan=math.inf)


def _stops(
    times: Float[Tensor, "time batch"], jumps: Sequence[float], sign: Tensor, precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Where each sample's steps end, times its sign, in order; and where the next begins if a jump lies between.

    The last is where it arrives. Others of a sample that has fewer are the last, again.
    """
    first, last = times[0], times[-1]
    ends, afters = [], []
    between = list(times[1:-1])
    for jump in jumps:
        at = torch.tensor(jump, dtype=precision)
        sides = [float(torch.nextafter(at, at.new_tensor(side * math.inf))) for side in (-1, 1)]
        before = torch.where(sign > 0, *(first.new_tensor(side) for side in sides))
        after = torch.where(sign > 0, *(first.new_tensor(side) for side in reversed(sides)))
        inside = (sign * (jump - first) > 0) & (sign * (last - jump) > 0)
        ends.append(torch.where(inside, before, last))
        afters.append(torch.where(inside, after, torch.nan))
        # A time at the jump itself lies in the step after it.
        between = [torch.where(inside & (time == jump), last, time) for time in between]
    ends, afters = [*ends, *between, last], [*afters, *[torch.full_like(last, torch.nan)] * (len(between) + 1)]
    signed = (sign * torch.stack(ends)).T.contiguous()
    # Of equal ones a jump comes first: stable.
    order = signed.argsort(dim=1, stable=True)
    return signed.gather(1, order), torch.stack(afters).T.gather(1, order)
