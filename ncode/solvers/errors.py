"""The one error of a solve that fails."""

from __future__ import annotations


class SolveError(RuntimeError):
    """A solve that did not get to its end.

    Attributes:
        reason: ``"step size underflow"``, ``"too many evaluations"``, ``"non-finite values"`` or, in the adjoint's
            backward pass, ``"state not reconstructed"``.
        sample: index in the batch of the sample that caused it; ``None`` where none stands out.
        t: how far the solve got.
        nfe: evaluations spent.
        state_norm: RMS of that sample's state when it happened.
    """

    def __init__(self, reason: str, sample: int | None, t: float, nfe: int, state_norm: float):
        self.reason, self.sample, self.t, self.nfe, self.state_norm = reason, sample, t, nfe, state_norm
        advice = {
            "step size underflow": "The field is too stiff or too steep there: loosen the tolerance, regularise the "
            "field, augment the state, or use a fixed-step method.",
            "too many evaluations": "Raise max_nfe, loosen the tolerance, or regularise the field.",
            "non-finite values": "The path left the floating-point range: lower the learning rate, clip gradients, "
            "shrink the controller's initial spread, or shorten the horizon.",
            "state not reconstructed": "The dynamics contract too fast to be solved backward: raise checkpoints, "
            "tighten the tolerance, or use gradients='direct'.",
        }[reason]
        who = "no single sample" if sample is None else f"sample {sample}"
        super().__init__(
            f"{reason} at t = {t:.6g} after {nfe} evaluations ({who}, state's RMS {state_norm:.3g}). {advice}"
        )

    def __reduce__(self):
        # By itself an exception is built again from its message alone: it could not leave a process.
        return type(self), (self.reason, self.sample, self.t, self.nfe, self.state_norm), self.__dict__
