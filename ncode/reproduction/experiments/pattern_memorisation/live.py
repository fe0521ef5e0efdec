"""The memory's live figure: one episode of the closed loop of Eq. 7, played through time."""

from __future__ import annotations

from matplotlib.figure import Figure

from ncode.reproduction.interactive import export
from ncode.reproduction.models.memory import HebbianNCODE, Task, episodes, hebbian_rule
from ncode.reproduction.plotting import style

STEPS = 10

TASK = Task(bits=100, patterns=3, degraded=0.5)
"""The episode that is played."""


def untrained() -> HebbianNCODE:
    """The Hebbian rule for :data:`TASK`, with μ = 1/n."""
    return hebbian_rule(TASK, 1 / TASK.bits)


def still(learner: HebbianNCODE, seed: int = 0) -> Figure:
    """The same episode as a picture: what is shown, the query, and the pattern that is asked for."""
    stimuli, target = episodes(learner.task, 1, seed)
    side = round(learner.task.bits**0.5)
    frames = [*stimuli[:, 0], target[0]]
    figure, axes = style.panels(len(frames), width=0.9, height=1.2)
    for panel, frame in zip(axes[0], frames, strict=True):
        panel.imshow(frame.reshape(side, side), cmap="gray", vmin=-1, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
    return figure


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
