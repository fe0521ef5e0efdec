"""The runs that the page on pattern memorisation compares: this execution's, and the recorded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.reproduction.experiments.pattern_memorisation import plans
from ncode.reproduction.experiments.pattern_memorisation.analysis import select
from ncode.reproduction.experiments.pattern_memorisation.train import Config, build, experiment, task
from ncode.reproduction.models.memory import episodes
from ncode.reproduction.models.memory_baselines import BASELINES
from ncode.reproduction.plotting import style
from ncode.reproduction.runs import recordings

SIZES = {"lstm": 256, "ode_rnn": None, "data": None}
"""Of the baselines of Fig. 6, which N15 is about; without a size as many parameters as μ has, since in
the paper all systems but the LSTM have equally many."""

MOST_BITS = 200
"""With more, a solve at a tight tolerance moves too many synapses, and a trained μ is not read."""

SEED = 7
"""Of the episode that is shown, which no training has seen."""


@dataclass(frozen=True)
class Sets:
    """This execution's runs and the recordings.

    Attributes:
        options: the page's, from ``profiles.toml``.
        learning: the baselines of Fig. 6, one a learner and seed.
        ours: N-CODE in every case, one a seed.
        controls: the untrained Hebbian rule and the nearest neighbour in every case.
        weak: the rule with clamped bits and weak synapses in every case.
    """

    options: Mapping
    learning: Sequence
    ours: Sequence
    controls: Sequence
    weak: Sequence

    @property
    def cases(self) -> list[tuple[int, float]]:
        """Numbers of patterns and degradations of this execution."""
        return [(m, p) for m in self.options["patterns"] for p in self.options["degraded"]]

    @property
    def every_run(self) -> list:
        """What the page's footer counts."""
        return [*self.learning, *self.ours, *self.controls, *self.weak]

    @property
    def example(self):
        """The run whose episode is shown: the first seed's."""
        (run,) = select(self.ours, patterns=self.options["patterns"][1], degraded=0.5, seed=0)
        return run


def run(options: Mapping) -> Sets:
    """Every learner on the same episodes; baselines at the rates that a recorded sweep chose."""
    seeds, fig6 = range(options["seeds"]), options["fig6"]
    common = {
        "bits": options["bits"],
        "device": options["device"],
        "test_episodes": options["test_episodes"],
        "validation_episodes": 1,
    }
    baseline = {"iterations": options["baseline_iterations"], "batch": options["baseline_batch"], **fig6}
    cases = [{"patterns": m, "degraded": p} for m in options["patterns"] for p in options["degraded"]]
    cases += [fig6] if fig6 not in cases else []

    def one(learner: str, seed: int = 0, **own):
        return experiment.run(Config(learner, seed, **{**common, **own}))

    def learned(kind: str, seed: int):
        size = options["lstm_units"] if kind == "lstm" else SIZES[kind]
        return one(kind, seed, hidden=size, learning_rate=plans.best_rate(kind, SIZES[kind]), **baseline)

    return Sets(
        options,
        [learned(kind, seed) for kind in SIZES for seed in seeds],
        [one("ncode", seed, iterations=options["iterations"], **case) for case in cases for seed in seeds],
        [one(kind, **case) for case in cases for kind in ("hebb", "oracle")],
        [one("hebb", strength=0.01, clamp=True, **case) for case in cases],
    )


RECORDED = ("baselines", "sweep", "1000", "variants")
"""The recordings that the page draws on, by the end of their names."""


def recorded() -> dict[str, list]:
    """The recorded runs, by the end of their recording's name."""
    return {name: recordings.load(f"pattern_memorisation_{name}") for name in RECORDED}


PRINTED = ("printed", "printed_cases", "printed_long")
"""The recordings of the task as Section 4.3 and C.3 print it."""


def printed() -> list:
    """The recorded runs as the paper prints them: θ(0) learned, one rate, and Fig. 6's baselines of single layers.

    Of a learner that was trained for several numbers of episodes those with the most seeds, and then the longest.
    """
    made = [run for name in PRINTED for run in recordings.find(f"pattern_memorisation_{name}")]
    groups: dict[tuple, dict[int, list]] = {}
    for run in made:
        c = run.config
        lengths = groups.setdefault((c.learner, c.bits, c.patterns, c.degraded), {})
        lengths.setdefault(c.iterations, []).append(run)
    kept = (max(lengths.items(), key=lambda one: (len(one[1]), one[0])) for lengths in groups.values())
    return [run for _, runs in kept for run in runs]


def printed_baselines(runs: Sequence) -> dict[int, dict[str, list]]:
    """Of :func:`printed`'s runs the baselines, by number of bits and learner."""
    found: dict[int, dict[str, list]] = {}
    for run in select(runs, patterns=plans.FIG6[0], degraded=plans.FIG6[1]):
        if run.config.learner in BASELINES:
            found.setdefault(run.config.bits, {}).setdefault(run.config.learner, []).append(run)
    return found


def baseline_groups(recorded: Mapping[str, Sequence], runs: Sequence) -> list[list]:
    """The recorded baselines in groups of seeds, for a table: :func:`printed`'s ``runs``, the chosen, the broken."""
    as_printed = [of for kinds in printed_baselines(runs).values() for of in kinds.values()]
    return [*as_printed, *by_size(recorded["baselines"]).values(), *broken(recorded["baselines"])]


def panels(found: Sets, recorded: Mapping[str, Sequence], runs: Sequence) -> dict[str, tuple[Sequence, Sequence]]:
    """Fig. 6's trained runs by a panel's title, each with the untrained ones on as many bits, where these were tried.

    They are this execution's, the recorded baselines at their best rates, and :func:`printed`'s ``runs``.
    """
    bits, case = found.options["bits"], found.options["fig6"]
    rules = {1000: recorded["1000"], bits: found.controls}
    shown = {
        f"this execution, n = {bits}": (bits, [*found.learning, *select(found.ours, **case)]),
        "recorded, n = 100, best rates": (100, curves(recorded["baselines"])),
        **{f"recorded, as printed, n = {n}": (n, select(runs, bits=n, **case)) for n in plans.STATED},
    }
    return {title: (made, rules.get(n, ())) for title, (n, made) in shown.items() if made}


def case_sources(found: Sets, recorded: Mapping[str, Sequence], runs: Sequence) -> dict[str, tuple[Sequence, Sequence]]:
    """Trained and untrained runs by what they are, for the table of cases."""
    bits, large = found.options["bits"], recorded["1000"]
    rules = {1000: large, bits: found.controls}
    as_printed = {n: (select(runs, bits=n), rules.get(n, ())) for n in plans.STATED}
    return {
        "1000, as printed": as_printed[1000],
        "1000, recorded": (large, large),
        "100, as printed": as_printed[100],
        f"{bits}, here": (found.ours, found.controls),
    }


def without_run(runs: Sequence) -> str:
    """Which baselines are missing among :func:`printed`'s runs at each number of bits, in a sentence; or nothing."""
    there = printed_baselines(runs)
    missing = {bits: [k for k in BASELINES if k not in there.get(bits, {})] for bits in plans.STATED}
    parts = [
        f"at n = {bits} the {', the '.join(style.LABELS[kind] for kind in kinds)}"
        for bits, kinds in missing.items()
        if kinds
    ]
    return f"As printed these have not been run: {'; '.join(parts)}." if parts else ""


def described() -> list[str]:
    """What each recording consists of, one line of Markdown each."""
    found = [f"pattern_memorisation_{name}" for name in (*RECORDED, *PRINTED)]
    return [recordings.describe(name) for name in found if recordings.find(name)]


def curves(baselines: Sequence) -> list:
    """The recorded baselines of Fig. 6: at their sizes, and with the rates that the sweep chose."""
    rates = {kind: plans.best_rate(kind, size) for kind, size in SIZES.items()}
    return [
        run
        for run in baselines
        if SIZES[run.config.learner] == run.config.hidden and run.config.learning_rate == rates[run.config.learner]
    ]


def by_size(baselines: Sequence) -> dict[tuple[str, int | None], list]:
    """Recorded baselines by learner and size, at the rates that the sweep chose; one run a seed."""
    return {which: _at(baselines, *which, plans.best_rate(*which)) for which in plans.BASELINE_SIZES}


def broken(baselines: Sequence) -> list[list]:
    """Recorded baselines that won the short sweep and broke down later; one group a rate."""
    return [_at(baselines, *which, rate) for which, rates in plans.UNSTABLE.items() for rate in rates]


def _at(baselines: Sequence, kind: str, hidden: int | None, rate: float) -> list:
    return select(baselines, learner=kind, hidden=hidden, learning_rate=rate)


@dataclass(frozen=True)
class Episode:
    """One unseen episode of a trained memory, and μ.

    Attributes:
        stimuli, target, output: what is shown, what is asked for, and the answer.
        t, x, theta: the state and the synapses through the episode.
        duration: of each presentation, in seconds.
        before, after: μ before and after training.
    """

    stimuli: Float[Tensor, "shows one bits"]
    target: Float[Tensor, "one bits"]
    output: Float[Tensor, "one bits"]
    t: Float[Tensor, " times"]
    x: Float[Tensor, "times one bits"]
    theta: Tensor
    duration: float
    before: Float[Tensor, "bits bits"]
    after: Float[Tensor, "bits bits"]


def memory(run) -> nn.Module:
    """A run's trained memory; of one with very many bits the untrained one, whose μ need not be read."""
    if run.config.bits <= MOST_BITS:
        return run.model()
    torch.manual_seed(0)
    return build(run.config)


def episode(run) -> Episode:
    """An unseen episode of a run, through time."""
    trained, asked = memory(run), task(run.config)
    stimuli, target = episodes(asked, 1, SEED)
    with torch.no_grad():
        output = trained(stimuli)
        t, x, theta = trained.trajectory(stimuli)
    torch.manual_seed(run.config.seed)
    before, after = build(run.config).mu.detach(), trained.mu.detach()
    return Episode(stimuli, target, output, t, x, theta, asked.duration, before, after)


def solver_errors(run) -> dict[str, float]:
    """Largest error of any bit of four outputs against a tight solve: of the untrained rule, and of a run's memory."""
    small = Config("hebb", 0, bits=100, patterns=run.config.patterns)
    asked = {"the untrained rule": (build(small), small)}
    if run.config.bits <= MOST_BITS:
        asked["N-CODE, trained"] = (memory(run), run.config)
    return {
        name: model.solver_error(episodes(task(config), 4, SEED).stimuli).max().item()
        for name, (model, config) in asked.items()
    }
