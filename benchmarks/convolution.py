"""What convolution with kernels per sample costs, as a ratio to one kernel shared by the batch.

    python benchmarks/convolution.py [--check] [--device cuda [--tf32]]

Rules: forward and backward, to the images and the kernels; both in one process, taking turns, so that whatever else
the machine does hits both; one thread; processor time, not wall-clock time, on a GPU the time until it is done;
warm-up discarded; the median of the ratios of neighbouring measurements, with its quartiles. Memory is what autograd
saves for the backward pass.

``--check`` fails when the 3×3 convolution at the paper's size costs more than 1.25 times the shared one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from ncode.fields import per_sample

# (batch, channels, pixels a side, kernel size): the paper's size first, then what notebooks run.
CASES = [(64, 50, 28, 3), (64, 50, 28, 1), (64, 50, 32, 3), (64, 32, 16, 3), (64, 16, 14, 3), (64, 16, 14, 1)]
LIMIT = 1.25


def grouped(x, weight):
    """All samples in one grouped convolution."""
    y = F.conv2d(x.flatten(0, 1).unsqueeze(0), weight.flatten(0, 1), padding=weight.shape[-1] // 2, groups=len(x))
    return y.view(len(x), -1, *x.shape[2:])


def vmapped(x, weight):
    """torch.func.vmap over samples."""
    padding = weight.shape[-1] // 2
    return torch.func.vmap(lambda image, kernels: F.conv2d(image[None], kernels, padding=padding)[0])(x, weight)


def one_by_one(x, weight):
    """One call of the convolution for each sample."""
    pairs = zip(x.split(1), weight.unbind(0), strict=True)
    return torch.cat([F.conv2d(image, kernels, padding=weight.shape[-1] // 2) for image, kernels in pairs])


def unfolded(x, weight):
    """Patches as columns, then one batched matrix product."""
    patches = F.unfold(x, weight.shape[-1], padding=weight.shape[-1] // 2)
    return torch.bmm(weight.flatten(2), patches).view(len(x), -1, *x.shape[2:])


WAYS = {
    "ncode.fields.per_sample.conv2d": per_sample.conv2d,
    "grouped": grouped,
    "vmap": vmapped,
    "one by one": one_by_one,
    "unfold + bmm": unfolded,
}


def seconds(way: Callable, x: torch.Tensor, weight: torch.Tensor, upstream: torch.Tensor) -> float:
    clock = time.perf_counter if x.is_cuda else time.process_time
    start = clock()
    torch.autograd.grad(way(x, weight), (x, weight), upstream)
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def saved_bytes(way: Callable, x: torch.Tensor, weight: torch.Tensor) -> int:
    """Bytes of the distinct tensors that autograd keeps from the forward pass."""
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.__setitem__(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) or t, lambda t: t
    ):
        way(x, weight)
    return sum(kept.values())


def ratios(case: tuple[int, int, int, int], repeats: int, device: str) -> dict[str, tuple[np.ndarray, float, float]]:
    """For every way: its time over the shared convolution's, repeatedly; its median milliseconds and saved MB."""
    batch, channels, pixels, size = case
    torch.manual_seed(0)
    x = torch.randn(batch, channels, pixels, pixels, device=device, requires_grad=True)
    weight = (0.05 * torch.randn(batch, channels, channels, size, size, device=device)).requires_grad_()
    one = weight[0].detach().clone().requires_grad_()
    upstream = torch.randn(batch, channels, pixels, pixels, device=device)

    def shared(x, weight):
        return F.conv2d(x, weight, padding=size // 2)

    alone = [seconds(shared, x, one, upstream) for _ in range(repeats + 2)][2:]
    table = {"shared": (np.ones(1), 1e3 * np.median(alone), saved_bytes(shared, x, one) / 1e6)}
    for name, way in WAYS.items():
        pairs = [(seconds(way, x, weight, upstream), seconds(shared, x, one, upstream)) for _ in range(repeats + 2)]
        ours, base = np.array(pairs[2:]).T
        table[name] = ours / base, 1e3 * np.median(ours), saved_bytes(way, x, weight) / 1e6
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="only the paper's 3×3, and fail beyond the limit")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="let cuDNN round factors to TF32, its default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = arguments.tf32
    for case in CASES[:1] if arguments.check else CASES:
        print("batch {}, {} channels, {} pixels, kernel {}".format(*case))
        table = ratios(case, arguments.repeats, arguments.device)
        for name, (ratio, milliseconds, megabytes) in table.items():
            low, middle, high = np.quantile(ratio, (0.25, 0.5, 0.75))
            print(f"  {name:24} {middle:5.2f} [{low:.2f}, {high:.2f}] {milliseconds:8.1f} ms {megabytes:8.1f} MB saved")
        if arguments.check:
            reached = np.median(table["ncode.fields.per_sample.conv2d"][0])
            raise SystemExit(f"{reached:.2f} times the shared convolution, more than {LIMIT}" if reached > LIMIT else 0)
