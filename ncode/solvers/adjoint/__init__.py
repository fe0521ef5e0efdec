"""Theorem 1: gradients by a second solve, backward in time."""
