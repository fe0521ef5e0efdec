"""Memorise patterns in real time (Section 4.3, Figs. 6 and A.3), with every learner alike."""

from ncode.reproduction.experiments.pattern_memorisation.train import (
    LEARNERS,
    Config,
    build,
    experiment,
    task,
)

__all__ = ["LEARNERS", "Config", "build", "experiment", "task"]
