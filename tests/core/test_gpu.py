"""What must hold on a GPU, too: the CPU's numbers and gradients, exact resume. Skipped where there is none."""

import copy

import pytest
import torch
from torch.nn import functional as F

from ncode import Graphed, Solver
from ncode.costs import kinetic, path_cost
from ncode.fields import per_sample
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.metrics import features
from ncode.reproduction.models.autoencoders import scattered
from ncode.solvers.linear import sparse_linear_flow
from ncode.solvers.options import ADAPTIVE, FIXED
from ncode.training import Batches, fit
from tests.core.models import KINDS, build

GPU = torch.device("cuda")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _both(kind, solver):
    cpu = build(kind, solver).double()
    return cpu, copy.deepcopy(cpu).to(GPU)


def _cost_and_gradients(model, x0):
    x = x0.detach().clone().requires_grad_()
    cost = path_cost(model, x, running=kinetic).cost.sum() + model(x).square().sum()
    leaves = [x, *model.parameters()]
    return cost, torch.autograd.grad(cost, leaves, allow_unused=True)


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_and_its_gradients_are_the_cpus(kind, gradients):
    cpu, gpu = _both(kind, Solver("dopri5", rtol=1e-9, atol=1e-9, gradients=gradients))
    x0 = torch.randn(5, 2, dtype=torch.float64)
    (one, ours), (other, theirs) = _cost_and_gradients(cpu, x0), _cost_and_gradients(gpu, x0.to(GPU))
    # Rounding may cut adaptive steps elsewhere: a hundred times the tolerance.
    torch.testing.assert_close(other.cpu(), one, rtol=1e-7, atol=1e-7)
    for got, want in zip(theirs, ours, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got.cpu(), want, rtol=1e-7, atol=1e-7)
    assert gpu.nfe.forward == cpu.nfe.forward


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_independent_samples_are_the_cpus(gradients):
    solver = Solver(rtol=1e-8, atol=1e-8, gradients=gradients, independent=True, jumps=(0.4,))
    cpu, gpu = _both("open", solver)
    x0, times = torch.randn(4, 2, dtype=torch.float64), torch.tensor([[0.0] * 4, [0.5, 1.0, 0.1, 2.0]]).double()
    ends = []
    for model, device in ((cpu, "cpu"), (gpu, GPU)):
        x = x0.detach().clone().to(device).requires_grad_()
        end = model.trajectory(x, times.to(device)).x[-1]
        ends.append((end, *torch.autograd.grad(end.square().sum(), [x, *model.parameters()])))
    for here, there in zip(*ends, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ADAPTIVE + FIXED)
def test_every_solver_gives_the_cpus_trajectory(method):
    cpu, gpu = _both("closed", Solver(method, **({"steps": 20} if method in FIXED else {"rtol": 1e-6, "atol": 1e-6})))
    x0, times = torch.randn(4, 2, dtype=torch.float64), [0.0, 0.3, 1.0]
    here, there = cpu.trajectory(x0, times), gpu.trajectory(x0.to(GPU), times)
    assert there.x.device.type == GPU.type
    torch.testing.assert_close(there.x.cpu(), here.x, rtol=1e-6, atol=1e-6)
    error = gpu.solver_error(x0.to(GPU))
    torch.testing.assert_close(error.cpu(), cpu.solver_error(x0), rtol=1e-3, atol=1e-9)


def test_a_state_that_lies_elsewhere_than_the_model_is_one_clear_error():
    cpu, gpu = _both("open", Solver())
    x0 = torch.randn(3, 2, dtype=torch.float64)
    for model, state in ((cpu, x0.to(GPU)), (gpu, x0)):
        with pytest.raises(ValueError, match=r"x0: is torch\.float64 on"):
            model(state)


@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("channels", "pixels"), [(4, 6), (50, 28)])
def test_kernels_per_sample_are_the_cpus(size, channels, pixels, tf32, monkeypatch):
    # Which says how they are computed; float64 is exact either way.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    torch.manual_seed(0)
    x = torch.randn(3, channels, pixels, pixels, dtype=torch.float64)
    weight = torch.randn(3, channels, channels, size, size, dtype=torch.float64)
    upstream = torch.randn_like(x)
    results = []
    for device in ("cpu", GPU):
        leaves = [part.detach().to(device).requires_grad_() for part in (x, weight)]
        y = per_sample.conv2d(*leaves)
        results.append((y.detach(), *torch.autograd.grad(y, leaves, upstream.to(device))))
    # The same sums in another order: float64 rounding over at most 28² terms of a few units.
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", ["action", "squaring"])
def test_the_linear_flow_is_the_cpus(way):
    torch.manual_seed(0)
    entries, columns, x0 = 0.3 * torch.randn(6, 2, 25).double(), scattered(2, 25), torch.randn(25).double()
    results = []
    for device in ("cpu", GPU):
        matrix = entries.detach().to(device).requires_grad_()
        x = sparse_linear_flow(matrix, columns.to(device), x0.to(device), [1.0, 10.0], way)
        results.append((x.detach(), *torch.autograd.grad(x.square().sum(), matrix)))
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-9)


def test_an_interrupted_run_ends_in_the_same_bits(tmp_path):
    points = torch.randn(40, 2, generator=torch.Generator().manual_seed(5)).to(GPU)

    # Noise from the GPU's own random state, which a checkpoint must therefore hold.
    def loss(model, batch):
        (x,) = batch
        return (model(x) - x.flip(1) + 0.01 * torch.randn_like(x)).square().mean(), {}

    def train(model, **options):
        batches, optimiser = Batches(points, size=16, seed=3), torch.optim.Adam(model.parameters(), lr=1e-2)
        return fit(model, loss, batches, 13, optimiser, **options)

    solver, file = Solver("rk4", steps=4), tmp_path / "c.safetensors"
    whole = build("open", solver).to(GPU)
    expected = train(whole)
    train(build("open", solver).to(GPU), checkpoint=file, until=lambda history: history.iterations == 6)
    # From another model and another random state: both must come from the file.
    second = build("open", solver, seed=9).to(GPU)
    assert train(second, checkpoint=file).loss == expected.loss
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("model", image_classification.MODELS)
def test_image_models_have_the_cpus_loss_and_gradients(model):
    config = image_classification.Config(model, 0, dataset="digits", size=8, filters=6)
    here = image_classification.build(config).double()
    there = copy.deepcopy(here).to(GPU)
    x, y = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.arange(6)
    losses = [F.cross_entropy(m(x.to(d)), y.to(d)) for m, d in ((here, "cpu"), (there, GPU))]
    torch.testing.assert_close(losses[1].cpu(), losses[0], rtol=1e-9, atol=1e-9)
    for loss in losses:
        loss.backward()
    for (name, one), other in zip(here.named_parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-7, atol=1e-9, msg=name)


def test_experiments_convolve_in_full_float32():
    torch.manual_seed(0)
    x, weight = torch.randn(4, 16, 14, 14, device=GPU), torch.randn(4, 16, 16, 3, 3, device=GPU)
    for kernels in (weight, weight[0]):
        exact = per_sample.conv2d(x.double(), kernels.double())
        # 144 terms of unit size: float32 loses 1e-6 of their sum's deviation of 12, TF32 would lose 1e-3 of it.
        torch.testing.assert_close(per_sample.conv2d(x, kernels).double(), exact, rtol=0, atol=1e-4)


def test_efficientnet_judges_there_as_here():
    pytest.importorskip("efficientnet_lite_pytorch")
    network, x = features.efficientnet(), torch.rand(4, 3, 32, 32)
    ours = features.extract(network, x)
    theirs = features.extract(network.to(GPU), x.to(GPU))
    # Convolutions may round to TF32.
    assert abs(theirs - ours).max() < 1e-2 * abs(ours).max()


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_steps_are_captured_in_a_graph_that_gives_their_gradients(kind):
    model = build(kind, Solver("rk4", steps=3)).to(GPU)
    x, parameters = torch.randn(4, 2, device=GPU), list(model.parameters())

    def step():
        return torch.autograd.grad(model(x).square().sum(), parameters)

    # As PyTorch asks: a few steps on a stream of its own, then the capture.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    for seed in range(2):
        torch.manual_seed(seed)
        x.copy_(torch.randn(4, 2))
        graph.replay()
        for got, want in zip(found, step(), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("kind", KINDS)
def test_attempted_steps_are_captured_and_give_the_models_ends_and_gradients(kind):
    model = build(kind, Solver(rtol=1e-5, atol=1e-5)).double().to(GPU)

    def draw():
        return torch.randn(4, 2, dtype=torch.float64, device=GPU, requires_grad=True)

    def gradients(call, xs):
        loss = sum(call(x).square().sum() for x in xs)
        return loss.detach(), model.nfe.forward, *torch.autograd.grad(loss, [*xs, *model.parameters()])

    fast = Graphed(model, draw())
    for _ in range(3):
        # Two calls before their backward pass, which reads what each was given.
        xs = [draw(), draw()]
        found, expected = gradients(fast, xs), gradients(model, xs)
        assert found[1] == expected[1]
        for got, want in zip(found, expected, strict=True):
            # Its sums in another order, by kernels that round otherwise.
            torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
    # Moved parameters are captured anew.
    for p in model.parameters():
        p.data = p.data.clone()
    torch.testing.assert_close(fast(xs[0]), model(xs[0]), rtol=1e-8, atol=1e-10)


def test_a_graphed_open_loop_of_the_block_trains_as_the_model_does():
    config = image_classification.Config("open", 0, dataset="digits", size=8, filters=6, method="dopri5")
    x, losses = torch.randn(6, 1, 8, 8, dtype=torch.float64, device=GPU), []
    for graphed in (True, False):
        torch.manual_seed(0)
        network = image_classification.build(config).double().to(GPU)
        body = Graphed(network.body, network.start(x)) if graphed else network.body
        optimiser, course = torch.optim.Adam(network.parameters(), lr=1e-2), []
        for _ in range(3):
            loss = body(network.start(x)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            course.append(float(loss.detach()))
        losses.append(course)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0][0] != losses[0][-1]
