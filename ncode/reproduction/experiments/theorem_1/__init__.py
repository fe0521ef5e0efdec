"""Theorem 1: how exact the gradients are, what they cost in memory, and when the plain adjoint fails."""

from ncode.reproduction.experiments.theorem_1.train import (
    WAYS,
    Config,
    Contractive,
    Setting,
    contractive,
    experiment,
    saved_bytes,
    written_out,
)

__all__ = ["WAYS", "Config", "Contractive", "Setting", "contractive", "experiment", "saved_bytes", "written_out"]
