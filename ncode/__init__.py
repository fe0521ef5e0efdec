"""Adaptive control for neural ODEs (N-CODE): a library, and the paper's reproducible companion."""
