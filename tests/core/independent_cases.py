"""Problems with exact solutions for tests of independent samples, and their solver."""

from __future__ import annotations

import torch

from ncode import Solver

START = torch.tensor([[1.0], [2.0], [-1.0], [0.5]], dtype=torch.float64)


def swing(t, z):
    """x' = t x: x(t) = x(t0) exp((t² - t0²)/2)."""
    return (t * z[0],)


def decay(rates):
    """x' = -k cos(t) x with a sample's own k: x(t) = x(0) exp(-k sin t)."""
    return lambda t, x: -rates * torch.cos(t) * x


def own(method="dopri5", tolerance=1e-8, **options):
    return Solver(method, rtol=tolerance, atol=tolerance, independent=True, **options)
