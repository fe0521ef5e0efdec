"""What a wrapped module costs: a training step of a perceptron as ``nn.Sequential``, over the same one as ``MLP``.

    python benchmarks/wrap.py

The two are solved by the same steps, forward and backward, interleaved; the ratio is taken within rounds. ``MLP`` runs
as installed, solved by its own arithmetic, and with ``Solver(kernels=False)``, evaluated as any field.
"""

from __future__ import annotations

import argparse

import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    measure.prepare(1)
    import torch
    from torch import nn

    from ncode import MLP, NCODE, NeuralODE, OpenLoop, Solver

    x, width = torch.randn(arguments.batch, 2), arguments.width

    def step(loop: str, wrapped: bool, kernels: bool):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))
        field, shape = (net, (2,)) if wrapped else (MLP(2, (width,)), None)
        given = {"shape": shape, "solver": Solver("rk4", steps=4, kernels=kernels)}
        model = NeuralODE(field, **given) if loop == "nothing" else NCODE(field, gamma=OpenLoop(), **given)

        def once():
            model.zero_grad()
            model(x).square().mean().backward()

        return once

    for loop in ("nothing", "everything"):
        ways = {
            "wrapped": step(loop, True, True),
            "as installed": step(loop, False, True),
            "evaluated": step(loop, False, False),
        }
        taken = measure.interleaved(ways, arguments.rounds)
        for name in ("as installed", "evaluated"):
            low, middle, high = sorted(measure.ratios(taken["wrapped"], taken[name]))
            print(f"{loop} steered: wrapped / MLP {name}: {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
