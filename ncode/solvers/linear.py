"""The linear flow x' = θx (Eq. 9), solved exactly: x(t) = exp(tθ) x(0), one matrix θ a sample.

Two ways, both in float64 inside, whatever the input's type. The *action* sums the Taylor series of exp(hθ)x over steps
that are short enough for it to lose no digits (Al-Mohy and Higham 2011), and reads θ only through products θx: cheap
where θ is sparse, and x(t) at any number of times costs next to nothing more. *Scaling and squaring* forms exp(tθ)
itself, at a cost that grows with the logarithm of ‖tθ‖ only. Which is used depends on size and norm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ncode.solvers.errors import SolveError

Times = Sequence[float] | Tensor

LARGEST = 1e14
"""‖θ‖T up to which x(T) has correct digits: rounding θ in float64 turns exp(Tθ) by as much as 1e-16·‖θ‖T."""


def linear_flow(
    matrix: Float[Tensor, "batch m m"], x0: Float[Tensor, "*batch m"], t: Times, way: str = ""
) -> Float[Tensor, "time batch m"]:
    """x(t) of x' = θx at the times ``t``, for a full matrix θ per sample.

    Args:
        matrix: the matrices θ.
        x0: the start x(0), shared or per sample, of the same type and on the same device.
        t: times, not decreasing, from 0 on; they get no gradient.
        way: ``"action"`` or ``"squaring"``; by default, the faster one.

    Raises:
        SolveError: when x(t), or exp(tθ) on the way to it, or a gradient leaves the floating-point range, or ‖θ‖T is
            not finite or above :data:`LARGEST`.
        ValueError: when an argument has a wrong shape, type or device, the batch is empty, ``x0`` is not finite, or
            ``t`` is empty, decreases, begins before 0, is not finite or needs a gradient.
    """
    if matrix.dim() != 3 or matrix.shape[1] != matrix.shape[2]:
        raise ValueError(f"matrix: must have shape (batch, m, m), not {tuple(matrix.shape)}")
    _check("matrix", matrix)
    m = matrix.shape[-1]
    rows = torch.arange(m, device=matrix.device)
    # Diagonals, wrapped around, are permutations: a full matrix is a sparse one with m entries a row.
    columns = (rows + rows[:, None]) % m
    return sparse_linear_flow(matrix[:, rows, columns], columns, x0, t, way)


def sparse_linear_flow(
    entries: Float[Tensor, "batch k m"],
    columns: Int64[Tensor, "k m"],
    x0: Float[Tensor, "*batch m"],
    t: Times,
    way: str = "",
) -> Float[Tensor, "time batch m"]:
    """x(t) of x' = θx for a θ with k entries in every row and every column: θ[i, columns[j, i]] = entries[j, i].

    Args:
        entries: those of θ, per sample.
        columns: every one of its k rows is a permutation of 0 … m-1, and no two agree anywhere.
        x0, t, way: as for :func:`linear_flow`.

    Raises:
        SolveError, ValueError: as :func:`linear_flow`.
    """
    if entries.dim() != 3 or entries.shape[1:] != columns.shape:
        wanted = ", ".join(["batch", *map(str, columns.shape)])
        raise ValueError(f"entries: must have shape ({wanted}), as columns has it, not {tuple(entries.shape)}")
    _check("entries", entries)
    batch, k, m = entries.shape
    if tuple(x0.shape) not in ((m,), (batch, m)):
        raise ValueError(f"x0: must have shape {(m,)} or {(batch, m)}, not {tuple(x0.shape)}")
    if (x0.dtype, x0.device) != (entries.dtype, entries.device):
        raise ValueError(f"x0: is {x0.dtype} on {x0.device}, θ {entries.dtype} on {entries.device}")
    times = _times(t)
    norm = _norm(entries, columns, times[-1])
    if way not in ("", "action", "squaring"):
        raise ValueError(f"way: {way!r} is neither 'action' nor 'squaring'")
    precise = entries.dtype == torch.float64
    start = _watched(x0, "x(0)").expand(batch, m)
    theta = _watched(entries, "θ")
    if (way or faster(batch, k, m, norm, len(times))) == "squaring":
        x = _by_squaring(dense(theta, columns), start, times)
    else:
        steps, terms = plan(norm, precise)
        # The batch comes last: gathering coordinates then copies whole rows.
        x = _Action.apply(theta.permute(1, 2, 0).contiguous(), start.t(), columns, times, steps, terms)
        x = x.transpose(1, 2)
    x = x.to(entries.dtype)
    if not torch.isfinite(x).all():
        raise _failure(x, x0, times)
    return x


def dense(entries: Float[Tensor, "batch k m"], columns: Int64[Tensor, "k m"]) -> Float[Tensor, "batch m m"]:
    """The matrix θ whose entries :func:`sparse_linear_flow` is given."""
    batch, k, m = entries.shape
    index = columns.t().expand(batch, m, k)
    return entries.new_zeros(batch, m, m).scatter(2, index, entries.transpose(1, 2))


def plan(norm: float, precise: bool = False) -> tuple[int, int]:
    """Steps, and Taylor terms a step, by which the action reaches float32's accuracy, or float64's if ``precise``.

    A step of ‖hθ‖ ≤ ν loses up to e^2ν in relative accuracy where the terms cancel, against float64's 1e-16; the
    terms end where the remainder ν^J/J!·e^2ν is below what is asked for.
    """
    longest, asked = (1.0, 1e-17) if precise else (8.0, 1e-9)
    steps = max(1, math.ceil(norm / longest))
    size = norm / steps
    terms, log = 1, 2 * size
    while log > math.log(asked) and terms < 100:
        log += math.log(max(size, 1e-300) / terms)
        terms += 1
    return steps, terms


def faster(batch: int, k: int, m: int, norm: float, times: int) -> str:
    """The faster of the two ways, by what their steps cost in nanoseconds on one core, forward and backward.

    The constants are measured (``benchmarks/linear_flow.py``); only their ratios matter, and those only where the two
    ways differ by a large factor.
    """
    steps, terms = plan(norm)
    action = 2 * steps * terms * (6000 + batch * k * m * 0.8)
    products = 3 * times * (6 + max(0, math.ceil(math.log2(max(norm, 1)))))
    return "action" if action <= products * (10_000 + batch * m**3 * 0.03) else "squaring"


def _check(name: str, theta: Tensor) -> None:
    if not theta.is_floating_point():
        raise ValueError(f"{name}: must be a floating-point tensor, not {theta.dtype}")
    if not theta.numel():
        raise ValueError(f"{name}: the batch is empty")


def _times(t: Times) -> list[float]:
    if any(isinstance(part, Tensor) and part.requires_grad for part in (t, *(t if isinstance(t, Sequence) else ()))):
        raise ValueError("t: times get no gradient here; detach them")
    vector = torch.as_tensor(t, dtype=torch.float64)
    if vector.dim() != 1:
        raise ValueError(f"t: must be a vector of times, not of shape {tuple(vector.shape)}")
    times = vector.tolist()
    if not times or times[0] < 0 or any(b < a for a, b in itertools.pairwise(times)):
        raise ValueError("t: must be times from 0 on, at least one, not decreasing")
    if not all(map(math.isfinite, times)):
        raise ValueError("t: times must be finite")
    return times


def _norm(entries: Tensor, columns: Tensor, horizon: float) -> float:
    """The largest ‖θ‖T of the batch, in the smaller of the two norms that are sums of absolute entries.

    Raises:
        SolveError: when it is not finite or above :data:`LARGEST`.
    """
    size = entries.detach().abs().double()
    by_column = torch.zeros_like(size[:, 0]).index_add(1, columns.flatten(), size.flatten(1))
    norms = torch.minimum(size.sum(1).amax(1), by_column.amax(1))
    norm = norms.max().item() * horizon
    if not norm <= LARGEST:  # NaN is not.
        sample = int(torch.nan_to_num(norms, nan=math.inf).argmax())
        raise _error(f"‖θ‖T = {norm:.3g} (sample {sample}): float64 has no digits of exp(Tθ) above {LARGEST:g}", sample)
    return norm


def _watched(tensor: Tensor, name: str) -> Tensor:
    """``tensor`` in float64, where a gradient that does not fit into its own type is an error."""
    double = tensor.double()
    # The hook must not stay on the caller's own tensor.
    double = double.view_as(double) if double is tensor else double
    if double.requires_grad:
        largest = torch.finfo(tensor.dtype).max

        def check(gradient: Tensor | None) -> None:
            if gradient is None:
                return
            fits = gradient.detach().abs() <= largest  # NaN does not.
            if not fits.all():
                sample = int((~fits).nonzero()[0, 0]) if tensor.dim() > 1 else None
                who = "shared by all samples" if sample is None else f"sample {sample}"
                raise _error(f"the gradient of {name} left the range of {tensor.dtype} ({who})", sample)

        double.register_hook(check)
    return double


def _error(what: str, sample: int | None) -> SolveError:
    error = SolveError("non-finite values", sample, 0.0, 0, math.nan)
    # The solvers' message is about a path.
    error.args = (f"{error.reason}: {what}",)
    return error


def _failure(x: Tensor, x0: Tensor, times: list[float]) -> Exception:
    if not torch.isfinite(x0).all():
        return ValueError("x0: must be finite")
    bad = (~torch.isfinite(x)).any(2)
    moment, sample = (int(i) for i in bad.nonzero()[0])
    return SolveError("non-finite values", sample, times[moment], 0, math.inf)


def _by_squaring(matrix: Tensor, x0: Tensor, times: list[float]) -> Tensor:
    return torch.stack([torch.bmm(_exponential(matrix * t), x0.unsqueeze(2)).squeeze(2) for t in times])


def _exponential(a: Tensor) -> Tensor:
    """exp(a) for a batch of matrices, in float64: the Taylor polynomial of degree 16 of a/2^s, squared s times.

    With ‖a/2^s‖ ≤ 1 the remainder is below 1/17! = 3e-15. Six products evaluate it (Paterson and Stockmeyer 1973).
    """
    norm = a.detach().abs().sum(2).amax().item()
    squarings = max(0, math.ceil(math.log2(norm))) if norm > 1 else 0
    a = a / 2.0**squarings
    a2 = torch.bmm(a, a)
    a3, a4 = torch.bmm(a, a2), torch.bmm(a2, a2)
    one = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)

    def part(k: int) -> Tensor:
        c = [1 / math.factorial(4 * k + j) for j in range(4)]
        return c[0] * one + c[1] * a + c[2] * a2 + c[3] * a3

    value = part(3) + a4 / math.factorial(16)
    for k in (2, 1, 0):
        value = part(k) + torch.bmm(a4, value)
    for _ in range(squarings):
        value = torch.bmm(value, value)
    return value


class _Action(torch.autograd.Function):
    """x(t) at all times by the Taylor action, with the exact gradient of what was computed.

    Arguments: entries (k, m, batch), x0 (m, batch), columns (k, m), times, steps, terms.
    """

    @staticmethod
    def forward(ctx, entries, x0, columns, times, steps, terms):
        h = times[-1] / steps
        scaled = entries * h
        ends, rows = _weights(times, steps, terms, entries)
        found, gathered = _buffered(scaled, columns, x0, ends, rows)
        ctx.save_for_backward(entries, x0, scaled, columns, ends, *rows, *gathered)
        ctx.steps, ctx.h = steps, h
        return found

    @staticmethod
    def backward(ctx, upstream):
        entries, x0, scaled, columns, ends, *saved = ctx.saved_tensors
        rows, gathered = saved[: ctx.steps], saved[ctx.steps :]
        if torch.is_grad_enabled():
            # The gradient's own derivative is wanted, which what follows does not have: plain autograd, then.
            found = _series(entries * ctx.h, columns, x0, ends, rows)
            wanted = [i for i in range(2) if ctx.needs_input_grad[i]]
            inputs = [(entries, x0)[i] for i in wanted]
            gradients = dict(zip(wanted, torch.autograd.grad(found, inputs, upstream, create_graph=True), strict=True))
            return gradients.get(0), gradients.get(1), None, None, None, None
        inverse = columns.argsort(1)
        transposed = [e[i] for e, i in zip(scaled, inverse, strict=True)]
        picked, places = inverse.flatten(), torch.empty_like(scaled)
        flat, parts = places.view(-1, places.shape[2]), places.unbind(0)
        upstream = upstream.split([len(weights) for weights in rows])
        gradient, adjoint = torch.zeros_like(scaled), torch.zeros_like(scaled[0])
        for weights, before, given in zip(reversed(rows), reversed(gathered), reversed(upstream), strict=True):
            # What the outputs ask of every term (hθ)^j x directly, then what they ask of it through the next one.
            read = torch.tensordot(weights, given, ([0], [0]))  # pyright: ignore[reportArgumentType]
            *asked, u = (read + ends[:, None, None] * adjoint).unbind(0)
            for term, x in zip(reversed(asked), reversed(before.unbind(0)), strict=True):
                # Term by term, while they lie in the processor's cache.
                gradient.addcmul_(u, x)
                torch.index_select(u, 0, picked, out=flat)
                for entry, part in zip(transposed, parts, strict=True):
                    term.addcmul_(entry, part)
                u = term
            adjoint = u
        return gradient * ctx.h, adjoint, None, None, None, None


def _buffered(
    scaled: Tensor, columns: Tensor, x0: Tensor, ends: Tensor, rows: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """As :func:`_series`, without a graph; and of every step the coordinates that each of its products read, of shape
    (term, k, m, batch)."""
    found, gathered, x = [], [], x0
    entries, picked = scaled.unbind(0), columns.flatten()
    for weights in rows:
        v = x.new_empty(len(ends), *x.shape)
        v[0] = x
        read = x.new_empty(len(ends) - 1, *scaled.shape)
        terms = v.unbind(0)
        for x, y, flat, parts in zip(terms[:-1], terms[1:], read.flatten(1, 2).unbind(0), read.unbind(0), strict=True):
            torch.index_select(x, 0, picked, out=flat)
            torch.mul(entries[0], parts[0], out=y)
            for entry, part in zip(entries[1:], parts[1:], strict=True):
                y.addcmul_(entry, part)
        gathered.append(read)
        found.append(torch.tensordot(weights, v, 1))
        x = torch.tensordot(ends, v, 1)
    return torch.cat(found), gathered


def _series(scaled: Tensor, columns: Tensor, x0: Tensor, ends: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """x at all times, from hθ and the weights of :func:`_weights`, by operations that autograd records."""
    found, x = [], x0
    for weights in rows:
        v = [x]
        for _ in range(len(ends) - 1):
            v.append(sum(entry * v[-1].index_select(0, column) for entry, column in zip(scaled, columns, strict=True)))
        v = torch.stack(v)
        found.append(torch.tensordot(weights, v, 1))
        x = torch.tensordot(ends, v, 1)
    return torch.cat(found)


def _weights(times: list[float], steps: int, terms: int, like: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What every term (hθ)^j x counts: at a step's end (term), and at the times inside each step (time, term)."""
    h = times[-1] / steps
    inside: list[list[list[float]]] = [[] for _ in range(steps)]
    for t in times:
        step = min(int(t / h), steps - 1) if h else 0
        share = t / h - step if h else 0.0
        inside[step].append([share**j / math.factorial(j) for j in range(terms)])
    ends = like.new_tensor([1 / math.factorial(j) for j in range(terms)])
    return ends, [like.new_tensor(rows).reshape(-1, terms) for rows in inside]
