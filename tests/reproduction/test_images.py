"""Convolution with kernels per sample, the convolutional block, its controller, and the models of Table 1."""

import copy
import dataclasses
import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from ncode import NCODE, NeuralODE, Solver
from ncode.controllers import ImageControl, KernelController
from ncode.costs import control_deviation, jacobian, kinetic, path_cost
from ncode.fields import per_sample
from ncode.fields.conv import ConvBlock
from ncode.reproduction.experiments.image_classification import plans, train
from ncode.reproduction.experiments.image_classification.train import FLOWS, MODELS, Config, build, experiment, prepare
from ncode.reproduction.models.images import ResNet, augment, filters_for
from ncode.reproduction.runs import recordings

RK4 = Solver("rk4", steps=2)


def reference(x, weight, bias):
    """One ordinary convolution a sample."""
    padding = weight.shape[-1] // 2
    rows = zip(x, weight, bias, strict=True)
    return torch.cat([F.conv2d(image[None], kernel, b, padding=padding) for image, kernel, b in rows])


# Small kernels are grouped, large ones called one by one; 1×1 is a matrix product.
@pytest.mark.parametrize(("size", "channels", "pixels"), [(1, 3, 5), (3, 3, 5), (5, 2, 6), (3, 48, 24)])
def test_kernels_per_sample_are_one_convolution_a_sample(size, channels, pixels):
    torch.manual_seed(0)
    x = torch.randn(3, channels, pixels, pixels, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, channels + 1, channels, size, size, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, channels + 1, dtype=torch.float64, requires_grad=True)
    ours, expected = per_sample.conv2d(x, weight, bias), reference(x, weight, bias)
    # The same sums in another order: float64 rounding over at most 432 terms of unit size.
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    upstream = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * upstream).sum(), (x, weight, bias)) for y in (ours, expected)]
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size", "height", "width"), [(3, 5, 4), (5, 4, 6)])
def test_a_gpus_product_with_patches_is_one_convolution_a_sample(size, height, width):
    torch.manual_seed(0)
    x = torch.randn(3, 2, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, 2, size, size, dtype=torch.float64, requires_grad=True)
    ours, expected = per_sample._Unfolded.apply(x, weight), reference(x, weight, torch.zeros(3, 4).double())
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(ours)
    gradients = [torch.autograd.grad(y, (x, weight), upstream, retain_graph=True) for y in (ours, expected)]
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    stacked = torch.func.vmap(per_sample._Unfolded.apply)(torch.stack([x, -x]), torch.stack([weight, weight]))
    torch.testing.assert_close(stacked, torch.stack([ours, -ours]))
    # What it keeps: images and kernels, none of the patches.
    assert sum(part.numel() for part in ours.grad_fn.saved_tensors) == x.numel() + weight.numel()


def test_a_compiler_takes_a_gpus_product_with_patches_whole():
    code = """import torch
from ncode.fields.per_sample import _Unfolded as product
torch.manual_seed(0)
x, weight = (torch.randn(*shape, requires_grad=True).double() for shape in ((3, 2, 5, 4), (3, 4, 2, 3, 3)))
compiled = torch.compile(product.forward, backend="aot_eager", fullgraph=True)
ours, expected = (torch.autograd.grad(f(x, weight).sin().sum(), (x, weight)) for f in (compiled, product.apply))
torch.testing.assert_close(ours, expected)
"""
    # In a process of its own: the compiler cannot follow the checks of shapes that every test has.
    subprocess.run([sys.executable, "-c", code], check=True)


def test_derivatives_of_a_gpus_product_with_patches():
    torch.manual_seed(1)
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    call = per_sample._Unfolded.apply
    assert torch.autograd.gradcheck(call, (x, weight), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(call, (x, weight))
    # One of the two alone.
    assert torch.autograd.gradcheck(lambda x: call(x, weight.detach()), (x,), check_forward_ad=True)
    assert torch.autograd.gradcheck(lambda weight: call(x.detach(), weight), (weight,), check_forward_ad=True)


def test_the_large_case_is_large():
    assert 49 * 48 * 9 * 24 * 24 > per_sample._LARGE > 4 * 3 * 9 * 5 * 5


@pytest.mark.parametrize(("setting", "rounds"), [("allow_tf32 = True", True), ("allow_tf32 = False", False),
                                                ("conv.fp32_precision = 'ieee'", False)])  # fmt: skip
def test_both_of_pytorchs_settings_of_tf32_are_read(setting, rounds):
    if setting.startswith("conv") and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has the older setting alone")
    # In a process of its own: once the newer one is set, PyTorch refuses to read the older, and there is no way back.
    code = f"import torch; torch.backends.cudnn.{setting}; from ncode.fields import per_sample as f;"
    code += "print(f._rounds_to_tf32())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(rounds)


@pytest.mark.parametrize("size", [1, 3])
def test_shared_kernels_with_shared_or_own_biases(size):
    x, weight, bias = torch.randn(4, 3, 6, 6), torch.randn(5, 3, size, size), torch.randn(5)
    expected = F.conv2d(x, weight, bias, padding=size // 2)
    torch.testing.assert_close(per_sample.conv2d(x, weight, bias), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(per_sample.conv2d(x, weight, bias.expand(4, 5)), expected, rtol=1e-4, atol=1e-5)


def test_gradcheck_of_kernels_per_sample():
    torch.manual_seed(1)
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    for size in (1, 3):
        weight = torch.randn(2, 2, 2, size, size, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(per_sample.conv2d, (x, weight))


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (4, 2, 3, 2, 2), (2, 3, 3, 1)])
def test_kernels_that_do_not_keep_the_size_are_refused(shape, unchecked):
    with pytest.raises(ValueError, match="odd size"):
        per_sample.conv2d(torch.randn(4, 3, 6, 6), torch.randn(shape))


def test_a_batch_of_other_kernels_is_refused():
    for size in (1, 3):
        with pytest.raises(RuntimeError):
            per_sample.conv2d(torch.randn(4, 3, 6, 6), torch.randn(3, 2, 3, size, size))


def test_the_block_is_the_papers():
    torch.manual_seed(0)
    block = ConvBlock(3, 8, filters=5)
    x = torch.randn(2, 3, 8, 8)
    y = F.conv2d(x, block.reduce.weight, block.reduce.bias).relu()
    y = F.conv2d(y, block.mix.weight, block.mix.bias, padding=1).relu()
    y = F.conv2d(y, block.expand.weight, block.expand.bias)
    torch.testing.assert_close(block(torch.tensor(0.0), x, {}), y, rtol=1e-4, atol=1e-5)


def test_every_sample_gets_its_own_field():
    """A batch's flow is each image's flow under its own kernels."""
    torch.manual_seed(0)
    block = ConvBlock(3, 6, filters=4)
    gamma = KernelController(1, spread=3.0)
    model = NCODE(block, gamma=gamma, steer="*.weight", solver=RK4)
    x = augment(torch.randn(3, 1, 6, 6), 2)
    together = model(x)
    alone = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    theta = model.initial_control(x)
    assert (theta[0] - theta[1]).abs().max() > 0.01


def test_training_starts_at_an_ordinary_convolution_plus_a_small_part_of_the_kernels_own_size():
    torch.manual_seed(0)
    block = ConvBlock(11, 14, filters=50)
    before = {name: value.detach().clone() for name, value in block.named_parameters()}
    gamma = KernelController(1, activation=None)
    model = NCODE(block, gamma=gamma, steer="*.weight", solver=RK4)
    with torch.no_grad():
        # Unit variance in every hidden unit, whatever the image: what the heads' spread is stated for.
        gamma.layers[0].weight.zero_()
        theta = model.field.unpack(gamma.layers[1](torch.randn(500, 10)))
        at_rest = model.field.unpack(gamma(torch.zeros(1, 1, 14, 14)) - gamma.layers[1](gamma.layers[0].bias)[None])
    for name, fan_in in (("reduce.weight", 11), ("mix.weight", 450), ("expand.weight", 50)):
        torch.testing.assert_close(at_rest[name], torch.zeros_like(at_rest[name]))
        deviation = (theta[name] - before[name]).std().item()
        # Ten hidden units and at least 550 weights: within a few percent of the expectation.
        assert deviation == pytest.approx(fan_in**-0.5, rel=0.1), name


def test_first_losses_are_near_chance():
    """PyTorch's own initialisation of the heads gave up to 1e17 here; chance is log 10."""
    x, y = torch.randn(32, 1, 14, 14), torch.arange(32) % 10
    for model in MODELS:
        logits = build(Config(model, seed=0, filters=16))(x)
        assert F.cross_entropy(logits, y).item() < 2 * math.log(10), model


@pytest.mark.parametrize(("dataset", "size", "channels", "filters"), [("mnist", 28, 5, 92), ("cifar10", 32, 10, 125)])
def test_the_wide_node_has_the_papers_filters(dataset, size, channels, filters):
    """ANODE's authors give a NODE 92 filters on MNIST where ANODE has 64; the same rule gives 125 on CIFAR-10."""
    config = Config("wide", 0, dataset=dataset, size=size, filters=64, augment=channels)
    wide, anode = (build(dataclasses.replace(config, model=model)) for model in ("wide", "anode"))
    assert wide.body.field.mix.weight.shape[:2] == (filters, filters)
    sizes = [sum(w.numel() for w in model.parameters()) for model in (wide, anode)]
    assert abs(sizes[0] / sizes[1] - 1) < 0.01


def test_the_wide_node_is_recorded_beside_the_comparisons():
    made = experiment.planned()
    for name, configs in plans.wide().items():
        beside = made[name.removesuffix("_wide")].configs()
        assert [dataclasses.replace(config, model="anode") for config in configs] == [
            config for config in beside if config.model == "anode"
        ]
        assert made[name].configs() == configs


def test_gamma_does_not_read_the_augmentation():
    block = ConvBlock(3, 4, filters=2)
    gamma = KernelController(1)
    gamma.attach(block, ["mix.weight"])
    assert gamma.layers[0].in_features == 16
    x = torch.randn(2, 3, 4, 4)
    changed = torch.cat([x[:, :1], torch.zeros(2, 2, 4, 4)], dim=1)
    assert torch.equal(gamma(x), gamma(changed))
    assert torch.equal(ImageControl(1)(x), x[:, 0].flatten(1))


def test_both_readings_of_gamma():
    block = ConvBlock(1, 4, filters=2)
    x = torch.randn(1, 1, 4, 4)
    linear = KernelController(1, activation=None)
    linear.attach(block, block.names("*.weight"))
    zero = linear(torch.zeros(1, 1, 4, 4))
    torch.testing.assert_close(linear(2 * x) - zero, 2 * (linear(x) - zero), rtol=1e-4, atol=1e-5)
    perceptron = KernelController(1, activation="tanh")
    perceptron.attach(block, block.names("*.weight"))
    zero = perceptron(torch.zeros(1, 1, 4, 4))
    assert not torch.allclose(perceptron(20 * x) - zero, 20 * (perceptron(x) - zero), rtol=0.1)


def test_only_the_kernels_named_are_steered():
    full, middle = (build(Config(model, seed=0)).body for model in ("open", "mix"))
    assert list(full.field.steered) == ["reduce.weight", "mix.weight", "expand.weight"]
    assert list(middle.field.steered) == ["mix.weight"]
    assert {name for name, _ in middle.field.named_parameters()} == {
        *(f"{name}.bias" for name in ("reduce", "mix", "expand")),
        "reduce.weight",
        "expand.weight",
    }


def test_the_resnet_is_eulers_steps():
    """With one field in all its layers, a ResNet of depth L is Euler's method at step 1 over [0, L] (Eq. 3)."""
    torch.manual_seed(0)
    net = ResNet(2, 5, filters=3, depth=4)
    for block in net.blocks[1:]:
        block.load_state_dict(net.blocks[0].state_dict())
    flow = NeuralODE(net.blocks[0], horizon=4.0, solver=Solver("euler", steps=4))
    x = torch.randn(2, 2, 5, 5)
    torch.testing.assert_close(net(x), flow(x), rtol=1e-4, atol=1e-5)


def test_node_and_resnet_have_anodes_number_of_parameters():
    count = {}
    for model in ("node", "anode", "resnet"):
        body = build(Config(model, seed=0)).body
        count[model] = sum(p.numel() for p in body.parameters())
    # One filter more or less is 4 % at 50 filters and 4 layers of 25.
    assert count["node"] == pytest.approx(count["anode"], rel=0.04)
    assert count["resnet"] == pytest.approx(count["anode"], rel=0.04)


@pytest.mark.parametrize("filters", [1, 7, 50])
def test_filters_for_inverts_the_count(filters):
    block = ConvBlock(4, 5, filters=filters, inputs=3)
    assert filters_for(sum(p.numel() for p in block.parameters()), 4, inputs=3) == filters


def test_kinetic_energy_of_a_constant_velocity():
    block = ConvBlock(1, 3, filters=2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.expand.bias.fill_(3.0)
    flow = NeuralODE(block, horizon=2.0, solver=Solver("rk4", steps=2))
    out = path_cost(flow, torch.zeros(2, 1, 3, 3), running=kinetic)
    # x' = 3 over [0, 2] in 9 dimensions: x(T) = 6, ∫ 81 dt = 162.
    torch.testing.assert_close(out.x[-1], torch.full((2, 1, 3, 3), 6.0))
    torch.testing.assert_close(out.cost, torch.full((2,), 162.0))
    assert flow.nfe.forward == 8


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_kinetic_energy_reaches_the_controller(gradients):
    torch.manual_seed(0)
    block = ConvBlock(2, 4, filters=3)
    gamma = KernelController(1)
    flow = NCODE(block, gamma=gamma, steer="*.weight", solver=Solver("rk4", steps=20, gradients=gradients))
    x = augment(torch.randn(3, 1, 4, 4), 1)
    out = path_cost(flow, x, running=kinetic)
    torch.testing.assert_close(out.x[-1], flow(x))
    (gradient,) = torch.autograd.grad(out.cost.sum(), gamma.layers[0].weight)
    assert gradient.norm() > 0


SMALL = {"images": 200, "size": 7, "filters": 4, "augment": 2, "epochs": 2, "looks": 2}


@pytest.mark.parametrize("model", MODELS)
def test_each_model_trains_and_is_tested(model):
    result = train.train(Config(model, seed=0, **SMALL, learning_rate=1e-2))
    metrics = result.metrics
    assert 0 <= metrics["test_accuracy"] <= 1
    assert result.history.evaluated == [3, 6]
    assert not result.history.failures
    assert ("solver_error" in metrics) == (model in FLOWS)
    if model in FLOWS:
        assert metrics["nfe"] == 8
        assert metrics["nfe_adaptive"] > 8
        assert 0 < metrics["motion"] < 100
    steered = {"control_deviation", "unsteered_accuracy", "unsteered_loss"}
    assert steered & set(metrics) == (steered if model in train.STEERED else set())


@pytest.mark.parametrize(
    ("reads", "own"), [("pixels", True), ("convolutions", True), ("another", False), ("nothing", False)]
)
def test_gamma_reads_what_it_is_told_to(reads, own):
    built = train.build(Config("open", seed=0, **SMALL, reads=reads)).eval()
    x = torch.randn(6, 1, 7, 7)
    theta = built.body.initial_control(built.start(x))
    moved = x.clone()
    moved[0] += 1
    changed = (built.body.initial_control(built.start(moved)) != theta).any(1).tolist()
    # The first image is what the second one's γ reads where each reads another.
    assert changed == [own, reads == "another", *[False] * 4]
    assert (theta.std(0).max() > 0) == (reads != "nothing")


def test_gamma_reads_the_features_of_a_module_and_trains_it():
    torch.manual_seed(0)
    features = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten())
    field = ConvBlock(2, 5, filters=3)
    gamma = KernelController(1, features=features)
    flow = NCODE(field, gamma=gamma, steer="*.weight", solver=Solver("rk4", steps=2))
    units, _ = gamma.layers
    assert (units.in_features, features.training) == (27, True)
    assert features[1].num_batches_tracked == 0, "sizing γ shows its features nothing"
    x = augment(torch.randn(4, 1, 5, 5), 1)
    flow(x).square().sum().backward()
    assert features[0].weight.grad.norm() > 0
    reading = KernelController(1, features=copy.deepcopy(features))
    again = NCODE(ConvBlock(2, 5, filters=3), gamma=reading, steer="*.weight", solver=flow.solver)
    again.load_state_dict(flow.state_dict())
    torch.testing.assert_close(again.eval()(x), flow.eval()(x))


def test_features_that_are_no_row_of_numbers_are_refused():
    for features in (torch.nn.Identity(), torch.nn.Sequential()):
        with pytest.raises(ValueError, match="features: must give each image a row of numbers"):
            NCODE(ConvBlock(2, 5, filters=3), gamma=KernelController(1, features=features), steer="*.weight")
    with pytest.raises(TypeError, match="features"):
        KernelController(1, features="pixels")


def test_what_gamma_cannot_read_is_named():
    with pytest.raises(ValueError, match="'words' is not one of pixels"):
        train.build(Config("open", seed=0, **SMALL, reads="words"))


def test_gamma_s_matrices_have_a_rate_of_their_own():
    config = Config("open", seed=0, **SMALL, learning_rate=0.1, gamma_rate=0.1)
    built = train.build(config)
    before = [p.clone() for p in built.parameters()]
    sum(p.sum() for p in built.parameters()).backward()
    train._optimiser(built, config).step()
    # Adam's first step is its rate.
    steps = {name: (p - q).abs().max().item() for (name, p), q in zip(built.named_parameters(), before, strict=True)}
    slow = {name for name, step in steps.items() if step == pytest.approx(0.01, rel=1e-3)}
    assert slow == {"body.gamma.layers.0.weight", "body.gamma.layers.1.weight"}
    assert all(step == pytest.approx(0.1, rel=1e-3) for name, step in steps.items() if name not in slow)


@pytest.mark.parametrize("model", train.STEERED)
def test_an_unsteered_copy_gives_every_image_the_mean_of_theta(model):
    config = Config(model, seed=0, **SMALL)
    built, x = train.build(config).eval(), torch.randn(7, 1, 7, 7)
    start = built.start(x)
    theta = built.body.initial_control(start)
    alike = train.unsteered(built, x, batch=3)
    torch.testing.assert_close(alike.body.initial_control(start), theta.mean(0).expand_as(theta))
    # One image is its own mean; of the model itself nothing has changed.
    one = train.unsteered(built, x[:1])
    torch.testing.assert_close(one(x[:1]), built(x[:1]))
    torch.testing.assert_close(built.body.initial_control(start), theta)
    assert train._deviation(built, x)["control_deviation"] > 0.1
    assert train._deviation(alike, x)["control_deviation"] < 1e-12


def test_training_learns():
    """The digits, in seconds: far above chance, 10 %."""
    settings = SMALL | {"images": 0, "epochs": 2}
    result = train.train(Config("open", seed=0, **settings, learning_rate=1e-2))
    assert result.metrics["validation_accuracy"] > 0.6


def test_flips_mirror_some_of_the_images(unchecked):
    x = torch.arange(8.0).reshape(1, 1, 2, 4).expand(64, -1, -1, -1)
    seen = []
    config = Config("gamma", seed=0, flips=True)
    torch.manual_seed(0)
    train._loss(lambda x: seen.append(x) or torch.zeros(64, 10), (x, torch.zeros(64, dtype=torch.long)), config)
    mirrored = (seen[0] == x.flip(3)).all(dim=(1, 2, 3))
    assert 16 < mirrored.sum() < 48
    assert ((seen[0] == x).all(dim=(1, 2, 3)) | mirrored).all()


def test_running_costs_are_weighted_and_taken_over_the_states_dimension():
    torch.manual_seed(0)
    config = Config("open", seed=0, size=5, filters=3, augment=2, kinetic=2.0, jacobian=3.0)
    model, x = build(config), torch.randn(4, 1, 5, 5)
    torch.manual_seed(1)
    logits, cost = model.with_cost(x, *train._costs(model.body, x, config))
    torch.manual_seed(1)
    start, direction = model.start(x), torch.randn(4, 3, 5, 5)
    parts = [path_cost(model.body, start, running=term).cost for term in (kinetic, jacobian(direction))]
    torch.testing.assert_close(cost, (2.0 * parts[0] + 3.0 * parts[1]) / 75)
    torch.testing.assert_close(logits, model(x))


def test_the_jacobians_cost_is_exact_for_a_linear_block():
    """With ReLU always open the block is linear, and its squared Jacobian is what autograd says."""
    torch.manual_seed(0)
    block = ConvBlock(2, 3, filters=4)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_(0.1)
        block.reduce.bias.fill_(10.0)
        block.mix.bias.fill_(10.0)
    flow, x = NeuralODE(block, solver=RK4), torch.randn(1, 2, 3, 3)
    full = torch.autograd.functional.jacobian(lambda y: block(torch.tensor(0.0), y, {}), x).reshape(18, 18)
    rows = torch.eye(18).reshape(18, 2, 3, 3)
    # A linear field's Jacobian is the same along the path, so over [0, 1] the cost of eᵢ is row i's squared norm.
    costs = [path_cost(flow, x, running=jacobian(row[None])).cost for row in rows]
    torch.testing.assert_close(torch.cat(costs), full.square().sum(1), rtol=1e-4, atol=1e-7)


def test_the_deviation_is_from_the_batchs_mean_control_in_units_of_the_kernels_scale():
    theta = torch.tensor([[1.0, 10.0], [3.0, 10.0]], requires_grad=True)
    cost = control_deviation(torch.tensor([0.5, 2.0]))(torch.zeros(2, 1), theta)
    # The first variable lies 1 from its mean, two units; the second does not vary.
    torch.testing.assert_close(cost, torch.tensor([2.0, 2.0]))
    (gradient,) = torch.autograd.grad(cost.sum(), theta)
    torch.testing.assert_close(gradient, torch.tensor([[-4.0, 0.0], [4.0, 0.0]]))
    with pytest.raises(ValueError, match="no control"):
        control_deviation(torch.ones(2))(torch.zeros(2, 1), None)


def test_penalties_lower_what_they_penalise():
    """Each penalty, against the same training without it: energy, Jacobian and deviation of the trained model."""
    x = prepare("digits", "", 200, 7).train[0][:50]

    def measure(**weights):
        settings = SMALL | {"images": 128, "epochs": 6, "learning_rate": 1e-2}
        model = train.train(Config("open", seed=0, **settings, **weights)).model.eval()
        torch.manual_seed(0)
        costs = {}
        for name in ("kinetic", "jacobian", "deviation"):
            ones = Config("open", seed=0, **{name: 1.0})
            with torch.no_grad():
                costs[name] = model.with_cost(x, *train._costs(model.body, x, ones))[1].mean().item()
        return costs

    free = measure()
    for name, weight in (("kinetic", 10.0), ("jacobian", 1.0), ("deviation", 1.0)):
        assert measure(**{name: weight})[name] < 0.5 * free[name], name


def test_decay_shrinks_the_controllers_matrices_and_not_what_its_heads_share():
    for name, shrunk in (("open", "body.gamma.layers"), ("mix", "body.gamma.layers"), ("anode", "body.field")):
        config = Config(name, seed=0, size=5, filters=3, decay=0.5, learning_rate=0.1)
        model = build(config)
        before = {key: value.detach().clone() for key, value in model.named_parameters()}
        optimiser = train._optimiser(model, config)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()
        for key, value in model.named_parameters():
            factor = 0.95 if key.startswith(shrunk) and key.endswith("weight") else 1.0
            torch.testing.assert_close(value, factor * before[key], msg=f"{name}: {key}")


def test_dropout_drops_hidden_units_in_training_only():
    torch.manual_seed(0)
    model = build(Config("open", seed=0, size=5, filters=3, hidden=40, dropout=0.5)).body
    plain = build(Config("open", seed=0, size=5, filters=3, hidden=40)).body
    x = augment(torch.randn(1, 1, 5, 5), 10).expand(2, -1, -1, -1)
    with torch.no_grad():
        theta = model.train().initial_control(x)
        # Each sample of a batch loses its own units.
        assert (theta[0] - theta[1]).abs().max() > 0.01
        torch.testing.assert_close(model.eval().initial_control(x), plain.initial_control(x))
        assert "gamma.scales" not in model.state_dict()


def test_recorded_configurations_are_read_with_defaults_for_what_came_later():
    for name in experiment.planned():
        try:
            made = recordings.load(name)
        except FileNotFoundError:
            continue
        for run in made:
            assert build(run.config) is not None


def test_images_are_averaged_down():
    x = torch.tensor([[[[0, 255], [255, 255]]]], dtype=torch.uint8)
    torch.testing.assert_close(train._pooled(x, 1), torch.full((1, 1, 1, 1), 0.75))


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="resnet"):
        build(Config("cnn", seed=0))


def test_recordings_compare_all_models_seed_by_seed():
    for name, configs in plans.comparisons().items():
        assert experiment.planned()[name].configs() == configs
        options = plans.tables()[name].options
        first, later = options.get("models", MODELS), options.get("afterwards", ())
        seeds = range(options["seeds"])
        order = [(model, seed) for models in (first, later) for seed in seeds for model in models]
        assert [(run.model, run.seed) for run in configs] == order, name
        # One configuration for all models, but for a rate of each one's own where the plan says whose trials chose it.
        alike = {"learning_rate": 0.0} if "rates_of" in options else {}
        assert len({dataclasses.replace(run, model="", seed=0, **alike) for run in configs}) == 1, name


def test_learning_rates_are_chosen_for_the_baseline_on_another_seed_at_the_recorded_budget():
    compared = [run for configs in plans.comparisons().values() for run in configs]
    for run in experiment.planned()["image_classification_rates"].configs():
        assert run.model == "anode"
        assert run.seed not in {other.seed for other in compared}
        alike = [dataclasses.replace(other, seed=run.seed, learning_rate=run.learning_rate) for other in compared]
        assert run in alike


def test_a_recording_keeps_the_curves(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    record = experiment.run(Config("gamma", seed=0, **SMALL))
    recordings.save("curves", [record], points=3)
    (kept,) = recordings.load("curves")
    assert kept.history["evaluated"] == record.history.evaluated
    assert kept.history["evaluations"]["loss"] == pytest.approx(record.history.evaluations["loss"], rel=1e-3)
    assert kept.history["iteration"] == [2, 4, 6]
    expected = [sum(record.history.loss[k : k + 2]) / 2 for k in (0, 2, 4)]
    assert kept.history["loss"] == pytest.approx(expected, rel=1e-3)
