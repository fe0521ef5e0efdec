"""What training several seeds as one batched model would gain: a step of all seeds, as a ratio to one seed's step.

    python -m benchmarks.seeds [--seeds 3]

The seeds' parameters are stacked (``torch.func.stack_module_state``), and one step of all is the gradient of the sum of
their losses, through ``torch.func.functional_call`` under ``torch.func.vmap``. Each seed has its own batch. Beside it
stands what a worker does: the seeds one after another, as separate models do it. Both in one process, interleaved, one
thread, the processor's seconds, medians. A ratio of 3 for three seeds is no gain, 1 is two seeds for nothing.

Solves under vmap have fixed steps: an adaptive step would be chosen for all seeds together, and none of them would be
the run that it is alone.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import measure
from ncode import Solver
from ncode.reproduction.experiments import image_classification, toy

STEPS = 4
"""Of rk4 in a solve of the toy problems."""


def plane(model: str, seed: int, kernels: bool) -> nn.Module:
    """A flow of the plane with a linear readout, as the annuli have it."""
    torch.manual_seed(seed)
    solver = Solver("rk4", steps=STEPS, kernels=kernels)
    return nn.Sequential(toy.build(model, 2, (32,), (16,), solver), nn.Linear(2, 1))


def line(model: str, seed: int, kernels: bool) -> nn.Module:
    """A flow of the line, as the reflection has it."""
    torch.manual_seed(seed)
    return toy.build(model, 1, (16,), (16,), Solver("rk4", steps=STEPS, kernels=kernels))


def images(model: str, seed: int, kernels: bool) -> nn.Module:
    """A convolutional classifier of 16×16 images."""
    config = image_classification.Config(model, seed, dataset="cifar10", size=16, filters=32, method="rk4", steps=2)
    built = image_classification.build(config)
    for module in built.modules():
        if hasattr(module, "solver"):
            module.solver = Solver("rk4", steps=2, kernels=kernels)
    return built


def separation(y: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(y.squeeze(-1), target)


CASES: dict[str, tuple[Callable, Callable[[], tuple[Tensor, Tensor]], Callable]] = {
    **{
        f"reflection, {model}": (partial(line, model), lambda: (torch.randn(200, 1), torch.randn(200, 1)), F.mse_loss)
        for model in ("node", "open", "closed")
    },
    **{
        f"annuli, {model}": (partial(plane, model), lambda: (torch.randn(128, 2), torch.rand(128)), separation)
        for model in ("node", "open", "closed")
    },
    **{
        f"images of 16x16, {model}": (
            partial(images, model),
            lambda: (torch.randn(64, 3, 16, 16), torch.randint(10, (64,))),
            F.cross_entropy,
        )
        for model in ("anode", "data", "open")
    },
}


def together(models: list[nn.Module], loss: Callable) -> tuple[dict[str, Tensor], Callable]:
    """The models' stacked parameters by name, and the step that gives the gradients of all of them."""
    parameters, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0])

    def of_one(parameters: dict, buffers: dict, x: Tensor, target: Tensor) -> Tensor:
        return loss(torch.func.functional_call(base, (parameters, buffers), (x,)), target)

    def step(x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        losses = torch.func.vmap(of_one)(parameters, buffers, x, target)
        return torch.autograd.grad(losses.sum(), list(parameters.values()))

    return parameters, step


def ways(case: str, seeds: int) -> dict[str, Callable[[], object]]:
    """One seed's step, all seeds' steps one after another, and all seeds' step as one model."""
    build, draw, loss = CASES[case]
    alone = [build(seed, True) for seed in range(seeds)]
    x, target = (torch.stack(parts) for parts in zip(*(draw() for _ in alone), strict=True))
    # Kernels have a gradient of their own, which vmap does not reach.
    _, stacked = together([build(seed, False) for seed in range(seeds)], loss)

    def step(model: nn.Module, x: Tensor, target: Tensor) -> None:
        torch.autograd.grad(loss(model(x), target), list(model.parameters()))

    return {
        "one": lambda: step(alone[0], x[0], target[0]),
        "one after another": lambda: [step(*of) for of in zip(alone, x, target, strict=True)],
        "together": lambda: stacked(x, target),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    measure.prepare(1)
    print(f"{'':28} {'one, ms':>8}  one after another  together   (ratios to one; {chosen.seeds} seeds)")
    for case in CASES:
        taken = measure.interleaved(ways(case, chosen.seeds), rounds=chosen.rounds)
        one = taken["one"]
        ratios = [
            statistics.median(a / b for a, b in zip(taken[way], one, strict=True))
            for way in ("one after another", "together")
        ]
        print(f"{case:28} {1000 * statistics.median(one):8.2f}  {ratios[0]:17.2f}  {ratios[1]:8.2f}", flush=True)


if __name__ == "__main__":
    main()
