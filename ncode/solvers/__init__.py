"""Solvers of initial value problems z' = f(t, z), and their gradients."""
