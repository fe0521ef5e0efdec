"""The accepted steps of samples that are solved independently: kept, read off, and taken again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ncode.solvers.adjoint.graph import edges
from ncode.solvers.captured import must_be_alike, must_be_known
from ncode.solvers.options import NFE
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.rounds import Only, Round, choose, none, read
from ncode.solvers.step import RungeKutta, Taken, leaves, pull


class Picker:
    """Picks the states at every sample's own times out of the rounds that are shown to it in turn.

    Args:
        times: (time, batch).
        nfe: counts what an interpolation takes.
        behind: (batch) up to where each sample's times were picked already; its first where that is not given.

    Attributes:
        found: the indices of times and samples, and the states there.
    """

    def __init__(self, times: Float[Tensor, "time batch"], nfe: NFE, behind: Float[Tensor, " batch"] | None = None):
        self.nfe, self.times, self.sign = nfe, times, torch.where(times[-1] < times[0], -1.0, 1.0).to(times.dtype)
        self.left = self.sign * (times - (times[0] if behind is None else behind)) > 0
        self.found: list[tuple[Tensor, Tensor, State]] = []

    def look(self, one: Round) -> None:
        """Pick up what lies within the accepted steps, their ends included."""
        taken, rows = one.taken, one.rows
        hits = self.left[:, rows] & one.accepted & (self.sign[rows] * (self.times[:, rows] - taken.end) <= 0)
        index, row = hits.nonzero(as_tuple=True)
        if not len(index):
            return
        samples = rows[row]
        self.left[index, samples] = False
        time = self.times[index, samples]
        at_end, states = time == taken.end[row], _rows(taken.y, row)
        if not read(at_end.all()):
            if taken.k_last is None:
                taken.k_last = one.step.start(taken.end, taken.y)
                self.nfe.forward += 1
            inside = replace(
                taken,
                x=_rows(taken.x, row),
                k1=_rows(taken.k1, row),
                y=states,
                k_last=_rows(taken.k_last, row),
                h=taken.h[row],
                stages=[_rows(slope, row) for slope in taken.stages],
            )
            states = choose(at_end, states, one.step.between(inside, (time - taken.t[row]) / inside.h))
        self.found.append((index, samples, states))

    def path(self, state: State) -> State:
        """Every part at all times; NaN where a sample did not get there."""
        here = self.times == self.times[0]
        path = tuple(
            torch.where(here.reshape(*here.shape, *[1] * (part.dim() - 1)), part.unsqueeze(0), torch.nan)
            for part in state
        )
        if not self.found:
            return path
        index, samples, states = zip(*self.found, strict=True)
        where = torch.cat(index), torch.cat(samples)
        values = [torch.cat(parts) for parts in zip(*states, strict=True)]
        return tuple(part.index_put(where, value) for part, value in zip(path, values, strict=True))


class Accepted:
    """Every sample's accepted steps, one sample after the other.

    Attributes:
        counts, offsets: (batch) how many each sample has, and where its first lies.
        t, h, ends, fresh: of each step.
        moving: for every k, how many samples have a k-th step.
        anew: for every k, whether any sample's k-th step begins with an evaluation of its own.
    """

    counts: Int[Tensor, " batch"]
    offsets: Int[Tensor, " batch"]
    t: Float[Tensor, " steps"]
    h: Float[Tensor, " steps"]
    ends: Float[Tensor, " steps"]
    fresh: Tensor

    def __init__(self):
        self.moving: list[int] = []
        self.anew: list[bool] = []
        self._rows: list[Tensor] = []
        self._found: list[tuple[Tensor, ...]] = []

    def look(self, one: Round) -> None:
        """Keep the accepted ones of a round."""
        which = one.accepted.nonzero().squeeze(1)
        self._rows.append(one.rows[which])
        self._found.append(tuple(part[which] for part in (one.taken.t, one.taken.h, one.taken.end, one.fresh)))

    def close(self, batch: int, failures: Collection[int]) -> None:
        """No more will come; forget those of the ``failures``."""
        if not self._rows:
            return
        rows = torch.cat(self._rows)
        found = [torch.cat(parts) for parts in zip(*self._found, strict=True)]
        self._rows, self._found = [], []
        if failures:
            left = ~torch.isin(rows, torch.tensor(list(failures), device=rows.device))
            rows, found = rows[left], [part[left] for part in found]
        order = rows.argsort(stable=True)
        self.t, self.h, self.ends, self.fresh = (part[order] for part in found)
        self.counts = torch.bincount(rows, minlength=batch)
        self.offsets = self.counts.cumsum(0) - self.counts
        self.moving = read(batch - torch.bincount(self.counts).cumsum(0)[:-1])
        number = torch.arange(len(rows), device=rows.device) - self.offsets[rows[order]]
        none_yet = torch.zeros(len(self.moving), dtype=torch.bool, device=rows.device)
        self.anew = read(none_yet.index_fill(0, number[self.fresh], True))


class Replay:
    """Takes accepted steps again, every sample's k-th at once.

    Where ``only`` gives the right-hand side for some samples alone, those that have no more steps are left behind as
    soon as they are half; until then, and without it, they stand by in steps of no length at their start.
    """

    def __init__(
        self,
        step_of: Callable[[RightHandSide], RungeKutta],
        f: RightHandSide,
        accepted: Accepted,
        times: Tensor,
        nfe: NFE,
        only: Only | None = None,
    ):
        self.step_of, self.f, self.accepted, self.times, self.nfe, self.only = step_of, f, accepted, times, nfe, only
        self.batch = times.shape[1]

    def whole(self, state: State, velocity: State | None = None) -> State:
        """The path, with one graph of all steps; ``velocity`` is f at the start, where it is known already."""
        return self._path(state, self._stretches(len(self.accepted.moving)), [], velocity)

    def kept(self, state: State, velocity: State) -> tuple[State, list[State]]:
        """The path, and the states at which the stretches began that :meth:`back` takes; in the end the last one's."""
        kept: list[State] = []
        return self._path(state, self._stretches(self._stride()), kept, velocity), kept

    def back(
        self, states: Sequence[State], state: State, w: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The gradients of z(t[0]) and of ``w``, stretch by stretch, from those of the path.

        Raises:
            RuntimeError: where f has become another, or reaches a tensor that gets no gradient.
        """
        carried = tuple(torch.zeros_like(part) for part in state)
        grad_w, known = [torch.zeros_like(part) for part in w], edges(w)
        *begun, following = states
        after: Tensor | None = None
        for (start, stop, rows), x in reversed(list(zip(self._stretches(self._stride()), begun, strict=True))):
            with torch.enable_grad():
                x = leaves(x)
                picker = Picker(self.times, self.nfe, self._behind(start))
                y, _, slope = self._take(start, stop, rows, x, None, state, picker)
                self._must_be_alike(y, following, rows, after, stop)
                keep = must_be_known(slope, x, self._first(start, rows), known)
                more = self.accepted.counts[rows] > stop
                outputs, weights = list(y), list(choose(more, _rows(carried, rows), none(y)))
                for index, samples, found in picker.found:
                    outputs += found
                    weights += [part[index, samples] for part in gradients]
                pulled = pull(tuple(outputs), tuple(weights), x, tuple(w), grad_w, keep)
            following, after = tuple(part.detach() for part in x), rows
            carried = tuple(torch.zeros_like(a).index_copy(0, rows, b) for a, b in zip(carried, pulled, strict=True))
        here = self.times == self.times[0]
        first = tuple(
            torch.where(here.reshape(*here.shape, *[1] * (part.dim() - 2)), part, 0.0).sum(0) for part in gradients
        )
        return *(a + b for a, b in zip(carried, first, strict=True)), *grad_w

    def _path(
        self,
        state: State,
        stretches: Iterator[tuple[int, int, Tensor]],
        kept: list[State],
        velocity: State | None,
    ) -> State:
        picker, x, slope = Picker(self.times, self.nfe), state, velocity
        before = torch.arange(self.batch, device=self.times.device)
        for start, stop, rows in stretches:
            if len(rows) != len(before):
                here = torch.isin(before, rows)
                x, slope = _rows(x, here), None if slope is None else _rows(slope, here)
            kept.append(x)
            x, slope, _ = self._take(start, stop, rows, x, slope, state, picker)
            before = rows
        kept.append(x)
        return picker.path(state)

    def _stretches(self, stride: int) -> Iterator[tuple[int, int, Tensor]]:
        """First step, the one after the last, and which samples, of every stretch of at most ``stride`` steps."""
        moving = self.accepted.moving
        if not moving:
            return
        rows = torch.arange(self.batch, device=self.times.device)
        start, width = 0, self.batch
        for k in range(1, len(moving) + 1):
            fewer = self.only is not None and 2 * moving[k - 1] <= width
            if fewer:
                if k - 1 > start:
                    yield start, k - 1, rows
                rows = (self.accepted.counts > k - 1).nonzero().squeeze(1)
                start, width = k - 1, moving[k - 1]
            if k - start == stride or k == len(moving):
                yield start, k, rows
                start = k

    def _stride(self) -> int:
        return max(1, math.isqrt(len(self.accepted.moving)))

    def _take(
        self, start: int, stop: int, rows: Tensor, x: State, slope: State | None, state: State, picker: Picker
    ) -> tuple[State, State | None, State]:
        """Where the samples' steps from ``start`` to ``stop`` end, the slope there if there is one, and the first
        slope."""
        steps = self.accepted
        step = self.step_of(self.f if self.only is None or len(rows) == self.batch else self.only(rows))
        counts, offsets, t0 = steps.counts[rows], steps.offsets[rows], self.times[0][rows]
        stand, first = _rows(tuple(part.detach() for part in state), rows), ()
        for k in range(start, stop):
            on = counts > k
            place = (offsets + k).clamp(max=len(steps.t) - 1)
            t, end = torch.where(on, steps.t[place], t0), torch.where(on, steps.ends[place], t0)
            h = torch.where(on, steps.h[place], 0.0)
            some = steps.moving[k] < (steps.moving[k - 1] if k else self.batch)
            if some:
                x = choose(on, x, stand)
                slope = None if slope is None else choose(on, slope, none(slope))
            if slope is None:
                slope = step.start(t, x)
                self.nfe.forward += 1
            elif steps.anew[k]:
                slope = choose(on & steps.fresh[place], step.start(t, x), slope)
                self.nfe.forward += 1
            first = first or slope
            y, k_last, _, stages = step(t, x, slope, h)
            self.nfe.forward += step.evaluations
            # At the end of its steps at the latest, a sample has a time that is asked for.
            last = k + 1 == len(steps.moving) or steps.moving[k + 1] < steps.moving[k]
            if last or len(self.times) > 2:
                picker.look(Round(step, rows, on, steps.fresh[place], Taken(t, h, end, x, slope, y, k_last, stages)))
            x, slope = y, k_last
        return x, slope, first

    def _must_be_alike(self, y: State, following: State, rows: Tensor, after: Tensor | None, stop: int) -> None:
        """Raise where a stretch of ``rows`` no longer ends where the next, of the samples ``after``, began."""
        found = tuple(part.detach() for part in y)
        if after is not None:
            more = self.accepted.counts[after] > stop
            found = found if len(after) == len(rows) else _rows(found, torch.isin(rows, after))
            found, following = (choose(more, parts, none(parts)) for parts in (found, following))
        must_be_alike(found, following)

    def _behind(self, k: int) -> Tensor | None:
        """Where every sample is before its k-th step."""
        steps = self.accepted
        if k == 0:
            return None
        last = torch.minimum(steps.counts, torch.tensor(k, device=steps.counts.device)) - 1
        return torch.where(last >= 0, steps.ends[(steps.offsets + last).clamp(min=0)], self.times[0])

    def _first(self, k: int, rows: Tensor) -> float:
        """When the first of the samples takes its k-th step."""
        steps = self.accepted
        sample = rows[(steps.counts[rows] > k).nonzero()[0, 0]]
        return float(steps.t[steps.offsets[sample] + k])


def _rows(parts: State, rows: Tensor) -> State:
    return tuple(part[rows] for part in parts)
