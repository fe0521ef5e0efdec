"""How an image forms along AutoN-CODE's orbit, and along a straight line that no flow drew (Section 4.4, N24).

What is decoded from x(t) is compared with the image that was encoded. The control experiment is the straight line from
the mean latent to an image's own, in a plain autoencoder: where images form as well along that, the orbit is no merit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.models.autoencoders import Autoencoder, AutoNCODE
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput

MODELS = ("ncode", "autoencoder")

TIMES, SHARES = 31, 21
"""Places on an orbit, from 0 to 1.5 T, and on a line."""

LATE = 0.05
"""By which share of x(T)'s error an earlier x(t) must be better to count as better."""

FORMED = 0.5
"""The largest error, as a share of the start's, of an image that has formed."""


@dataclass(frozen=True)
class Config(autoencoding.Config):
    """One autoencoder's evaluation.

    Attributes:
        followed: how many validation images.
    """

    followed: int = 500


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Follow images of a finished AutoN-CODE or plain autoencoder.

    Returns:
        Squared errors of a pixel, mean over images: ``line_start``, ``line_half`` and ``line_end``; the share of the
        whole fall that lies before half way, ``line_fallen``. Of AutoN-CODE the same of the ``orbit``, up to T;
        ``orbit_falls``, the share of steps up to T in which the mean error falls; ``formed``, the share of images with
        an error at T of less than :data:`FORMED` of the start's that no earlier x(t) is better than, to within
        :data:`LATE`; ``closest``, the time of the smallest mean error, up to 1.5 T; ``bend`` (see :func:`bend`).
        Arrays: ``line`` and ``orbit``, the mean errors, at ``shares`` and ``t``.
    """
    run = autoencoding.experiment.run(latents.autoencoder_config(config))
    ready = autoencoding.prepare(config.dataset, config.variant, config.images)
    x, model = ready.validation[0][: config.followed].cpu(), run.model()
    shares = np.linspace(0, 1, SHARES)
    line = errors(line_images, model, x, shares)
    found, arrays = halves("line", line), {"line": line.mean(1), "shares": shares}
    if isinstance(model, AutoNCODE):
        t = np.linspace(0, 1.5 * model.horizon, TIMES)
        whole = errors(latents.orbit_images, model, x, t)
        orbit = whole[: 2 * (TIMES - 1) // 3 + 1]
        end = orbit[-1]
        found |= halves("orbit", orbit)
        found["orbit_falls"] = (np.diff(orbit.mean(1)) < 0).mean()
        found["formed"] = ((end <= (1 + LATE) * orbit.min(0)) & (end < FORMED * orbit[0])).mean()
        found["closest"] = t[whole.mean(1).argmin()]
        found["bend"] = bend(model, x)
        arrays |= {"orbit": whole.mean(1), "t": t}
    kept = {name: torch.tensor(values) for name, values in arrays.items()}
    return RunOutput({name: float(value) for name, value in found.items()}, arrays=kept, data=run.provenance["data"])


def errors(
    images: Callable, model: Autoencoder, x: Float[Tensor, "batch c h w"], places: Sequence[float] | np.ndarray
) -> Float[np.ndarray, "place batch"]:
    """Squared error of a pixel between every image and what is decoded at every place of its path."""
    return (images(model, x, places) - x).square().flatten(2).mean(2).double().numpy()


def halves(path: str, error: Float[np.ndarray, "place batch"]) -> dict[str, float]:
    """The mean error at the start, half way and at the end of a path, and the share of its fall before half way."""
    mean = error.mean(1)
    start, half, end = mean[0], mean[len(mean) // 2], mean[-1]
    shares = {"start": start, "half": half, "end": end, "fallen": (start - half) / (start - end)}
    return {f"{path}_{name}": value for name, value in shares.items()}


@torch.no_grad()
def line_images(
    model: Autoencoder, x: Float[Tensor, "batch c h w"], shares: Sequence[float] | np.ndarray
) -> Float[Tensor, "place batch c h w"]:
    """The control experiment: what the decoder makes of the straight line from the mean latent to an image's."""
    latent = model.latent(model.encode(x))
    start = latent.mean(0)
    return torch.stack([model.decode(start + float(share) * (latent - start)) for share in shares])


@torch.no_grad()
def bend(model: AutoNCODE, x: Float[Tensor, "batch c h w"], points: int = 51) -> float:
    """How far the orbit leaves the chord from x(0) to x(T), in chord lengths, mean over images."""
    path = model.orbit(model.encode(x), np.linspace(0, model.horizon, points).tolist()) - model.x0
    chord = path[-1] / path[-1].norm(dim=1, keepdim=True)
    off = path - (path * chord).sum(2, keepdim=True) * chord
    return (off.norm(dim=2).amax(0) / path[-1].norm(dim=1)).mean().item()


experiment = Experiment("orbits", Config, None, train, plans=f"{__package__}.plans", data=autoencoding.data)
