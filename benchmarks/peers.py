"""Other libraries' solves of a :class:`benchmarks.problems.Case`, each as its users would write it at its best.

A way is made by ``way(case, tolerance, dtype)`` and called without arguments: forward and backward; it returns x(1)
as a NumPy array. A library that is not installed raises :class:`ImportError` when its way is made.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.problems import Case, unpack, width_of

Way = Callable[[], np.ndarray]


class TorchProblem:
    """A case for PyTorch: leaves, velocities, and the backward pass."""

    def __init__(self, case: Case, dtype: torch.dtype = torch.float32):
        def leaf(array: np.ndarray) -> torch.Tensor:
            return torch.tensor(array, dtype=dtype).requires_grad_()

        self.case, self.width = case, width_of(case)
        self.x, self.theta, self.g = leaf(case.x), leaf(case.theta), [leaf(array) for array in case.g]
        self.upstream = torch.tensor(case.upstream, dtype=dtype)
        self.t = torch.tensor([0.0, case.horizon], dtype=dtype)

    def field(self, theta: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """f(·, θ). With θ by sample, sums over the state's few features are written out: the fastest form found."""
        first, first_bias, last, last_bias = unpack(theta, self.x.shape[1], self.width)
        if theta.dim() == 1:
            linear = torch.nn.functional.linear
            return lambda x: linear(torch.tanh(linear(x, first, first_bias)), last, last_bias)
        columns, rows = first.unbind(2), last.unbind(1)
        if len(rows) > 4:
            return lambda x: _bmm(torch.tanh(_bmm(x, first, first_bias)), last, last_bias)

        def f(x: torch.Tensor) -> torch.Tensor:
            hidden = first_bias
            for column, feature in zip(columns, x.unbind(1), strict=True):
                hidden = torch.addcmul(hidden, column, feature.unsqueeze(1))
            hidden = torch.tanh(hidden)
            return torch.stack([(row * hidden).sum(1) for row in rows], dim=1) + last_bias

        return f

    def control(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """g(θ, x)."""
        first, first_bias, last, last_bias = self.g
        linear = torch.nn.functional.linear
        return linear(torch.tanh(linear(torch.cat([x, theta], 1), first, first_bias)), last, last_bias)

    @property
    def closed(self) -> bool:
        return bool(self.g)

    @property
    def leaves(self) -> list[torch.Tensor]:
        return [self.x, self.theta, *self.g]

    def backward(self, end: torch.Tensor) -> np.ndarray:
        torch.autograd.grad(end, self.leaves, self.upstream)
        return end.detach().numpy()


def _bmm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.baddbmm(bias.unsqueeze(2), weight, x.unsqueeze(2)).squeeze(2)


def _coupled(problem: TorchProblem, x: torch.Tensor, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return problem.field(theta)(x), problem.control(x, theta)


def torchdiffeq(case: Case, tolerance: float, dtype: torch.dtype = torch.float32, worst: bool = False) -> Way:
    """Direct gradients, θ captured. Its own norm is the batch's mean; ``worst`` hands it the worst sample's."""
    from torchdiffeq import odeint

    problem = TorchProblem(case, dtype)

    def norm(parts: torch.Tensor) -> torch.Tensor:
        parts = parts if isinstance(parts, tuple) else (parts,)
        return torch.stack([part.detach().square().mean(1).amax() for part in parts]).amax().sqrt()

    options = {"norm": norm} if worst else {}

    def solve() -> np.ndarray:
        if problem.closed:
            start = (problem.x, problem.theta)
            path = odeint(
                lambda t, z: _coupled(problem, *z), start, problem.t, rtol=tolerance, atol=tolerance, options=options
            )[0]
        else:
            f = problem.field(problem.theta)
            path = odeint(lambda t, x: f(x), problem.x, problem.t, rtol=tolerance, atol=tolerance, options=options)
        return problem.backward(path[-1])

    return solve


def appendix_b(case: Case, tolerance: float, dtype: torch.dtype = torch.float32) -> Way:
    """As the paper's listing has it: the state is (x, θ) with θ' = 0 in the open loop, and torchdiffeq's adjoint."""
    from torchdiffeq import odeint_adjoint

    problem = TorchProblem(case, dtype)
    if case.kind == "neural ODE":
        raise ValueError("the listing has a control")

    class Function(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.g = torch.nn.ParameterList(problem.g)

        def forward(self, t, z):
            x, theta = z
            moved = problem.control(x, theta) if problem.closed else torch.zeros_like(theta)
            return problem.field(theta)(x), moved

    function = Function()
    problem.g = list(function.g)

    def solve() -> np.ndarray:
        start = (problem.x, problem.theta)
        return problem.backward(odeint_adjoint(function, start, problem.t, rtol=tolerance, atol=tolerance)[0][-1])

    return solve


def torchdyn(case: Case, tolerance: float, dtype: torch.dtype = torch.float32) -> Way:
    """Direct gradients, θ captured."""
    from torchdyn.numerics import odeint

    problem = TorchProblem(case, dtype)

    def solve() -> np.ndarray:
        state = torch.cat([problem.x, problem.theta], 1) if problem.closed else problem.x
        d = problem.x.shape[1]
        if problem.closed:

            def f(t, z, args=None):
                return torch.cat(_coupled(problem, z[:, :d], z[:, d:]), 1)
        else:
            field = problem.field(problem.theta)

            def f(t, x, args=None):
                return field(x)

        _, path = odeint(f, state, problem.t, "dopri5", atol=tolerance, rtol=tolerance)
        return problem.backward(path[-1][:, :d])

    return solve


def torchode(case: Case, tolerance: float, dtype: torch.dtype = torch.float32) -> Way:
    """Steps of their own for every sample; direct gradients, not through the step sizes; θ captured."""
    import torchode as to

    problem = TorchProblem(case, dtype)
    d = problem.x.shape[1]

    def solve() -> np.ndarray:
        if problem.closed:
            state = torch.cat([problem.x, problem.theta], 1)
            term = to.ODETerm(lambda t, z: torch.cat(_coupled(problem, z[:, :d], z[:, d:]), 1))
        else:
            field = problem.field(problem.theta)
            state, term = problem.x, to.ODETerm(lambda t, x: field(x))
        controller = to.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        solver = to.AutoDiffAdjoint(to.Dopri5(term=term), controller, backprop_through_step_size_control=False)
        times = problem.t.expand(len(state), 2)
        solution = solver.solve(to.InitialValueProblem(y0=state, t_eval=times))
        return problem.backward(solution.ys[:, -1, :d])

    return solve


def diffrax(
    case: Case, tolerance: float, dtype: torch.dtype = torch.float32, vmapped: bool = False, method: str = "Tsit5"
) -> Way:
    """Under JIT, its default gradient (checkpointed). ``vmapped``: a solve a sample; else one for the batch's mean."""
    import diffrax as dfx
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == torch.float64)
    width = width_of(case)
    closed = bool(case.g)

    def velocity(t, z, captured):
        theta, g = captured
        x, theta = z if closed else (z, theta)
        first, first_bias, last, last_bias = unpack(theta, case.x.shape[-1], width)
        hidden = jnp.tanh(jnp.einsum("...oi,...i->...o", first, x) + first_bias)
        moved = jnp.einsum("...oi,...i->...o", last, hidden) + last_bias
        if not closed:
            return moved
        hidden = jnp.tanh(jnp.concatenate([x, theta], -1) @ g[0].T + g[1])
        return moved, hidden @ g[2].T + g[3]

    term, solver = dfx.ODETerm(velocity), getattr(dfx, method)()
    controller = dfx.PIDController(rtol=tolerance, atol=tolerance)
    # Its gradient keeps a number of checkpoints that follows from this: too many steps cost time.
    steps = int(min(4096, max(32, 40 * case.horizon * (1e-3 / tolerance) ** 0.25)))

    def one(x, theta, g):
        start, captured = ((x, theta), (None, g)) if closed else (x, (theta, g))
        found = dfx.diffeqsolve(
            term, solver, 0.0, case.horizon, None, start, captured, stepsize_controller=controller, max_steps=steps
        )
        return (found.ys[0] if closed else found.ys)[-1]

    shared = None if case.kind == "neural ODE" else 0
    batched = jax.vmap(one, in_axes=(0, shared, None)) if vmapped else one

    def loss(leaves, upstream):
        end = batched(*leaves)
        return (end * upstream).sum(), end

    step = jax.jit(jax.grad(loss, has_aux=True))
    cast = jnp.float64 if dtype == torch.float64 else jnp.float32
    leaves = (jnp.asarray(case.x, cast), jnp.asarray(case.theta, cast), tuple(jnp.asarray(a, cast) for a in case.g))
    upstream = jnp.asarray(case.upstream, cast)

    def solve() -> np.ndarray:
        gradients, end = step(leaves, upstream)
        jax.block_until_ready(gradients)
        return np.asarray(end)

    return solve


PEERS: dict[str, Callable[..., Way]] = {
    "torchdiffeq": torchdiffeq,
    "torchdiffeq, worst-sample norm": lambda case, tolerance, dtype: torchdiffeq(case, tolerance, dtype, worst=True),
    "torchdiffeq, Appendix B": appendix_b,
    "torchdyn": torchdyn,
    "torchode": torchode,
    "diffrax, batched": diffrax,
    "diffrax, vmapped": lambda case, tolerance, dtype: diffrax(case, tolerance, dtype, vmapped=True),
}
