"""The evidence on N14 and N15: bit errors of the closed loop in every case, and the baselines' plateaus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.pattern_memorisation import analysis

PARTS = {1000: "a", 100: "b"}
BASELINES = {"lstm": "a", "ode_rnn": "b", "data": "c"}


def n14(runs: Sequence, nearness: str) -> list[Evidence]:
    """The bit error of every case (m, p) that the closed loop was trained on, by the number of bits."""
    found = []
    trained = analysis.select(runs, learner="ncode")
    for bits, part in PARTS.items():
        of_size = analysis.select(trained, bits=bits)
        cases = sorted({(run.config.patterns, run.config.degraded) for run in of_size})
        for m, p in cases:
            case = analysis.select(of_size, patterns=m, degraded=p)
            one = evidence.mean(part, f"{bits} bits", nearness, analysis.errors(case), case)
            found.append(evidence.case(one, f"m = {m}, p = {p:g}"))
    return [*found, *_episodes(trained, nearness)]


def _episodes(trained: Sequence, nearness: str) -> list[Evidence]:
    """Episodes until the training episodes' error stays within a point of where it ends, by the number of bits."""
    found = []
    for bits in sorted({run.config.bits for run in trained}, reverse=True):
        runs = analysis.select(trained, bits=bits)
        counts = [settled(run) for run in runs]
        # Cases share their seeds: a seed is one repetition, whose slowest case counts.
        seeds = sorted({run.config.seed for run in runs})
        slowest = [max(c for c, run in zip(counts, runs, strict=True) if run.config.seed == seed) for seed in seeds]
        one = evidence.mean("c", f"{bits} bits, the slowest case", nearness, slowest, runs)
        found.append(one)
    return found


def settled(run, slack: float = 0.01) -> float:
    """Episodes until the training error, smoothed over a tenth of the run, stays within ``slack`` of its last."""
    seen, (errors,) = analysis.curve([run])
    window = max(1, len(errors) // 10)
    smooth = np.convolve(errors, np.ones(window) / window, mode="valid")
    away = np.flatnonzero(np.abs(smooth - smooth[-1]) > slack)
    return float(seen[min(int(away[-1]) + window, len(seen) - 1)] if len(away) else seen[0])


def n15(baselines: Mapping[str, Sequence], setting: str, nearness: str) -> list[Evidence]:
    """Where each baseline ends, from runs by baseline."""
    return [
        evidence.mean(BASELINES[kind], setting, nearness, analysis.errors(runs), runs)
        for kind, runs in baselines.items()
    ]
