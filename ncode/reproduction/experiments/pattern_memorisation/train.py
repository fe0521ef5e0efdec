"""Memorise patterns in real time (Section 4.3, Figs. 6 and A.3), with every learner alike.

Each training episode is new, so its bit error, taken before the step, is a test error: the learning curve needs no
evaluations. Validation and test episodes come from streams of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

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
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
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


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
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
    return RunOutput(metrics, history, keep, data=data)


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


experiment = Experiment("pattern_memorisation", Config, build, train, plans=f"{__package__}.plans")
