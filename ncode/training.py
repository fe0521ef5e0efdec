"""One training loop for every experiment: history, failed solves counted, early stop, exact resume.

A run that is interrupted and continued ends in the same bits as one that was not: batches are a function of the
seed and the iteration alone, and a checkpoint holds the weights, the optimiser, the random state and the history.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ncode.models import find_flows
from ncode.reproduction.runs.files import load_tensors, save_tensors
from ncode.solvers.errors import SolveError

Loss = Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, Mapping[str, float]]]
"""From the model and a batch to the loss and any metrics to keep beside it."""


Schedule = Callable[[float, "History"], float]
"""From progress in [0, 1) and the history so far to what the optimiser's learning rates are multiplied by.

A function of these alone, so that nothing of it needs resuming.
"""


class TrainingError(RuntimeError):
    """Training that cannot go on: too many steps failed in a row."""


@runtime_checkable
class Source(Protocol):
    """Where batches come from: number k is a function of k alone, so that a run can resume anywhere."""

    def __getitem__(self, k: int) -> tuple[Tensor, ...]: ...


class Batches:
    """Shuffled batches of some tensors: batch k is a function of ``(seed, k)`` alone, so a run can resume anywhere.

    Args:
        tensors: all with the samples as their first dimension.
        size: of a batch; ``None`` for all samples, unshuffled. The last, smaller batch of an epoch is dropped.
        seed: of the shuffling.

    Raises:
        ValueError: on tensors of different lengths, or a batch larger than the data.
    """

    def __init__(self, *tensors: Tensor, size: int | None = None, seed: int = 0):
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1:
            raise ValueError(f"tensors: have different lengths {sorted(lengths)}")
        (self.samples,) = lengths
        if size is not None and not 0 < size <= self.samples:
            raise ValueError(f"size: must lie between 1 and {self.samples}, not {size}")
        self.tensors, self.size, self.seed = tensors, size, seed
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def per_epoch(self) -> int:
        """Batches in one epoch."""
        return 1 if self.size is None else self.samples // self.size

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        """Batch number ``k``, counted over all epochs."""
        if self.size is None:
            return self.tensors
        epoch, position = divmod(k, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            # Seeded by the pair: neighbouring seeds and epochs must not share their shuffles.
            order = np.random.default_rng([self.seed, epoch]).permutation(self.samples)
            self._epoch = epoch, torch.from_numpy(order)
        rows = self._epoch[1][position * self.size : (position + 1) * self.size]
        return tuple(tensor[rows.to(tensor.device)] for tensor in self.tensors)


@dataclass
class History:
    """What training left behind, one entry an iteration unless said otherwise.

    Attributes:
        loss: the training loss; NaN where the solve failed.
        metrics: by name, whatever the loss gave beside itself, one entry an iteration.
        evaluations: by name, the evaluation's results, one entry each time it ran.
        nfe_forward, nfe_backward: evaluations, summed over the model's flows.
        seconds: wall-clock time of each iteration.
        evaluated: the iterations after which the evaluation ran.
        failures: ``{iteration, reason, sample, t}`` of every failed step; ``evaluation`` besides where it was one.
    """

    loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    evaluations: dict[str, list[float]] = field(default_factory=dict)
    nfe_forward: list[int] = field(default_factory=list)
    nfe_backward: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    failures: list[dict] = field(default_factory=list)

    @property
    def iterations(self) -> int:
        return len(self.loss)


def fit(
    model: nn.Module,
    loss: Loss,
    batches: Source,
    iterations: int,
    optimiser: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    schedule: Schedule | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    evaluate_every: int = 100,
    until: Callable[[History], bool] | None = None,
    patience: int = 20,
    checkpoint: Path | None = None,
    checkpoint_every: int = 200,
    label: str = "",
) -> History:
    """Train ``model`` for ``iterations`` steps, or go on from a checkpoint that is there.

    A solve that fails, or a loss or gradient that is not finite, costs its step: it is recorded, the parameters stay as
    they were, and training goes on with the next batch. A solve that fails in an evaluation is recorded, too, and its
    results are NaN.

    Args:
        model: any module; the evaluations of the flows inside it are counted.
        loss: see :data:`Loss`; its metrics are kept every iteration.
        batches: what is trained on.
        iterations: how many steps in all, those before the checkpoint included.
        optimiser: over the model's parameters.
        clip: largest norm of the gradient, where it is clipped.
        schedule: of the learning rate, such as :func:`cosine` or :class:`Plateaus`; see :data:`Schedule`.
        evaluate: called without gradients every ``evaluate_every`` iterations and after the last.
        until: stop early when this is true of the history.
        patience: how many steps in a row may fail before training gives up.
        checkpoint: a file to keep what a continuation needs; a finished run's stays until somebody removes it.
        label: what the progress bar says.

    Raises:
        TrainingError: when ``patience`` steps in a row failed, or the checkpoint belongs to another model.
    """
    history = History()
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, model, optimiser)
        if until is not None and history.iterations and until(history):
            return history
    flows = find_flows(model)
    failed_in_a_row = _failed_in_a_row(history)
    for k in _progress(history.iterations, iterations, label):
        start = time.perf_counter()
        if schedule is not None:
            for group in optimiser.param_groups:
                # Kept in the group, and so in the checkpoint: a resumed group's "lr" is the last scheduled one.
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * schedule(k / iterations, history)
        try:
            value, metrics = _step(model, loss, batches[k], optimiser, clip)
            failed_in_a_row = 0
        except (SolveError, FloatingPointError) as error:
            value, metrics = math.nan, {}
            history.failures.append(_describe(k, error))
            failed_in_a_row += 1
            if failed_in_a_row == patience:
                raise TrainingError(f"{patience} steps in a row failed; the last: {error}") from error
        history.loss.append(value)
        for name in {**history.metrics, **metrics}:
            # A failed step has no metrics: NaN keeps every list one entry an iteration.
            history.metrics.setdefault(name, [math.nan] * k).append(metrics.get(name, math.nan))
        history.nfe_forward.append(sum(flow.nfe.forward for flow in flows))
        history.nfe_backward.append(sum(flow.nfe.backward for flow in flows))
        done = k + 1 == iterations
        if evaluate is not None and (done or (k + 1) % evaluate_every == 0):
            try:
                _evaluate(model, evaluate, history)
            except SolveError as error:
                history.failures.append({**_describe(k, error), "evaluation": True})
                _add_evaluation(history, dict.fromkeys(history.evaluations, math.nan))
        history.seconds.append(time.perf_counter() - start)
        stop = until is not None and until(history)
        if checkpoint is not None and (done or stop or (k + 1) % checkpoint_every == 0):
            _save(checkpoint, model, optimiser, history)
        if stop:
            break
    return history


def cosine(progress: float, history: History | None = None) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Plateaus:
    """A :data:`Schedule` that halves the rate every time an evaluation's loss plateaus.

    A plateau is ``patience`` evaluations in a row that bring no loss below the best so far, by more than ``threshold``
    of it. Counting begins anew after each. A failed evaluation's NaN brings nothing.

    Attributes:
        name: of the evaluation.
        patience: evaluations.
        threshold: a share of the best loss.
    """

    name: str
    patience: int
    threshold: float = 1e-4

    def __call__(self, progress: float, history: History) -> float:
        best, waited, halvings = math.inf, 0, 0
        for loss in history.evaluations.get(self.name, ()):
            needed = best - self.threshold * abs(best) if math.isfinite(best) else best
            if loss < needed:
                best, waited = loss, 0
            else:
                waited += 1
            if waited == self.patience:
                waited, halvings = 0, halvings + 1
        return 0.5**halvings


def _step(model, loss, batch, optimiser, clip) -> tuple[float, Mapping[str, float]]:
    model.train()
    optimiser.zero_grad(set_to_none=True)
    value, metrics = loss(model, batch)
    if not torch.isfinite(value):
        raise FloatingPointError("non-finite loss")
    value.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if clip is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
    if not torch.isfinite(norm):
        raise FloatingPointError("non-finite gradient")
    optimiser.step()
    return value.item(), {name: float(number) for name, number in metrics.items()}


def _describe(k: int, error: Exception) -> dict:
    if isinstance(error, SolveError):
        return {"iteration": k, "reason": error.reason, "sample": error.sample, "t": error.t}
    return {"iteration": k, "reason": str(error), "sample": None, "t": None}


def _failed_in_a_row(history: History) -> int:
    """How many steps failed at the end of a history: a continuation is as patient as what it continues."""
    failed = {failure["iteration"] for failure in history.failures if not failure.get("evaluation")}
    count = 0
    while history.iterations - 1 - count in failed:
        count += 1
    return count


def _evaluate(model: nn.Module, evaluate, history: History) -> None:
    model.eval()
    with torch.no_grad():
        results = evaluate(model)
    _add_evaluation(history, results)


def _add_evaluation(history: History, results: Mapping[str, float]) -> None:
    history.evaluated.append(history.iterations)
    for name, number in results.items():
        history.evaluations.setdefault(name, []).append(float(number))


def _progress(start: int, stop: int, label: str) -> Iterator[int]:
    # Where nobody watches, TQDM_DISABLE=1 silences it.
    return iter(tqdm(range(start, stop), desc=label, initial=start, total=stop, leave=False, mininterval=0.5))


def _save(checkpoint: Path, model: nn.Module, optimiser: torch.optim.Optimizer, history: History) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    state = optimiser.state_dict()
    scalars: dict[str, dict] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    text = {"history": asdict(history), "groups": state["param_groups"], "scalars": scalars}
    save_tensors(checkpoint, tensors, json.dumps(text))


def _resume(checkpoint: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> History:
    tensors, text = load_tensors(checkpoint)
    saved = json.loads(text)
    weights = {name[len("model.") :]: value for name, value in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"{checkpoint} belongs to another model: {error}") from error
    state: dict[int, dict] = {int(index): dict(entries) for index, entries in saved["scalars"].items()}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".", 2)
            state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": saved["groups"]})
    torch.set_rng_state(tensors["random"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return History(**saved["history"])
