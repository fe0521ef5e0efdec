"""The recorded runs of image classification: longer than a notebook should take, and done in parts.

    python -m ncode.experiments.recorded_images mnist_14

Every finished run is kept (:mod:`ncode.runs`) and an unfinished one goes on from its checkpoint, so the same command
continues what was stopped, seed by seed; all models of one seed come before the next seed, so that whatever is there
is a fair comparison. The data come from ``$NCODE_DATA``, the runs go to ``$NCODE_RUNS``.
"""

from __future__ import annotations

import argparse
import os

import torch

from ncode import profiles, runs
from ncode.experiments import image_classification


def plans() -> dict[str, dict]:
    """The plans by name: a configuration's fields but model and seed, and how many ``seeds``."""
    return profiles.load("recorded_images", "paper")


def finished(name: str, seeds: int | None = None) -> list[runs.Record]:
    """Do what is left of the plan ``name``, for as many seeds as it says or as are asked for; the records."""
    plan = dict(plans()[name])
    planned = plan.pop("seeds")
    return [
        runs.run(image_classification.train, image_classification.Config(model=model, seed=seed, **plan))
        for seed in range(seeds or planned)
        for model in image_classification.MODELS
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", choices=plans())
    parser.add_argument("--seeds", type=int, help="stop after so many seeds; by default as many as the plan says")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for record in finished(arguments.plan, arguments.seeds):
        print(record.config["model"], record.config["seed"], record.metrics)
