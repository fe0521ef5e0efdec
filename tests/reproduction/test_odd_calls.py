"""Every public constructor and function under odd calls: a right answer, or one error that names the argument.

What is public is walked, not listed, so what is added is tried, too: with arguments that make sense by their
annotations, one of which is exchanged for something odd.
"""

import importlib
import inspect
import math
import pkgutil
import re
import signal
import warnings
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import ncode
from ncode.analysis.topology import icosphere, image_winding_number, winding_number
from ncode.controllers import OpenLoop
from ncode.fields.conv import ConvBlock
from ncode.fields.mlp import MLP
from ncode.models import NCODE, NeuralODE
from ncode.reproduction.metrics.clustering import clustering_accuracy
from ncode.reproduction.metrics.densities import kernel_density
from ncode.reproduction.metrics.features import DigitNetwork
from ncode.reproduction.metrics.frechet import moments
from ncode.reproduction.metrics.intervals import difference_interval, ratio_interval
from ncode.reproduction.models.encoders import ARCHITECTURES
from ncode.reproduction.models.images import augment
from ncode.reproduction.models.memory import HebbianNCODE, Task
from ncode.reproduction.models.memory_baselines import hidden_for
from ncode.solvers.errors import SolveError
from ncode.solvers.options import Solver

ELSEWHERE = {
    "ncode.arguments": "the rules themselves",
    "ncode.checkpoint": "files: test_fit_and_its_arguments",
    "ncode.files": "files: test_fit_and_its_arguments",
    "ncode.fields.kernels": "a solve's inside, checked where it is made",
    "ncode.reproduction.commands": "a command line",
    "ncode.reproduction.cli": "a command line",
    "ncode.reproduction.claims": "reads what is written beside it",
    "ncode.reproduction.data": "files: test_damaged_files",
    "ncode.reproduction.experiments": "takes configurations, which the command line checks",
    "ncode.reproduction.extras": "names what is not installed",
    "ncode.reproduction.interactive": "makes pages",
    "ncode.reproduction.plotting": "makes pages",
    "ncode.reproduction.profiles": "reads what is written beside it",
    "ncode.reproduction.publishing": "makes pages",
    "ncode.reproduction.runs": "files: test_runs",
    "ncode.reproduction.metrics.comparison": "takes records of runs",
    "ncode.reproduction.metrics.points": "rules",
    "ncode.solvers": "the engine's inside: test_solve",
}
INSIDE = {"ncode.solvers.hebbian", "ncode.solvers.linear"}
"""Public although what they lie in is not."""

SKIPPED = {
    "solve": "test_solve",
    "numbered": "test_fit_and_its_arguments",
    "Epochs": "test_fit_and_its_arguments",
    "fit": "test_fit_and_its_arguments",
    "inception_v3": "downloads",
    "efficientnet": "loads a large file",
    "keep_freed_memory": "changes the process",
    "plan": "the engine's inside",
    "faster": "the engine's inside",
    "dense": "the engine's inside",
    "kinetic": "called by a solve",
    "control_effort": "called by a solve",
    "by_model": "takes records of runs",
    "linear_flow": "test_linear_flow",
    "sparse_linear_flow": "test_linear_flow",
    "Reads": "private",
    "per_sample": "hot: test_fields",
}

NAN_IS_AN_ANSWER = {"interval", "difference_interval", "ratio_interval", "geometric_interval", "every", "augment"}
"""Where there are too few values, or one of them is not known; and a state with zeros behind it is what it was."""


def public():
    """(name, what) of every public constructor and function."""
    found = {}
    for module in pkgutil.walk_packages(ncode.__path__, "ncode."):
        if module.name not in INSIDE and any(f"{module.name}.".startswith(f"{name}.") for name in ELSEWHERE):
            continue
        loaded = importlib.import_module(module.name)
        for name, what in vars(loaded).items():
            if name.startswith("_") or getattr(what, "__module__", None) != module.name or not callable(what):
                continue
            if inspect.isclass(what) and (
                issubclass(what, Exception | tuple) or getattr(what, "_is_protocol", False) or holds(what)
            ):
                continue
            if name in SKIPPED or module.name.rpartition(".")[2] in SKIPPED:
                continue
            found[f"{module.name}.{name}"] = what
    return found


def holds(what):
    """Whether a class only holds what it is handed: a result's."""
    return is_dataclass(what) and "__post_init__" not in vars(what)


SIZES = {"batch": 4, "pairs": 4, "time": 3, "n": 4, "m": 3, "d": 2, "h": 6, "w": 6, "c": 2, "samples": 4, "k": 2}


def tensor_of(annotation):
    """A tensor, or an array, of the shape that an annotation says."""
    words = re.search(r"""['"](.*)['"]""", annotation).group(1).split()
    shape = [int(word) if word.isdigit() else SIZES.get(word.strip("*_"), 3) for word in words if word != "..."]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def steered():
    field = MLP(2, (3,))
    return NCODE(field, gamma=OpenLoop(2, field.size()))


def controlled():
    field = MLP(2, (3,))
    field.release("*")
    return field


def square(t):
    return torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t)], dim=1)


BY_NAME = {
    "OpenLoop.activation": lambda: "relu",
    "AugmentedNeuralODE.augment": lambda: 1,
    "DataControlledODE.field": lambda: MLP(2, inputs=2),
    "KernelController.field": lambda: ConvBlock(2, 4, filters=3),
    "KernelController.channels": lambda: 1,
    "NCODE.gamma": lambda: lambda x: torch.zeros(len(x), 162),
    "NCODE.g": lambda: lambda t, x, theta: 0 * theta,
    "Graphed.model": lambda: NeuralODE(MLP(2)),
    "Graphed.x0": lambda: torch.randn(4, 2),
    "Graphed.u": lambda: None,
    "path_cost.model": lambda: NeuralODE(MLP(2)),
    "path_cost.x0": lambda: torch.randn(4, 2),
    "path_cost.t": lambda: [0.0, 1.0],
    "path_cost.u": lambda: None,
    "path_cost.running": lambda: lambda point: point.x.sum(1),
    "path_cost.terminal": lambda: lambda x, theta: x.sum(1),
    "path_cost.discrete": lambda: lambda t, x, theta: x.sum(1),
    "control_deviation.scales": lambda: torch.ones(3),
    "equilibria.field": controlled,
    "equilibria.theta": lambda: torch.randn(2, 17),
    "equilibria.starts": lambda: 3,
    "equilibria.iterations": lambda: 3,
    "overtakings.x": lambda: torch.arange(4.0).expand(3, 4),
    "image_winding_number.f": lambda: lambda x: x,
    "image_winding_number.curve": lambda: square,
    "image_winding_number.point": lambda: torch.zeros(2),
    "image_winding_number.largest": lambda: 0.5,
    "degree.faces": lambda: torch.tensor([[0, 1, 2], [1, 2, 3]]),
    "degree.points": lambda: torch.randn(4, 3),
    "lowest_on_sphere.h": lambda: lambda x: x.sum(1),
    "lowest_on_sphere.points": lambda: 16,
    "lowest_on_sphere.radius": lambda: 1.0,
    "Field.slots": lambda: {"u": (2,)},
    "draw.density": lambda: kernel_density(np.random.default_rng(0).normal(size=(12, 3)), 0.1),
    "mixture.components": lambda: 2,
    "digit_features.network": lambda: DigitNetwork(8, 2, 3),
    "Features.call": lambda: lambda network, x: network(x),
    "extract.network": lambda: lambda x: x.reshape(len(x), -1),
    "frechet_distance.a": lambda: moments(np.random.default_rng(0).normal(size=(12, 3))),
    "frechet_distance.b": lambda: moments(np.random.default_rng(1).normal(size=(12, 3))),
    "Reference.size": lambda: 6,
    "Reference.components": lambda: 2,
    "is_above.interval": lambda: (1.0, 2.0),
    "is_below.interval": lambda: (1.0, 2.0),
    "every.answers": lambda: [True, None],
    "perceptual_path.features_at": lambda: lambda start, end, t: torch.lerp(start, end, t),
    "perceptual_path.times": lambda: 3,
    "linear.network": lambda: nn.Flatten(),
    "networks.architecture": lambda: ARCHITECTURES["mnist"],
    "networks.width": lambda: 0.02,
    "networks.kind": lambda: "perceptron",
    "networks.batch_norm": lambda: "",
    "Architecture.encoder": lambda: (4, 4),
    "scattered.k": lambda: 2,
    "scattered.m": lambda: 3,
    "AutoNCODE.entries": lambda: 2,
    "filters_for.parameters": lambda: 1000,
    "episodes.seed": lambda: 3,
    "Stream.device": lambda: "cpu",
    "hidden_for.kind": lambda: "lstm",
    "hidden_for.budget": lambda: 10_000,
    "VanDerPol.mu": lambda: 0.5,
    "winding_number.point": lambda: torch.zeros(2),
    "winding_number.curve": lambda: square(torch.arange(8) / 8),
    "flow.x": lambda: torch.randn(4, 3),
    "flow.theta": lambda: torch.randn(4, 3, 3),
    "flow.mu": lambda: torch.randn(3, 3),
    "flow.free": lambda: torch.ones(4, 3),
    "flow.method": lambda: "rk4",
    "HebbianNCODE.method": lambda: "rk4",
    "mlp.layers.hidden": lambda: (3,),
    "cosine.history": lambda: None,
    "Plateaus.name": lambda: "loss",
}
BY_ANNOTATION = {
    "int": lambda: 2,
    "float": lambda: 0.5,
    "bool": lambda: True,
    "str | Iterable[str]": lambda: "*",
    "Sequence[int]": lambda: (3,),
    "tuple[int, ...]": lambda: (3,),
    "Field": lambda: MLP(2),
    "ConvBlock": lambda: ConvBlock(2, 4, filters=3),
    "Solver": Solver,
    "nn.Module": lambda: nn.Linear(2, 2),
    "Task": lambda: Task(4, 2),
    "Points": lambda: np.random.default_rng(2).normal(size=(12, 3)),
    "Labels": lambda: np.arange(12) % 3,
    "Values": lambda: [1.0, 2.0, 4.0],
    "Sequence[Tensor]": lambda: (),
}
WORDS = {"activation": "tanh", "likelihood": "bernoulli", "normalisation": "row", "name": "a name"}


class NoExample(LookupError):
    """Of a kind of argument: what asks for it is no reader's to call, or has to be named above."""


def plain(annotation):
    return str(annotation).replace(" | None", "")


def sensible(name, parameter):
    short = name.rpartition(".")[2]
    annotation = plain(parameter.annotation)
    if (make := BY_NAME.get(f"{short}.{parameter.name}")) is not None:
        return make()
    if annotation in BY_ANNOTATION:
        return BY_ANNOTATION[annotation]()
    if annotation == "str" and parameter.name in WORDS:
        return WORDS[parameter.name]
    if "[Tensor," in annotation:
        return tensor_of(annotation)
    raise NoExample


TENSORS = [
    lambda x: x * math.nan,
    lambda x: x * math.inf,
    lambda x: x[:0],
    lambda x: x.unsqueeze(0),
    lambda x: x.sum(0) if x.dim() > 1 else x.sum(),
    lambda x: x.repeat(*[1] * (x.dim() - 1), 2),
    lambda x: x[:1],
    lambda x: x.long(),
    lambda x: x.tolist(),
    lambda x: x.numpy(),
    lambda x: "x",
    lambda x: None,
]
ARRAYS = [
    lambda x: x * math.nan,
    lambda x: x[:0],
    lambda x: x[None],
    lambda x: x[:1],
    lambda x: x[:, :1] if x.ndim > 1 else x[:5],
    lambda x: x.astype(str),
    lambda x: x.tolist(),
    lambda x: -x,
    lambda x: x + 10**12,
    lambda x: x.astype(complex),
    lambda x: None,
    lambda x: 3,
]
ODD = {
    "int": [-1, 0, 1, 2.5, math.nan, "3", None, torch.ones(2), [1]],
    "float": [-1.0, 0.0, 1.0, 3, 1e300, math.nan, math.inf, -math.inf, "1", None, torch.ones(2), 1j],
    "bool": ["no", 2, None],
    "str": ["", "nonsense", 3, None, ["tanh"]],
    "str | Iterable[str]": ["nonsense", "", [], ["*", "no"], 3, None, [3]],
    "Sequence[int]": [(0,), (-1,), (2.5,), "32", 3, None, ()],
    "tuple[int, ...]": [(0,), (-1,), (2.5,), "32", 3, None],
    "Values": [
        [],
        [1.0],
        [1.0, 2.0],
        [math.nan] * 3,
        [-1.0, 0.0, 1.0],
        "123",
        3.0,
        None,
        [[1.0], [2.0], [3.0]],
        ["a"] * 3,
    ],
}
OBJECTS = [None, 3, "x", object(), torch.ones(2), {}, [], lambda *_: None]


def oddities(name, parameter, usual):
    annotation = plain(parameter.annotation)
    if isinstance(usual, Tensor):
        return [change(usual) for change in TENSORS]
    if isinstance(usual, np.ndarray):
        return [change(usual) for change in ARRAYS]
    if annotation in ODD:
        return ODD[annotation]
    return OBJECTS


def sound(value):
    """Whether nothing in a result is NaN, infinite or empty."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, nn.Module):
        return all(sound(part) and part.numel() for part in value.parameters())
    if isinstance(value, tuple | list):
        return all(map(sound, value))
    return True


NEEDED = {"NCODE": "gamma"}
"""What is optional only where something else is given."""


def signature(what):
    given = inspect.signature(what).parameters.values()
    return [p for p in given if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def has_examples(name, what):
    try:
        return all(sensible(name, parameter) is not NoExample for parameter in signature(what))
    except NoExample:
        return False


PUBLIC = {name: what for name, what in public().items() if has_examples(name, what)}


def call(name, what, changed=None, value=None):
    """Call with sensible arguments, all but ``changed``; what is optional is left out every other time."""
    arguments = {
        parameter.name: sensible(name, parameter)
        for parameter in signature(what)
        if parameter.default is parameter.empty or parameter.name in (changed, NEEDED.get(name.rpartition(".")[2]))
    }
    if changed is not None:
        arguments[changed] = value
    if name.endswith(".Batches"):
        return what(torch.ones(8, 2), **arguments)
    return what(**arguments)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", PUBLIC)
def test_a_sensible_call_is_answered(unchecked, name):
    assert sound(call(name, PUBLIC[name]))
    for parameter in signature(PUBLIC[name]):
        call(name, PUBLIC[name], parameter.name, sensible(name, parameter))


def test_nothing_that_the_package_offers_is_left_out():
    def result(what):
        return inspect.isclass(what) and (
            holds(what) or issubclass(what, tuple) or getattr(what, "_is_protocol", False)
        )

    offered = {name for name in ncode.__all__ if callable(getattr(ncode, name)) and name not in SKIPPED}
    results = {name for name in offered if result(getattr(ncode, name))}
    assert {name.rpartition(".")[2] for name in PUBLIC} | results | {"SolveError", "Solver"} >= offered
    assert len(PUBLIC) > 75


def nan(*shape):
    return torch.full(shape, math.nan)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dim", lambda: MLP(0)),
        ("hidden", lambda: MLP(2, (0,))),
        ("channels", lambda: augment(torch.ones(2, 3, 4, 4), -1)),
        ("curve", lambda: winding_number(nan(5, 2), torch.zeros(2))),
        ("point", lambda: winding_number(torch.randn(5, 2), nan(2))),
        ("largest", lambda: image_winding_number(lambda x: x, square, torch.zeros(2), largest=0.0)),
        ("curve", lambda: image_winding_number(torch.randn_like, square, torch.zeros(2))),
        ("clusters", lambda: clustering_accuracy(np.array([0, 1, 1]), np.array([0, 1]))),
        ("clusters", lambda: clustering_accuracy(np.array([0, 1]), np.array([0, 10**9]))),
        ("features", lambda: moments(np.full((5, 2), math.nan))),
        ("stimuli", lambda: HebbianNCODE(Task(4, 2))(nan(5, 3, 4))),
        ("stimuli", lambda: HebbianNCODE(Task(4, 2))(torch.ones(5, 3, 6))),
        ("b", lambda: difference_interval([1.0, 2.0, 3.0], [1.0])),
        ("a", lambda: ratio_interval([1.0, 0.0], [1.0, 1.0])),
        ("budget", lambda: hidden_for("lstm", Task(1000, 5), 10)),
        ("steer", lambda: NCODE(MLP(2), gamma=lambda x: x, steer=[])),
        ("level", lambda: icosphere(40)),
    ],
)
def test_what_went_wrong_is_refused(unchecked, name, wrong):
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
        wrong()


def test_a_name_may_come_from_an_iterator():
    model = NCODE(MLP(2), gamma=OpenLoop(2, 66), steer=(f"layers.1.{kind}" for kind in ("weight", "bias")))
    assert set(model.field.steered) == {"layers.1.weight", "layers.1.bias"}


class Unbounded(Exception):
    """A call that goes on and on."""


@contextmanager
def bounded(seconds=60, gigabytes=8):
    """Ends what takes far more time or memory than any call here; on Linux, where both can be said."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return

    def late(*_):
        raise Unbounded(f"not done after {seconds} s")

    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(pages.read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (now + (gigabytes << 30), before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def trial(name, parameter, value):
    """What is wrong with a call's outcome, or nothing."""
    what = PUBLIC[name]
    shown = f"{name}({parameter.name}={value!r:.80})"
    try:
        with bounded():
            answer = call(name, what, parameter.name, value)
    except (ValueError, TypeError) as error:
        return "" if re.search(rf"\b{parameter.name}\b", str(error)) else f"{shown} does not name it: {error!r:.200}"
    except SolveError:
        return ""
    except Exception as error:
        return f"{shown} raises {error!r:.200}"
    short = name.rpartition(".")[2]
    return "" if sound(answer) or short in NAN_IS_AN_ANSWER else f"{shown} gives {answer!r:.100}"


@pytest.mark.parametrize("name", [name for name in PUBLIC if signature(PUBLIC[name])])
def test_an_odd_call_is_answered_or_named(unchecked, name):
    parameters = signature(PUBLIC[name])

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data):
        parameter = data.draw(st.sampled_from(parameters), label="parameter")
        odd = oddities(name, parameter, sensible(name, parameter))
        value = odd[data.draw(st.integers(0, len(odd) - 1), label="odd")]
        assert not trial(name, parameter, value)

    holds()
