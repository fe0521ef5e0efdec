"""What the training loop takes, what it refuses before it spends anything, and what becomes of its checkpoints."""

import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ncode import SolveError
from ncode import checkpoint as checkpoints
from ncode.training import Batches, TrainingError, fit

X = torch.randn(32, 2, generator=torch.Generator().manual_seed(4))


def build(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(2, 2)


def loss(model, batch):
    return (model(batch[0]) - batch[0].abs()).square().mean(), {"half": 0.5}


def adam(model, rate=1e-2):
    return torch.optim.Adam(model.parameters(), lr=rate)


def train(model=None, batches=None, iterations=6, optimiser=None, what=loss, **options):
    model = model or build()
    batches = Batches(X, size=8) if batches is None else batches
    return fit(model, what, batches, iterations, optimiser or adam(model), **options)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# What makes no sense is refused.


class Endless(IterableDataset):
    def __iter__(self):
        yield from X


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("clip", {"clip": clip}) for clip in (-1.0, 0.0, math.nan, "1", torch.ones(2))),
        *(("patience", {"patience": patience}) for patience in (0, -1, 2.5, None)),
        *(("evaluate_every", {"evaluate_every": every}) for every in (0, -3, 0.5)),
        *(("checkpoint_every", {"checkpoint_every": every}) for every in (0, "2")),
        *(("iterations", {"iterations": iterations}) for iterations in (-1, 2.0, None)),
        *(("schedule", {"schedule": schedule}) for schedule in (0.5, lambda *_: -1.0, lambda *_: math.nan)),
        *(("evaluate", {"evaluate": evaluate, "iterations": 1}) for evaluate in ("loss", {"a": 1})),
        ("until", {"until": True}),
        ("loss", {"what": "loss"}),
        ("loss", {"what": lambda model, batch: model(batch[0]).sum()}),
        ("loss", {"what": lambda model, batch: (model(batch[0]).mean(0), {})}),
        ("loss", {"what": lambda model, batch: (model(batch[0]).sum().detach(), {})}),
        ("loss", {"what": lambda model, batch: (1.0, {})}),
        ("loss", {"what": lambda model, batch: (model(batch[0]).sum(), 3.0)}),
        ("loss: both", {"what": lambda model, batch: (model(batch[0]).sum(), {"both": batch[0]})}),
        ("model", {"model": lambda x: x, "optimiser": adam(build())}),
        ("optimiser", {"optimiser": adam(build())}),
        ("optimiser", {"optimiser": "adam"}),
        ("batches", {"batches": "batches"}),
        ("batches", {"batches": X}),
        ("batches", {"batches": iter([(X,)] * 9)}),
        ("batches", {"batches": [(X,)] * 5}),
        ("batches", {"batches": DataLoader(TensorDataset(X), batch_size=64, drop_last=True)}),
        ("batches", {"batches": DataLoader(Endless())}),
    ],
)
def test_an_argument_that_makes_no_sense(unchecked, name, options):
    model = options.pop("model", build())
    before = state(model) if isinstance(model, nn.Module) else {}
    with pytest.raises((ValueError, TypeError), match=rf"^{name}: "):
        train(model, **options)
    assert equal(before, state(model) if isinstance(model, nn.Module) else {})


def test_an_evaluation_that_is_no_mapping():
    with pytest.raises(TypeError, match=r"^evaluate: .*not float"):
        train(evaluate=lambda model: 1.0)
    with pytest.raises(ValueError, match=r"^evaluate: both: "):
        train(evaluate=lambda model: {"both": X})


def test_a_first_evaluation_that_fails_leaves_its_place():
    calls = iter([SolveError("non-finite values", 0, 0.5, 10, math.inf), {"a": 1.0}, {"a": 2.0, "b": 3.0}])

    def evaluate(model):
        given = next(calls)
        if isinstance(given, Exception):
            raise given
        return given

    history = train(evaluate=evaluate, evaluate_every=2)
    assert history.evaluated == [2, 4, 6]
    assert str(history.evaluations) == str({"a": [math.nan, 1.0, 2.0], "b": [math.nan, math.nan, 3.0]})


@pytest.mark.parametrize(
    ("tensors", "options", "name"),
    [
        ((), {}, "tensors"),
        (([1, 2],), {}, "tensors"),
        ((torch.ones(()),), {}, "tensors"),
        ((torch.ones(0, 2),), {}, "tensors"),
        ((X,), {"size": 2.5}, "size"),
        ((X,), {"size": 0}, "size"),
        ((X,), {"seed": None}, "seed"),
    ],
)
def test_batches_of_nothing(unchecked, tensors, options, name):
    with pytest.raises((ValueError, TypeError), match=rf"^{name}: "):
        Batches(*tensors, **options)


def test_patience_counts_from_where_a_continuation_begins(tmp_path):
    options = {"what": lambda model, batch: (model(batch[0]).mean() * math.nan, {}), "checkpoint": tmp_path / "c"}
    train(iterations=4, patience=5, **options)
    # Four have failed: a continuation with less patience gives up at its first.
    with pytest.raises(TrainingError, match="5 steps"):
        train(iterations=9, patience=2, **options)


# What it takes.


def test_a_tensor_as_rate(tmp_path):
    def run(iterations, name, rate, **options):
        model = build()
        train(model, iterations=iterations, optimiser=adam(model, rate), checkpoint=str(tmp_path / name), **options)
        return state(model)

    schedule = {"schedule": lambda progress, history: 1 - progress}
    numbers, tensors = run(6, "a", 1e-2, **schedule), run(6, "b", torch.tensor(1e-2), **schedule)
    for name, value in numbers.items():
        torch.testing.assert_close(tensors[name], value, rtol=1e-5, atol=1e-7)
    run(6, "c", torch.tensor(1e-2), until=lambda history: history.iterations == 3, **schedule)
    assert equal(run(6, "c", torch.tensor(1e-2), **schedule), tensors)


def lbfgs(model):
    return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)


def test_an_optimiser_that_asks_for_the_loss_again(tmp_path):
    """Least squares with a positive definite Hessian: L-BFGS is at the exact solution in a few steps."""
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = x @ torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64) + 0.5

    def fitted(iterations, **options):
        model = build().double()
        history = fit(
            model,
            lambda model, batch: ((model(batch[0]) - batch[1]).square().mean(), {}),
            Batches(x, y),
            iterations,
            torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"),
            **options,
        )
        return model, history

    model, history = fitted(5)
    torch.testing.assert_close(model.weight.T, y.new_tensor([[1.0, 2.0], [3.0, -1.0]]), rtol=1e-6, atol=1e-6)
    assert history.iterations == 5 and history.loss[-1] < 1e-10 < history.loss[0]
    fitted(2, checkpoint=tmp_path / "c")
    assert equal(state(fitted(5, checkpoint=tmp_path / "c")[0]), state(model))


def test_a_step_that_fails_on_its_way_is_undone():
    model, calls = build(), []

    def fails(model, batch):
        calls.append(state(model))
        value = loss(model, batch)[0]
        return value * (math.nan if len(calls) == 3 else 1), {}

    history = train(model, Batches(X), iterations=2, optimiser=lbfgs(model), what=fails)
    assert [failure["iteration"] for failure in history.failures] == [0]
    # The third evaluation was elsewhere; the next step begins where the first did.
    assert not equal(calls[0], calls[2]) and equal(calls[0], calls[3])


@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize("optimiser", [adam, lbfgs])
def test_a_loader_continues_as_it_would_have_gone_on(tmp_path, optimiser, generator):
    def noisy(model, batch):
        (x,) = batch
        return (model(x) - x + 0.1 * torch.randn_like(x)).square().mean(), {"first": x[0, 0].item()}

    def run(name, seed=0, **options):
        model = build(seed)
        own = torch.Generator().manual_seed(7) if generator else None
        loader = DataLoader(TensorDataset(X), batch_size=8, shuffle=True, generator=own)
        return model, train(model, loader, 11, optimiser(model), noisy, checkpoint=tmp_path / name, **options)

    whole, history = run("whole")
    run("cut", until=lambda history: history.iterations == 6)
    resumed, continued = run("cut", seed=3)
    assert equal(state(whole), state(resumed)) and continued.loss == history.loss
    # Every epoch has an order of its own, and sees every sample.
    first = history.metrics["first"]
    assert len(set(first[:4])) == 4 and first[:4] != first[4:8]


def test_loaders_of_single_tensors_and_of_dictionaries():
    class Named(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            return {"x": X[i]}

    train(batches=DataLoader(list(X), batch_size=8))
    by_name = DataLoader(Named(), batch_size=8)
    train(batches=by_name, what=lambda model, batch: loss(model, (batch["x"],)))


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**40), 2**40), st.integers(0, 1000), st.integers(2, 300))
def test_neighbouring_shuffles_share_nothing(seed, epoch, samples):
    x = torch.arange(samples)
    pairs = [(seed, epoch), (seed + 1, epoch), (seed, epoch + 1), (seed + 1, epoch + 1), (seed + 2**32, epoch)]
    orders = [Batches(x, size=samples, seed=s)[e][0] for s, e in pairs]
    for order in orders:
        assert torch.equal(order.sort().values, x)
    for i, a in enumerate(orders):
        for b in orders[:i]:
            # A position keeps its sample once on average: more than 15 times has a chance of 1e-13.
            assert (a == b).sum() < 15
            assert samples < 12 or not torch.equal(a, b)


def test_a_shuffle_is_not_of_the_sum_of_seed_and_epoch():
    x = torch.arange(100)
    orders = {tuple(Batches(x, size=100, seed=s)[e][0].tolist()) for s in range(12) for e in range(12)}
    assert len(orders) == 144


# Checkpoints.


@pytest.fixture
def kept(tmp_path):
    """A checkpoint after three of six steps, and the weights that the six end in."""
    whole = build()
    train(whole)
    train(checkpoint=tmp_path / "c", until=lambda history: history.iterations == 3)
    return tmp_path / "c", state(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: bytes(len(content)),
        lambda content: b'\x10\0\0\0\0\0\0\0{"a":{}}        ',
        lambda content: content.replace(b"model", b"mudel"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_again(kept, damage):
    file, expected = kept
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    model = build()
    with pytest.warns(UserWarning, match=rf"{file} is damaged .*set aside as c\.damaged.*starts again"):
        history = train(model, checkpoint=file)
    assert history.iterations == 6 and equal(state(model), expected)
    assert file.with_name("c.damaged").read_bytes() == damaged
    # What it then wrote is whole.
    assert train(checkpoint=file).iterations == 6


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_a_flipped_bit_is_never_gone_on_from(tmp_path):
    file, model = tmp_path / "c", build()
    optimiser = adam(model)
    train(model, optimiser=optimiser, checkpoint=file)
    before, whole = (state(model), str(optimiser.state_dict())), file.read_bytes()

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, len(whole) - 1), st.integers(0, 7))
    def holds(at, bit):
        content = bytearray(whole)
        content[at] ^= 1 << bit
        file.write_bytes(content)
        found = checkpoints.load(file, model, optimiser)
        # Where the bit stood between the records nothing has changed.
        assert found is None or len(found["loss"]) == 6
        assert equal(state(model), before[0]) and str(optimiser.state_dict()) == before[1]

    holds()


@pytest.mark.parametrize(
    "other",
    [
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        lambda model: torch.optim.AdamW(model.parameters()),
        lambda model: torch.optim.Adam([model.bias, model.weight]),
        lambda model: torch.optim.Adam([model.bias]),
        lambda model: torch.optim.Adam([{"params": [model.weight]}, {"params": [model.bias]}]),
    ],
)
def test_a_checkpoint_of_another_optimiser_is_refused(kept, other):
    file, _ = kept
    model, content = build(5), file.read_bytes()
    before, optimiser = state(model), other(model)
    kind = str(optimiser.state_dict())
    with pytest.raises(TrainingError, match=r"^checkpoint: .*another optimiser"):
        train(model, optimiser=optimiser, checkpoint=file)
    assert equal(before, state(model)) and str(optimiser.state_dict()) == kind and file.read_bytes() == content


@pytest.mark.parametrize("other", [nn.Linear(2, 2, bias=False), nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 2))])
def test_a_checkpoint_of_another_model_changes_nothing(kept, other):
    file, _ = kept
    before = state(other)
    with pytest.raises(TrainingError, match=r"^checkpoint: .*another model"):
        train(other, checkpoint=file)
    assert equal(before, state(other))


def test_a_file_of_something_else_is_left_alone(tmp_path):
    file = tmp_path / "weights.pt"
    torch.save(build().state_dict(), file)
    content = file.read_bytes()
    with pytest.raises(TrainingError, match=r"^checkpoint: .*weights\.pt is no training checkpoint"):
        train(checkpoint=file)
    assert file.read_bytes() == content and os.listdir(tmp_path) == ["weights.pt"]


def test_a_checkpoint_executes_nothing(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"format": Harm()}, tmp_path / "c")
    with pytest.warns(UserWarning, match="damaged"):
        train(checkpoint=tmp_path / "c")
    assert not (tmp_path / "harm").exists()


def test_a_write_that_breaks_off_leaves_the_checkpoint_before(kept, monkeypatch):
    file, expected = kept
    before = file.read_bytes()

    def full(content, out):
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match=rf"could not be written \(No space left on device\): '{file}'"):
            train(checkpoint=file)
    assert file.read_bytes() == before and os.listdir(file.parent) == ["c"]
    model = build(9)
    train(model, checkpoint=file)
    assert equal(state(model), expected)


def test_a_checkpoint_is_on_the_disk_before_it_is_in_its_place(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda number, real=os.fsync: (order.append("fsync"), real(number)))
    monkeypatch.setattr(os, "replace", lambda a, b, real=os.replace: (order.append("replace"), real(a, b)))
    train(checkpoint=tmp_path / "c")
    # And its name is on the disk in the end.
    assert order == ["fsync", "replace", "fsync"]


def test_it_trains_with_torch_alone(tmp_path):
    """No progress bar, no safetensors, no pictures: none of them is the core's to ask for."""
    script = """
import sys
for name in ("tqdm", "safetensors", "PIL"):
    sys.modules[name] = None
import torch
from ncode import MLP, NeuralODE
from ncode.training import Batches, fit
model = NeuralODE(MLP(2))
x = torch.randn(32, 2)
for iterations in (3, 5):
    history = fit(model, lambda m, b: (m(b[0]).square().mean(), {}), Batches(x, size=8), iterations,
        torch.optim.Adam(model.parameters()), checkpoint=sys.argv[1])
assert history.iterations == 5
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "c")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
