"""What a reader must know to weigh the verdicts on N16, N21 and N24, in words with the runs' numbers."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.experiments.autoencoding import analysis
from ncode.reproduction.experiments.autoencoding.study import Study
from ncode.reproduction.experiments.autoencoding.train import COMPONENT_WISE
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.publishing import numbers


def n16(study: Study) -> str:
    """On N16: what was chosen for whom, and what is not recorded."""
    best = study.best
    parts = [
        "A check holds where the whole 95 % interval lies below zero. Evidence is weak where the training is short and "
        "the seeds are few: the differences are a few per cent of the loss. Where the checks differ, the claim's "
        "readings have different answers. The learning rate was chosen for the plain autoencoder, and all models share "
        "it; with the printed networks it is the paper's. AutoN-CODE had its normalisation and scale chosen: "
        f"{best.normalisation}, {best.scale:g} in this run, among {len(COMPONENT_WISE) * len(study.scales)} runs."
    ]
    if best.scale == min(study.scales):
        parts.append("At the smallest scale tried, as here, its flow is itself nearly a linear map.")
    if study.pairs:
        parts.append(
            "Under the other readings of Table A.1's 25, and on CIFAR-10, only the plain autoencoder was recorded "
            "beside AutoN-CODE. With one entry a row it has as many parameters. With a dense θ and on CIFAR-10 it has "
            "fewer: its code has as many numbers as AutoN-CODE's decoder reads, and not as many as its encoder gives."
        )
    return " ".join(parts)


def n21(study: Study) -> str:
    """On N21: what learns at the largest scale, and how much scale and kind change."""
    learnt = ", ".join(name for name, learns in study.learnt.items() if learns) or "none of them"
    by_scale, by_kind = study.spreads()
    smallest = sum(one.scale == min(study.scales) for one in study.tuned.values())
    return (
        "Horizon and scale are one number, so the horizon is asked at the scale that was chosen for T = 10. With "
        f"{study.best.normalisation} at {study.best.scale:g}, {len(study.ncode)} of {study.seeds} runs finish. We "
        "check the readings of component-wise one by one, since the paper does not say which it means. To learn is to "
        f"end with a squared error on validation images below {numbers.share(analysis.LEARNT)} of the mean training "
        f"image's. At the scale of {max(study.scales):g} these did: {learnt}. In this run a normalisation lowers the "
        f"mean test loss by {numbers.share(study.gain())} at best. The best scale is the smallest tried for {smallest} "
        f"of {len(study.tuned)} normalisations. Validation loss changes by a factor of up to {by_scale:.2f} with the "
        f"scale, and between the kinds at their best scales by {by_kind:.2f}."
    )


def n24(sets: Mapping[str, Runs]) -> str:
    """On N24: the control experiment's own fall."""

    def told(name: str, made: Runs) -> str:
        start, half, end = (metric(made["autoencoder"], f"line_{at}").mean() for at in ("start", "half", "end"))
        return f"{name}: {start / end:.1f} times the end's at its start, {half / end:.1f} half way"

    errors = "; ".join(told(name, made) for name, made in sets.items())
    return (
        "All checks ask 95 % intervals over seeds. In the control experiment images form along a straight line in a "
        f"plain autoencoder, too; the error there is, {errors or 'not known yet'}."
    )
