"""The memory's live figure: one episode of the closed loop of Eq. 7, played through time."""

from __future__ import annotations

from ncode.reproduction.interactive import export
from ncode.reproduction.models.memory import HebbianNCODE, episodes

STEPS = 10


def data(learner: HebbianNCODE, seed: int = 0) -> dict:
    """A trained memory and one of its episodes, as data for the kind ``memory``.

    Args:
        learner: without clamped bits.
        seed: of the episode, which no training has seen.

    Raises:
        ValueError: for a memory with clamped bits, which the page doesn't know.
    """
    if learner.clamp:
        raise ValueError("learner: clamps the known bits, which the page doesn't")
    task = learner.task
    stimuli, target = episodes(task, 1, seed)
    return {
        "bits": task.bits,
        "mu": export.numbers(learner.mu),
        "theta0": export.numbers(learner.theta0) if bool(learner.theta0.any()) else None,
        "leak": learner.leak,
        "duration": task.duration,
        "steps": STEPS,
        "stimuli": stimuli[:, 0].tolist(),
        "target": target[0].tolist(),
    }
