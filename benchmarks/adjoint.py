"""The price of the open loop's gradients: ratios to a direct solve, side by side in one process.

    python benchmarks/adjoint.py [--repeats 10] [--threads 1]

Rules: one convolutional block with per-sample kernels, dopri5, the worst sample's error norm, the same tolerance for
all; one round to warm up, then interleaved runs; processor time; median, smallest and largest ratio.
"""

import argparse

import torch

from ncode.reproduction.experiments.theorem_1.price import WAYS, Problem, errors, price

CASES = [
    {"size": 8, "activation": "tanh"},
    {"size": 14, "activation": "tanh"},
    {"size": 8, "activation": "relu"},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for case in CASES:
        exact_problem = Problem.build(**case, dtype=torch.float64)
        # Kinks keep a ReLU block's gradient from converging fast: 1e-9 is good to about three digits.
        *exact, _ = exact_problem.gradient("direct", 1e-12 if case["activation"] == "tanh" else 1e-9)
        for tolerance in (1e-3, 1e-5):
            measured = price(Problem.build(**case), tolerance, arguments.repeats)
            wrong = errors(exact_problem, tolerance, exact, WAYS)
            print(f"\n{case}, tolerance {tolerance:g}")
            for way in WAYS:
                median, low, high = measured.ratio(way)
                nfe = measured.nfe[way]
                print(
                    f"  {way:10} {median:5.2f} times direct ({low:.2f} to {high:.2f}), "
                    f"NFE {nfe.forward} + {nfe.backward}, gradient's error {wrong[way]:.1e}"
                )
        if case["activation"] == "tanh":
            tight = errors(exact_problem, 1e-12, exact, ["adjoint"])
            print(f"  adjoint at 1e-12: error {tight['adjoint']:.1e}")


if __name__ == "__main__":
    main()
