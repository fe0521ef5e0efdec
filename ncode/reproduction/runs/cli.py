"""Make an experiment's recorded runs: ``python -m ncode.reproduction.runs.cli pattern_memorisation [RECORDING ...]``.

Finished runs are kept and found again, so an interrupted recording goes on where it stopped, and what is finished is
written after every run: a recording that was cut short is a smaller one, not none.
"""

from __future__ import annotations

import argparse
import importlib
import os

from ncode.reproduction.runs import recordings, store

SHOWN = 20
"""Metrics of a run that are worth a line; of more, their number is told."""


def main(arguments: list[str] | None = None) -> None:
    """Run what the experiment's ``recorded()`` lists, and write one file for each recording."""
    parser = argparse.ArgumentParser(prog="python -m ncode.reproduction.runs.cli", description=__doc__)
    parser.add_argument("experiment", help="an experiment, or a module of one: annuli.steering")
    parser.add_argument("recordings", nargs="*", help="which of its recordings; all where none is named")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N runs of every recording")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")
    package = "ncode.reproduction.experiments"
    module = chosen.experiment if "." in chosen.experiment else f"{chosen.experiment}.experiment"
    experiment = importlib.import_module(f"{package}.{module}")
    recorded = experiment.recorded()
    for name in chosen.recordings or recorded:
        records, configs = [], recorded[name]()[: chosen.first]
        for k, config in enumerate(configs):
            records.append(store.run(experiment.train, config))
            path = recordings.save(name, records)
            facts = records[-1]
            made = f"{facts.metrics}" if len(facts.metrics) <= SHOWN else f"{len(facts.metrics)} metrics"
            print(f"{name} {k + 1}/{len(configs)}: {made}, {facts.provenance['seconds']:.0f} s -> {path}", flush=True)


if __name__ == "__main__":
    main()
