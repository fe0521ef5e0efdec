"""What a solve costs, beside the error that it makes, next to other libraries: ``python -m benchmarks.solver``.

Rules: forward and backward of one training step (:mod:`benchmarks.problems`); every library in one process, interleaved
round by round, after a warm-up (:mod:`benchmarks.measure`). Times are medians with quartiles, ratios are taken within
rounds. Beside every time stands the worst sample's error at the path's end, against a solve in double precision at
1e-10. *As exact as ours* means: this library solves at 1e-3, and every other one's tolerance is halved until
its worst sample is as good, to two per cent. Results go to ``results/performance.jsonl``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from benchmarks import measure, modes, reach, stiff

TOLERANCE, FINEST, SLACK = 1e-3, 1e-8, 1.02
FILE = Path(__file__).resolve().parent.parent / "results" / "performance.jsonl"
AXES = ("batch", "dimension", "horizon")
PACKAGES = ("torch", "torchdiffeq", "torchdyn", "torchode", "jax", "diffrax", "numpy")


def ways(dtype_name: str = "float32") -> dict[str, Callable]:
    """Every way, made by ``way(case, tolerance)``; those of other libraries may raise ImportError then."""
    import torch

    from benchmarks import peers
    from benchmarks.ours import ncode

    dtype = getattr(torch, dtype_name)
    own = {
        "ncode": {},
        "ncode, tsit5": {"method": "tsit5"},
        "ncode, compiled": {"compiled": True},
        "ncode, a user's module": {"custom": True},
    }
    made = {
        name: lambda case, tolerance, options=options: ncode(case, tolerance, dtype, **options)
        for name, options in own.items()
    }
    for name, peer in peers.PEERS.items():
        made[name] = lambda case, tolerance, peer=peer: peer(case, tolerance, dtype)
    return made


def error(way: Callable, exact) -> float:
    """The worst sample's distance from the exact end."""
    import numpy as np

    return float(np.linalg.norm(way() - exact, axis=1).max())


def exact_end(case):
    import torch

    from benchmarks import peers

    return peers.torchdiffeq(case, 1e-10, torch.float64)()


def as_good(make: Callable, case, exact, target: float) -> tuple[Callable, float, float]:
    """The way at the loosest tolerance, of 1e-3, 5e-4, …, whose worst sample is as good as ``target``."""
    tolerance = TOLERANCE
    while True:
        way = make(case, tolerance)
        found = error(way, exact)
        if found <= SLACK * target or tolerance < FINEST:
            return way, tolerance, found
        tolerance /= 2


def steps(rounds: int, seed: int, kinds: list[str] | None = None) -> Iterator[tuple[dict, dict]]:
    """Training steps as exact as ours: near-equal and very different fields, three kinds of model."""
    from benchmarks.problems import KINDS, case

    for kind in kinds or KINDS:
        for fields in ("near", "far"):
            problem = case(kind, fields, seed=seed)
            exact = exact_end(problem)
            every, made, facts = ways(), {}, {}
            made["ncode"] = every.pop("ncode")(problem, TOLERANCE)
            target = error(made["ncode"], exact)
            facts["ncode"] = {"tolerance": TOLERANCE, "error": target, "nfe": made["ncode"].model.nfe.forward}
            for name, make in every.items():
                with _told(name):
                    way, tolerance, found = as_good(make, problem, exact, target)
                    made[name], facts[name] = way, {"tolerance": tolerance, "error": found}
            taken = measure.interleaved(made, rounds)
            for name in made:
                yield _entry("step", name, kind, fields, seed), {**facts[name], **_times(taken, name)}


def precision(rounds: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """Time against worst-sample error, in double precision, at tolerances from 1e-2 to 1e-8."""
    from benchmarks.problems import case

    for fields in ("near", "far"):
        problem = case("open loop", fields, seed=seed)
        exact = exact_end(problem)
        for exponent in range(2, 9):
            made, facts = {}, {}
            for name, make in ways("float64").items():
                if "Appendix" in name or "user" in name:
                    continue
                with _told(name):
                    made[name] = make(problem, 10.0**-exponent)
                    facts[name] = {"error": error(made[name], exact)}
            taken = measure.interleaved(made, rounds)
            for name in made:
                entry = {**_entry("precision", name, "open loop", fields, seed), "tolerance": 10.0**-exponent}
                yield entry, {**facts[name], **_times(taken, name)}


def scaling(rounds: int, seed: int, axes: Collection[str] = AXES) -> Iterator[tuple[dict, dict]]:
    """How cost grows with batch, dimension and horizon, at tolerance 1e-3."""
    from benchmarks.problems import case

    sizes = [("batch", {"batch": batch}) for batch in (1, 16, 128, 1024, 4096, 16384)]
    # One field for all: a sample's own field in 4096 dimensions has more parameters than memory holds.
    sizes += [("dimension", {"dim": dim, "batch": 128}) for dim in (2, 16, 64, 256, 1024, 4096)]
    sizes += [("horizon", {"horizon": horizon, "batch": 128}) for horizon in (1.0, 3.0, 10.0, 30.0, 100.0)]
    chosen = ("ncode", "ncode, a user's module", "torchdiffeq", "torchdyn", "diffrax, batched", "diffrax, vmapped")
    for axis, size in sizes:
        if axis not in axes:
            continue
        kind = "neural ODE" if axis == "dimension" else "open loop"
        problem = case(kind, "near", seed=seed, **size)
        made = {}
        for name in chosen:
            with _told(name):
                made[name] = ways()[name](problem, TOLERANCE)
                made[name]()
        taken = measure.interleaved(made, rounds)
        for name in made:
            yield {**_entry(axis, name, kind, "near", seed), "size": next(iter(size.values()))}, _times(taken, name)


def gpu(rounds: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """Training steps of Table 1's block on a GPU."""
    from benchmarks import gpu as suite

    yield from suite.gpu(rounds, seed)


SUITES = {
    "steps": steps,
    "open": lambda rounds, seed: steps(rounds, seed, ["open loop"]),
    "node": lambda rounds, seed: steps(rounds, seed, ["neural ODE"]),
    "closed": lambda rounds, seed: steps(rounds, seed, ["closed loop"]),
    "precision": precision,
    "scaling": scaling,
    "dimension": lambda rounds, seed: scaling(rounds, seed, ["dimension"]),
    "horizon": lambda rounds, seed: scaling(rounds, seed, ["horizon"]),
    "memory": modes.memory,
    "stiff": stiff.stiff,
    "module": reach.module,
    "training": reach.training,
    "block": reach.block,
    "flow": reach.flow,
    "episode": reach.episode,
    "book": reach.book,
    "shares": reach.where,
    "block-shares": reach.where_in_blocks,
    "gpu": gpu,
}


class _told:
    """Says on stderr which way did not run, and goes on."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, trace) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        print(f"{self.name}: left out: {kind.__name__}: {str(problem)[:200]}", file=sys.stderr, flush=True)
        return True


def _entry(suite: str, way: str, kind: str, fields: str, seed: int) -> dict:
    return {"suite": suite, "way": way, "kind": kind, "fields": fields, "seed": seed}


def _times(taken: dict[str, list[float]], name: str) -> dict:
    middle, low, high = measure.spread(taken[name])
    ratio, least, most = measure.ratios(taken[name], taken["ncode"])
    return {"seconds": middle, "low": low, "high": high, "ratio": ratio, "ratio_low": least, "ratio_high": most}


def save(entries: list[tuple[dict, dict]], threads: int, seconds: float) -> None:
    """Add to the record; what was measured before of the same is replaced."""
    from importlib import metadata

    from ncode.reproduction.runs import provenance, verify

    facts = provenance.here()
    for name in PACKAGES:
        try:
            facts["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts |= {"threads": threads, "seconds": round(seconds), "load": os.getloadavg()[0]}
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    kept = {run["id"]: run for run in map(json.loads, lines)}
    for config, metrics in entries:
        config = {**config, "threads": threads}
        id_ = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
        rounded = {name: float(f"{value:.5g}") for name, value in metrics.items()}
        kept[id_] = {
            "id": id_,
            "experiment": "benchmarks.solver",
            "config": config,
            "metrics": rounded,
            "provenance": facts,
        }
    FILE.write_text("".join(f"{json.dumps(run)}\n" for run in kept.values()))
    verify.seal(FILE.parent, FILE.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "suites",
        nargs="*",
        default=["steps", "precision", "scaling", "memory", "stiff"],
        help=f"of {', '.join(SUITES)}",
    )
    parser.add_argument("--threads", choices=list(measure.THREADS), default="one")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    threads = measure.THREADS[chosen.threads]
    measure.prepare(threads)
    for suite in chosen.suites:
        start, group = time.time(), []
        for config, metrics in SUITES[suite](chosen.rounds, chosen.seed):
            group.append((config, metrics))
            shown = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
            print(f"{config}: {shown}", flush=True)
            save(group, threads, time.time() - start)


if __name__ == "__main__":
    main()
