"""Training steps of Table 1's block on a GPU: ``python -m benchmarks.solver gpu``.

Rules: 64 images of 32×32, 50 filters, ten channels of zeros; ANODE and the open loop at their initial parameters;
cuDNN's and cuBLAS's factors in full float32, and rounded to TF32. Times are the wall clock's until the GPU is done,
medians after a warm-up. *dopri5* is the paper's solver at 1e-3 as it is trained: forward, backward, clipping and an
optimiser's step, whose rate is zero; *graphs of steps* is the same with :class:`ncode.Graphed`, which replays a graph
of an attempted step and one of its gradient. *rk4* takes five steps, forward and backward, as it is and captured whole
in one CUDA graph. Errors are against the same model in float64. The GPU's own time is the sum of its kernels' in
PyTorch's profiler, forward and backward of dopri5: the rest of a step is spent on launching them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ncode import Graphed
from ncode.reproduction.experiments.image_classification.train import Classifier, Config, build
from ncode.reproduction.precision import full_float32, tf32

KINDS = {"ANODE": "anode", "open loop": "open"}
BATCH, STEPS, WARM = 64, 5, 3


def gpu(rounds: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """Steps of dopri5 as they are trained, and of rk4 with and without a graph, in full float32 and with TF32.

    Raises:
        RuntimeError: where there is no GPU.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("gpu: there is none here")
    full_float32()
    torch.manual_seed(seed)
    batch = torch.randn(BATCH, 3, 32, 32, device="cuda"), torch.randint(10, (BATCH,), device="cuda")
    for kind, model in KINDS.items():
        for rounded in (False, True):
            card = torch.cuda.get_device_name()
            config = {"suite": "gpu", "card": card, "kind": kind, "seed": seed, "tf32": rounded}
            for way, method, measure in WAYS:
                found = measure(_made(model, seed, method), batch, rounded, rounds)
                yield {**config, "way": way, "fields": method}, found


def _made(model: str, seed: int, method: str) -> Classifier:
    config = Config(model, seed, dataset="cifar10", size=32, filters=50, method=method, steps=STEPS)
    return build(config).cuda()


def _step(model: Classifier, batch: tuple[Tensor, Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    x, y = batch
    parameters = list(model.parameters())
    return lambda: torch.autograd.grad(F.cross_entropy(model(x), y), parameters)


def _trained(model: Classifier, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)

    def trained() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return trained


def _adaptive(model: Classifier, batch: tuple[Tensor, Tensor], rounded: bool, rounds: int) -> dict[str, float]:
    step = _step(model, batch)
    with tf32(rounded):
        found = {"seconds": _seconds(_trained(model, batch), rounds), "nfe": float(model.body.nfe.forward)}
        found |= _kernels(step)
        end, gradient = model.body(model.start(batch[0])).flatten(1).detach(), _flat(step())
    exact = model.double()
    x, y = batch[0].double(), batch[1]
    there = exact.body(exact.start(x)).flatten(1).detach()
    expected = _flat(_step(exact, (x, y))())
    error = ((end - there).norm(dim=1) / there.norm(dim=1)).max()
    return {**found, "error": float(error), "gradient_error": float((gradient - expected).norm() / expected.norm())}


def _replayed(model: Classifier, batch: tuple[Tensor, Tensor], rounded: bool, rounds: int) -> dict[str, float]:
    with tf32(rounded):
        eager, expected = _seconds(_trained(model, batch), rounds), _flat(_step(model, batch)())
        model.body = Graphed(model.body, model.start(batch[0]))
        replayed, found = _seconds(_trained(model, batch), rounds), _flat(_step(model, batch)())
    difference, nfe = float((found - expected).norm() / expected.norm()), float(model.body.nfe.forward)
    return {"seconds": replayed, "eager": eager, "ratio": eager / replayed, "difference": difference, "nfe": nfe}


def _captured(model: Classifier, batch: tuple[Tensor, Tensor], rounded: bool, rounds: int) -> dict[str, float]:
    step = _step(model, batch)
    with tf32(rounded):
        eager = _seconds(step, rounds)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = step()
        replayed = _seconds(graph.replay, rounds)
        difference = float((_flat(found) - _flat(step())).norm())
    nfe = float(model.body.nfe.forward)
    return {"seconds": replayed, "eager": eager, "ratio": eager / replayed, "difference": difference, "nfe": nfe}


WAYS = (
    ("as it is", "dopri5", _adaptive),
    ("graphs of steps", "dopri5", _replayed),
    ("one graph", "rk4", _captured),
)


def _seconds(step: Callable, rounds: int) -> float:
    for _ in range(WARM):
        step()
    taken = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _kernels(step: Callable) -> dict[str, float]:
    """The GPU's own seconds in one step, and how many kernels it launches."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        for _ in range(WARM):
            step()
        torch.cuda.synchronize()
    kernels = [event for event in seen.key_averages() if event.device_type.name == "CUDA"]
    spent = sum(event.self_device_time_total for event in kernels) * 1e-6 / WARM
    return {"kernels": spent, "launches": sum(event.count for event in kernels) / WARM}


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])
