"""The slips in Appendix B's listing, each in as few lines as show it, and what Python says to them."""

from __future__ import annotations

from collections.abc import Sequence

MODULE = """
import torch
class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f = self.g = self.first = torch.nn.Identity()
    def forward(self, x):
        {line}
Block()(torch.ones(1))
"""

SLIPS: Sequence[tuple[str, str]] = (
    ("A closing parenthesis is missing where $g$ is called.", MODULE.format(line="return self.g(self.f(x)")),
    ("$f$ is called without `self.`", MODULE.format(line="return self.g(f(x))")),
    (
        "The system is stored under one name and solved under another: `self.NCODE_func`, `self.odefunc`.",
        MODULE.format(line="return self.second(x)"),
    ),
    (
        "The times `integration_time` are used and come from nowhere. So does `rtol`.",
        MODULE.format(line="return self.f(x, integration_time)"),
    ),
    (
        "The tolerances are handed over by position. Today's torchdiffeq takes them by name only.",
        "import torch, torchdiffeq\n"
        "torchdiffeq.odeint_adjoint(torch.nn.Identity(), torch.ones(1), torch.ones(2), 1e-3, 1e-3)",
    ),
)
"""What is wrong, in words, and code with that slip alone."""


def said(code: str) -> str:
    """The name of the error that ``code`` stops with.

    Raises:
        ValueError: when it runs.
    """
    try:
        exec(compile(code, "listing", "exec"), {"__name__": "listing"})
    except Exception as error:
        return type(error).__name__
    raise ValueError("code: it runs, and has no slip that Python sees")


def rows() -> list[list[str]]:
    """A table's rows: every slip that Python sees, and the error that it stops with."""
    return [[slip, f"`{said(code)}`"] for slip, code in SLIPS]
