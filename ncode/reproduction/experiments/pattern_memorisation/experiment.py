"""Memorise patterns in real time (Section 4.3, Figs. 6 and A.3), with every learner alike.

Each training episode is new, so its bit error, taken before the step, is a test error: the learning curve needs no
evaluations. Validation and test episodes come from streams of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ncode.reproduction import profiles
from ncode.reproduction.models.memory import (
    HebbianNCODE,
    NearestNeighbour,
    Stream,
    Task,
    bit_error,
    episodes,
    hebbian_rule,
)
from ncode.reproduction.models.memory_baselines import BASELINES, PRINTED, hidden_for, parameters
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.store import Result, fingerprint
from ncode.solvers import hebbian
from ncode.training import History, fit

LEARNERS = ("ncode", *BASELINES, "hebb", "oracle")

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Config:
    """One run of one learner.

    Attributes:
        learner: one of :data:`LEARNERS`; ``hebb`` and ``oracle`` learn nothing.
        seed: of initialisation and training episodes. Validation and test episodes are the same for all.
        bits, patterns, degraded: n, m, p (see :class:`ncode.reproduction.models.memory.Task`).
        iterations: of Adam.
        batch: training episodes an iteration.
        learning_rate: Adam's.
        clamp, leak, learn_theta0, method, steps: variants of Eq. 7 (see
        :class:`ncode.reproduction.models.memory.HebbianNCODE`).
        spread: standard deviation of μ's initial entries.
        strength: of ``hebb``'s constant μ, times 1/n.
        diagonal: of ``hebb``'s μ, times 1/n, where it differs.
        hidden: size of a baseline; by default as many parameters as μ has, n².
        lstm_steps: steps of the LSTM in each presentation.
        printed: whether data control and the ODE-RNN are the single layers that C.3 describes, of 2n² entries, as many
            as μ and a learned θ(0) have.
        validation_episodes, test_episodes: not seen in training.
        device: where it trains; ``"cuda"`` means the CPU where there is no GPU.
    """

    learner: str
    seed: int
    bits: int = 100
    patterns: int = 3
    degraded: float = 0.5
    iterations: int = 200
    batch: int = 1
    learning_rate: float = 3e-4
    clamp: bool = False
    leak: float = 0.0
    learn_theta0: bool = False
    method: str = "rk4"
    steps: int = 1
    spread: float = 0.01
    strength: float = 1.0
    diagonal: float | None = None
    hidden: int | None = None
    lstm_steps: int = 1
    printed: bool = False
    validation_episodes: int = 200
    test_episodes: int = 500
    device: str = "cpu"


def task(config: Config) -> Task:
    """The configuration's task."""
    return Task(config.bits, config.patterns, config.degraded)


def followed(settings: Mapping) -> dict:
    """What follows from settings, for the comparison with the paper's: how a pattern is shown."""
    return {"shows": Task.shows, "duration": Task.duration}


def build(config: Config) -> nn.Module:
    """The learner, initialised by the configuration's seed.

    Raises:
        ValueError: when the learner is none of :data:`LEARNERS`.
    """
    torch.manual_seed(config.seed)
    what, n = task(config), config.bits
    dynamics = {name: getattr(config, name) for name in ("clamp", "leak", "method", "steps")}
    if config.learner == "ncode":
        return HebbianNCODE(what, spread=config.spread, learn_theta0=config.learn_theta0, **dynamics)
    if config.learner == "hebb":
        diagonal = config.strength if config.diagonal is None else config.diagonal
        return hebbian_rule(what, config.strength / n, diagonal / n, **dynamics)
    if config.learner == "oracle":
        return NearestNeighbour()
    if config.learner not in BASELINES:
        raise ValueError(f"learner: {config.learner!r} is not one of {', '.join(LEARNERS)}")
    if config.printed and config.learner in PRINTED:
        return PRINTED[config.learner](what)
    hidden = config.hidden or hidden_for(config.learner, what, n * n)
    if config.learner == "lstm":
        return BASELINES["lstm"](what, hidden, config.lstm_steps)
    return BASELINES[config.learner](what, hidden)


def train(config: Config, checkpoint: Path | None = None) -> Result:
    """Train and test one learner.

    Returns:
        ``error``, the mean bit error on the test episodes, and ``error_std``, its standard deviation over them;
        ``unknown_error``, over the query's unknown bits alone; ``squared_error``; ``validation_error``;
        ``parameters``; of a trained μ, ``mu_mean``, ``mu_std`` and ``mu_diagonal``, the mean of its diagonal. The
        history's ``error`` is each training episode's bit error before the step.
    """
    hebbian.keep_freed_memory()
    device = torch.device(config.device if torch.cuda.is_available() else "cpu")
    model = build(config).to(device)
    history = History()
    if size := parameters(model):
        history = fit(
            model,
            _loss,
            Stream(task(config), config.batch, (config.seed, TRAIN), device),
            config.iterations,
            torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.learning_rate, fused=True),
            checkpoint=checkpoint,
            checkpoint_every=500,
            label=f"memory {config.learner} {config.bits} {config.patterns} {config.degraded} {config.seed}",
        )
    metrics, data = _measure(model, config, TEST, config.test_episodes)
    validation, _ = _measure(model, config, VALIDATION, config.validation_episodes)
    metrics |= {"validation_error": validation["error"], "parameters": size}
    if config.learner == "ncode":
        mu = model.mu.detach()
        metrics |= {"mu_mean": mu.mean().item(), "mu_std": mu.std().item(), "mu_diagonal": mu.diag().mean().item()}
    # μ is what a reader may want to look at; a baseline's weights say nothing.
    keep = model if isinstance(model, HebbianNCODE) and config.bits <= 200 else None
    return Result(metrics, history, keep, data=data)


def _loss(model, batch):
    output = model(batch.stimuli)
    error = bit_error(output.detach(), batch.target).mean().item()
    return (output - batch.target).square().mean(), {"error": error}


def _measure(model: nn.Module, config: Config, stream: int, count: int) -> tuple[dict[str, float], str]:
    """Errors on ``count`` episodes of a stream, a few at a time: each holds its own n × n matrix."""
    chunk = max(1, 10**7 // config.bits**2)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    errors, unknown, squares, prints = [], [], [], []
    model.eval()
    for k in range(0, count, chunk):
        stimuli, target = episodes(task(config), min(chunk, count - k), (10**6, stream, k))
        prints.append(fingerprint(stimuli))
        stimuli, target = stimuli.to(device), target.to(device)
        with torch.no_grad():
            output = model(stimuli)
        hidden = stimuli[-1] == 0
        errors.append(bit_error(output, target))
        unknown.append((1 - output.sign() * target)[hidden] / 2)
        squares.append((output - target).square().mean(1))
    errors = torch.cat(errors)
    metrics = {
        "error": errors.mean().item(),
        "error_std": errors.std(correction=0).item(),
        "unknown_error": torch.cat(unknown).mean().item(),
        "squared_error": torch.cat(squares).mean().item(),
    }
    return metrics, prints[0]


# A baseline's size and name: as many parameters as μ has, and with a state too wide to be a bottleneck. The LSTM is
# larger than μ, as in the paper.
BASELINE_SIZES = (("lstm", 256), ("ode_rnn", None), ("ode_rnn", 128), ("data", None), ("data", 128))
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def large(seed: int, learner: str = "ncode") -> list[Config]:
    """Fig. A.3's second panel at the paper's size, n = 1000: every m and p, for one seed."""
    return [
        Config(
            learner,
            seed,
            bits=1000,
            patterns=m,
            degraded=p,
            iterations=300 if m == 10 else 150,
            validation_episodes=1,
            test_episodes=30,
        )
        for m in (2, 3, 5, 10)
        for p in (0.5, 0.7, 0.9)
    ]


def sweep() -> list[Config]:
    """Every baseline at n = 100, m = 5, p = 0.5 with every learning rate, on a seed of its own."""
    common = {"patterns": 5, "iterations": 1000, "batch": 16, "test_episodes": 1}
    return [
        Config(kind, 100, learning_rate=rate, hidden=hidden, **common)
        for kind, hidden in BASELINE_SIZES
        for rate in RATES
    ]


# The short sweep prefers this rate, and with it training breaks down later, on every seed: the recorded baselines
# show that too.
UNSTABLE = {("data", None): (1e-2,)}


def best_rate(learner: str, hidden: int | None) -> float:
    """The learning rate with the lowest validation error in the recorded sweep, of those that last."""
    runs = [
        run
        for run in recordings.load("pattern_memorisation_sweep")
        if (run.config["learner"], run.config["hidden"]) == (learner, hidden)
        and run.config["learning_rate"] not in UNSTABLE.get((learner, hidden), ())
    ]
    return min(runs, key=lambda run: run.metrics["validation_error"]).config["learning_rate"]


def baselines(seeds: int = 3, iterations: int = 4000) -> list[Config]:
    """Every baseline at n = 100, m = 5, p = 0.5, with the rate that the sweep chose for it, and what broke down."""
    chosen = [(kind, hidden, best_rate(kind, hidden)) for kind, hidden in BASELINE_SIZES]
    chosen += [(*which, rate) for which, rates in UNSTABLE.items() for rate in rates]
    common = {"patterns": 5, "iterations": iterations, "batch": 16}
    return [
        Config(kind, seed, hidden=hidden, learning_rate=rate, **common)
        for seed in range(seeds)
        for kind, hidden, rate in chosen
    ]


# Variants of Eq. 7, named. μ starts nearly constant where its spread is small.
VARIANTS = {
    "Eq. 7": {},
    "leak 1": {"leak": 1.0},
    "small spread, batch 16": {"spread": 1e-3, "batch": 16},
    "clamped": {"clamp": True},
    "clamped, θ0 learned": {"clamp": True, "learn_theta0": True},
    "clamped, small spread": {"clamp": True, "spread": 1e-3},
    "clamped, small spread, batch 16": {"clamp": True, "spread": 1e-3, "batch": 16},
}


def variants(seeds: int = 3, iterations: int = 300) -> list[Config]:
    """What the hard case n = 100, m = 10, p = 0.5 can reach: variants of Eq. 7, trained and not."""
    common = {"patterns": 10}
    rules = [
        Config("hebb", 0, strength=b, diagonal=a * b, clamp=clamp, **common)
        for clamp in (False, True)
        for b in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
        for a in (0.0, 1.0)
    ]
    trained = [
        Config("ncode", s, iterations=iterations, **common, **options)
        for s in range(seeds)
        for options in VARIANTS.values()
    ]
    return [Config("oracle", 0, **common), *rules, *trained]


def printed() -> list[Config]:
    """Fig. 6 as Section 4.3 and C.3 print it (``profiles.toml``): both n, all models, N-CODE with a learned θ(0)."""
    plan = profiles.load("pattern_memorisation_recorded", "paper")["printed"]
    shared = {name: plan[name] for name in ("patterns", "learning_rate", "lstm_steps", "test_episodes", "device")}
    own = {
        "ncode": {"iterations": plan["iterations"], "learn_theta0": plan["learn_theta0"]},
        "lstm": {"iterations": plan["baseline_iterations"], "hidden": plan["lstm_units"]},
    }
    others = {"iterations": plan["baseline_iterations"], "printed": True}
    return [
        Config(learner, seed, bits=bits, **shared, **own.get(learner, others))
        for bits in plan["bits"]
        for seed in range(plan["seeds"])
        for learner in ("ncode", *BASELINES)
    ]


def recorded() -> dict[str, Callable[[], list[Config]]]:
    """The recordings behind the book: runs that take longer than a page should, in the order in which to make them.

    The n = 1000 cases come once before any is repeated: a recording that was cut short shows every case.
    """
    return {
        "pattern_memorisation_sweep": sweep,
        "pattern_memorisation_baselines": baselines,
        "pattern_memorisation_1000": lambda: [
            *large(0),
            *large(0, "hebb"),
            *large(0, "oracle"),
            *large(1),
            *large(2),
        ],
        "pattern_memorisation_variants": variants,
        "pattern_memorisation_printed": printed,
    }
