"""The low-rank Hebbian flow against the direct form: the same method, so the same numbers."""

from __future__ import annotations

import pytest
import torch

from ncode import NCODE, Field, Solver
from ncode.fields import per_sample
from ncode.solvers import hebbian
from ncode.solvers.dispatch import integrate
from ncode.solvers.options import FIXED

N = 12
# Both forms add the same terms in another order.
EXACT = 1e-12


def problem(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, theta, mu = normal(batch, N), 0.3 * normal(batch, N, N), 0.3 * normal(N, N)
    return [tensor.requires_grad_() for tensor in (x, theta, mu)], normal(batch, N), normal(batch, N, N)


def direct(x, theta, mu, duration, method, steps, leak=0.0, free=None):
    def velocity(t, state):
        x, theta = state
        dx = torch.tanh(torch.einsum("bij,bj->bi", theta, x)) - leak * x
        return dx if free is None else free * dx, mu * torch.einsum("bi,bj->bij", x, x)

    t = x.new_tensor([0.0, duration])
    (xs, thetas), _ = integrate(velocity, (x, theta), t, Solver(method, steps=steps))
    return xs[-1], thetas[-1]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("method", hebbian.TABLEAUS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("leak, clamped", [(0.0, False), (0.7, False), (0.0, True), (0.7, True)])
def test_low_rank_agrees_with_the_direct_form(batch, method, steps, leak, clamped):
    tensors, weight_x, weight_theta = problem(batch)
    free = (torch.arange(N) % 3 == 0).double().expand(batch, N) if clamped else None
    results = []
    for form in (hebbian.flow, direct):
        x, theta = form(*tensors, 0.8, method=method, steps=steps, leak=leak, free=free)
        gradients = torch.autograd.grad((x * weight_x).sum() + (theta * weight_theta).sum(), tensors)
        results.append([x, theta, *gradients])
    for low_rank, reference in zip(*results, strict=True):
        torch.testing.assert_close(low_rank, reference, rtol=EXACT, atol=EXACT)


def test_without_moving_theta_only_x_is_computed():
    tensors, weight_x, _ = problem(2)
    both, alone = hebbian.flow(*tensors, 0.5), hebbian.flow(*tensors, 0.5, move_theta=False)
    assert alone[1] is tensors[1]
    torch.testing.assert_close(alone[0], both[0], rtol=0, atol=0)
    for a, b in zip(*(torch.autograd.grad((x * weight_x).sum(), tensors) for x, _ in (alone, both)), strict=True):
        torch.testing.assert_close(a, b, rtol=EXACT, atol=EXACT)


def test_gradcheck():
    tensors, _, _ = problem(2, seed=1)
    assert torch.autograd.gradcheck(lambda *z: hebbian.flow(*z, 0.5, steps=2, leak=0.3), tensors)


def test_only_wanted_gradients_are_formed():
    (x, theta, mu), _, _ = problem(1)
    end, _ = hebbian.flow(x.detach(), theta.detach(), mu, 0.5)
    end.sum().backward()
    assert mu.grad is not None and x.grad is None and theta.grad is None


def test_no_stage_builds_a_matrix():
    """What the gradient keeps: θ and μ, and vectors. The direct form keeps matrices for every stage."""
    (x, theta, mu), _, _ = problem(1)

    def kept(form, **options):
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.setdefault(tensor.data_ptr(), tensor.numel()) and tensor, lambda tensor: tensor
        ):
            form(x, theta, mu, 0.5, method="rk4", **options)
        return sum(size == N * N for size in sizes.values())

    assert kept(hebbian.flow, steps=1) == kept(hebbian.flow, steps=5) == 2
    assert kept(direct, steps=5) > 20


class Synapses(Field):
    """x' = tanh(θx)."""

    def __init__(self):
        super().__init__(shape=(N,))
        self.matrix = torch.nn.Parameter(torch.zeros(N, N))

    def forward(self, t, x, theta):
        return torch.tanh(per_sample.linear(x, self.value("matrix", theta)))


def test_it_is_the_closed_loop_of_ncode():
    (x, _, mu), _, _ = problem(3)

    class Hebb(torch.nn.Module):
        def forward(self, t, x, theta):
            return (mu * (x.unsqueeze(2) * x.unsqueeze(1))).flatten(1)

    model = NCODE(Synapses(), g=Hebb(), horizon=0.5, solver=Solver("rk4", steps=2)).double()
    theta0 = torch.zeros(3, N, N, dtype=torch.float64)
    torch.testing.assert_close(model(x), hebbian.flow(x, theta0, mu, 0.5, steps=2)[0], rtol=EXACT, atol=EXACT)


def test_rk4_is_of_fourth_order():
    (x, theta, mu), _, _ = problem(1)
    with torch.no_grad():
        exact = hebbian.flow(x, theta, mu, 0.5, steps=256)[0]
        errors = [(hebbian.flow(x, theta, mu, 0.5, steps=s)[0] - exact).abs().max() for s in (8, 16)]
    # 16 in the limit; the next order still shows at these steps.
    assert 12 < errors[0] / errors[1] < 20


def test_its_methods_are_the_solvers_methods():
    assert set(hebbian.TABLEAUS) <= set(FIXED)


@pytest.mark.parametrize(
    "change, word",
    [({"method": "dopri5"}, "method"), ({"steps": 0}, "steps"), ({"theta": torch.zeros(1, N, N)}, "theta")],
)
def test_nonsense_is_named(change, word, unchecked):
    (x, theta, mu), _, _ = problem(2)
    arguments = {"x": x, "theta": theta, "mu": mu, "duration": 0.5} | change
    with pytest.raises(ValueError, match=word):
        hebbian.flow(**arguments)
