"""One training loop for every experiment: history, failed solves counted, early stop, exact resume.

A run that is interrupted and continued ends in the same bits as one that was not: batches are a function of the
seed and the iteration alone, and a checkpoint holds the weights, the optimiser, the random state and the history.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ncode import checkpoint as checkpoints
from ncode.arguments import arguments, function, instance, integer, optional, real
from ncode.batches import Batches, Source, numbered
from ncode.models import find_flows
from ncode.modes import evaluating
from ncode.solvers.errors import SolveError

__all__ = ["Batches", "History", "Loss", "Plateaus", "Schedule", "Source", "TrainingError", "cosine", "fit"]

Loss = Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, Mapping[str, float]]]
"""From the model and a batch to the loss and any metrics to keep beside it."""


Schedule = Callable[[float, "History"], float]
"""From progress in [0, 1) and the history so far to what the optimiser's learning rates are multiplied by.

A function of these alone, so that nothing of it needs resuming.
"""


class TrainingError(RuntimeError):
    """Training that cannot go on: too many steps failed in a row."""


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


@arguments(
    model=instance(nn.Module),
    loss=function,
    iterations=integer(0),
    optimiser=instance(torch.optim.Optimizer),
    clip=optional(real(above=0, infinite=True)),
    schedule=optional(function),
    evaluate=optional(function),
    evaluate_every=integer(1),
    until=optional(function),
    patience=integer(1),
    checkpoint=optional(instance(str, PathLike)),
    checkpoint_every=integer(1),
    label=instance(str),
)
def fit(
    model: nn.Module,
    loss: Loss,
    batches: Source | Iterable[Any],
    iterations: int,
    optimiser: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    schedule: Schedule | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    evaluate_every: int = 100,
    until: Callable[[History], bool] | None = None,
    patience: int = 20,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_every: int = 200,
    label: str = "",
) -> History:
    """Train ``model`` for ``iterations`` steps, or go on from a checkpoint that is there.

    A solve that fails, or a loss or gradient that is not finite, costs its step: it is recorded, the parameters stay as
    they were, and training goes on with the next batch. A solve that fails in an evaluation is recorded, too, and its
    results are NaN.

    Args:
        model: any module; the evaluations of the flows inside it are counted, those of the last call in each step. It
            is trained in training mode, and left so. Modules of it that are in evaluation mode stay so, as a frozen
            normalisation should, unless all of it is.
        loss: see :data:`Loss`; its metrics are kept every iteration.
        batches: what is trained on: :class:`~ncode.batches.Batches`, anything that gives batch k as ``batches[k]``, or
            an iterable with a length, such as a ``DataLoader``, which is begun again every epoch.
        iterations: how many steps in all, those before the checkpoint included.
        optimiser: over the model's parameters. One whose step asks for the loss again, such as L-BFGS, is given it; the
            loss and the metrics that are kept are those of its first question.
        clip: largest norm of the gradient, where it is clipped.
        schedule: of the learning rate, such as :func:`cosine` or :class:`Plateaus`; see :data:`Schedule`.
        evaluate: called in evaluation mode, without gradients, every ``evaluate_every`` iterations and after the last.
        until: stop early when this is true of the history.
        patience: how many steps in a row may fail before training gives up.
        checkpoint: a file to keep what a continuation needs; a finished run's stays until somebody removes it. A
            damaged one is set aside with a warning, and training starts again.
        label: what the progress bar says, where ``tqdm`` is installed.

    Raises:
        TrainingError: when ``patience`` steps in a row failed, or the checkpoint belongs to another model or optimiser.
        TypeError, ValueError: before the first step, naming the argument that makes no sense; at the first step, when
            the loss gives something else than one number that depends on the parameters, and a mapping.
    """
    moved = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    if not any(id(parameter) in moved for parameter in model.parameters()):
        raise ValueError("optimiser: moves none of the model's parameters")
    file = None if checkpoint is None else Path(checkpoint)
    history = History()
    if file is not None:
        history = _resume(file, model, optimiser)
        if until is not None and history.iterations and until(history):
            return history
    source, flows = numbered(batches, iterations), find_flows(model)
    if not model.training:
        # Once, and not where it is in training mode: a module of it may be in evaluation mode for good.
        model.train()
    failed_in_a_row = _failed_in_a_row(history)
    for k in _progress(history.iterations, iterations, label):
        start = time.perf_counter()
        if schedule is not None:
            _scale_rates(optimiser, schedule(k / iterations, history))
        try:
            value, metrics = _step(model, loss, source[k], optimiser, clip)
            failed_in_a_row = 0
        except (SolveError, FloatingPointError) as error:
            value, metrics = math.nan, {}
            history.failures.append(_describe(k, error))
            failed_in_a_row += 1
            if failed_in_a_row >= patience:
                raise TrainingError(f"{failed_in_a_row} steps in a row failed; the last: {error}") from error
        history.loss.append(value)
        _append(history.metrics, metrics, k)
        history.nfe_forward.append(sum(flow.nfe.forward for flow in flows))
        history.nfe_backward.append(sum(flow.nfe.backward for flow in flows))
        done = k + 1 == iterations
        if evaluate is not None and (done or (k + 1) % evaluate_every == 0):
            _evaluate(model, evaluate, history)
        history.seconds.append(time.perf_counter() - start)
        stop = until is not None and until(history)
        if file is not None and (done or stop or (k + 1) % checkpoint_every == 0):
            checkpoints.save(file, model, optimiser, asdict(history))
        if stop:
            break
    return history


@arguments(progress=real())
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

    def __post_init__(self):
        integer(1)("patience", self.patience)
        real(least=0)("threshold", self.threshold)

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


def _scale_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    if not 0 <= factor < math.inf:
        raise ValueError(f"schedule: must give factors that are finite and not negative, not {factor}")
    for group in optimiser.param_groups:
        rate = group["lr"]
        # Kept in the group, and so in the checkpoint: a resumed group's "lr" is the last scheduled one.
        first = group.setdefault("initial_lr", rate.clone() if isinstance(rate, Tensor) else rate)
        if isinstance(rate, Tensor):
            # In place: a captured or compiled step reads this tensor.
            rate.copy_(first * factor)
        else:
            group["lr"] = first * factor


def _step(model, loss, batch, optimiser, clip) -> tuple[float, Mapping[str, float]]:
    kept: list[tuple[float, Mapping[str, float]]] = []

    def evaluated() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        value, metrics = _checked(loss(model, batch))
        if not torch.isfinite(value):
            raise FloatingPointError("non-finite loss")
        value.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if clip is not None:
            nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
        if not torch.isfinite(norm):
            raise FloatingPointError("non-finite gradient")
        kept.append((value.item(), {name: _number(f"loss: {name}", number) for name, number in metrics.items()}))
        return value

    if _asks_again(optimiser):
        with _undone_on_failure(optimiser):
            optimiser.step(evaluated)
    else:
        evaluated()
        optimiser.step()
    return kept[0]


def _checked(given: Any) -> tuple[Tensor, Mapping[str, Any]]:
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[1], Mapping):
        raise TypeError(f"loss: must give the loss and a mapping of metrics, not {type(given).__name__}")
    value, metrics = given
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss: must be one real number, not {what}")
    if not value.requires_grad:
        raise ValueError("loss: depends on no parameter that is trained")
    return value, metrics


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: must be one number, not {value!r:.60}") from error


def _asks_again(optimiser: torch.optim.Optimizer) -> bool:
    """Whether a step evaluates the loss by itself, once or several times."""
    closure = inspect.signature(optimiser.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


@contextmanager
def _undone_on_failure(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Put parameters and optimiser back where a step began that fails on its way."""
    moved = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    values, state = [parameter.detach().clone() for parameter in moved], copy.deepcopy(optimiser.state_dict())
    try:
        yield
    except (SolveError, FloatingPointError):
        with torch.no_grad():
            for parameter, value in zip(moved, values, strict=True):
                parameter.copy_(value)
        optimiser.load_state_dict(state)
        raise


def _describe(k: int, error: Exception) -> dict[str, Any]:
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


def _append(columns: dict[str, list[float]], row: Mapping[str, float], before: int) -> None:
    """One entry in every column: NaN where the row has none, and above a column that begins now."""
    for name in {**columns, **row}:
        columns.setdefault(name, [math.nan] * before).append(row.get(name, math.nan))


def _evaluate(model: nn.Module, evaluate: Callable[[nn.Module], Mapping[str, float]], history: History) -> None:
    try:
        with evaluating(model), torch.no_grad():
            results = evaluate(model)
        if not isinstance(results, Mapping):
            raise TypeError(f"evaluate: must give a mapping from names to numbers, not {type(results).__name__}")
    except SolveError as error:
        history.failures.append({**_describe(history.iterations - 1, error), "evaluation": True})
        results = {}
    numbers = {name: _number(f"evaluate: {name}", number) for name, number in results.items()}
    _append(history.evaluations, numbers, len(history.evaluated))
    history.evaluated.append(history.iterations)


def _progress(start: int, stop: int, label: str) -> Iterable[int]:
    steps = range(start, stop)
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    # Where nobody watches, TQDM_DISABLE=1 silences it.
    return tqdm(steps, desc=label, initial=start, total=stop, leave=False, mininterval=0.5)


def _resume(file: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> History:
    try:
        saved = checkpoints.load(file, model, optimiser)
    except checkpoints.OtherRun as error:
        raise TrainingError(str(error)) from error
    try:
        return History() if saved is None else History(**saved)
    except TypeError as error:
        raise TrainingError(f"checkpoint: {file} has the history of another version; remove it") from error
