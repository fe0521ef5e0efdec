"""The evidence on N3 and N6: the coupled system is well posed, its paths may cross, data control is an open loop."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence

FIELDS = "random tanh fields"

N3_NOTE = (
    "Two points of care. A solution is unique for as long as it exists. That it exists for all times needs a growth "
    "bound besides differentiability, which tanh networks have and not every f and g has. And being non-autonomous is "
    "not what lets paths cross: a time-dependent field that all samples share keeps their order. Paths cross because "
    "every sample has a θ of its own. In the open loop θ is constant, so each sample's field is autonomous; the closed "
    "loop's is not."
)

N6_NOTE = "Shown for a field whose first layer is linear in its inputs, as data control is built in practice."


def n3_checks(
    agreement: Mapping[str, float],
    crossed: Mapping[str, tuple[int, float]],
    replayed: tuple[int, float],
    changed: Mapping[str, float],
) -> dict[str, bool]:
    """The questions that decide N3.

    Args:
        agreement: how much two solvers differ at T, by loop.
        crossed: pairs that change order in x, and the nearest approach of any pair in z, by loop.
        replayed: pairs that change order where all samples share one control, and how far that control moves.
        changed: how much the field of the least affected sample changes with time, by loop.
    """
    together, moved = replayed
    return {
        "unique: two unrelated solvers agree to 10⁻⁷": max(agreement.values()) < 1e-7,
        "unique: no pair's distance in z = (x, θ) falls below a hundredth of its first": all(
            nearest > 0.01 for _, nearest in crossed.values()
        ),
        "open loop: paths cross in x": crossed["open"][0] > 0,
        "closed loop: paths cross in x": crossed["closed"][0] > 0,
        "one field for all, autonomous: no paths cross": crossed["node"][0] == 0,
        "one field for all, time-dependent (a control that moves): no paths cross": moved > 0.1 and together == 0,
        "non-autonomous: in the closed loop every sample's field changes by more than 1 %": changed["closed"] > 0.01,
    }


def n3(checks: Mapping[str, bool]) -> list[Evidence]:
    """Unique (a), paths cross under control (b), not in a field that all share (c), non-autonomous (d).

    From :func:`n3_checks`.
    """
    begins = {"a": "unique", "b": ("open loop", "closed loop"), "c": "one field for all", "d": "non-autonomous"}
    return [
        evidence.exact(part, FIELDS, "paper", all(held for name, held in checks.items() if name.startswith(start)))
        for part, start in begins.items()
    ]


def n6_checks(parity: Mapping[str, float]) -> dict[str, bool]:
    """Whether either writing of data control as an open loop equals it.

    Args:
        parity: the largest difference of ends or gradients, by writing: ``slot`` and ``bias``.
    """
    return {
        "γ(x) = x into a slot equals data control to 10⁻¹⁰, values and gradients": parity["slot"] < 1e-10,
        "a linear γ on the first bias equals it to 10⁻¹⁰, values and gradients": parity["bias"] < 1e-10,
    }


def n6(checks: Mapping[str, bool]) -> list[Evidence]:
    """Data control is an open loop, from :func:`n6_checks`."""
    return [evidence.exact("a", "random perceptrons", "paper", all(checks.values()))]
