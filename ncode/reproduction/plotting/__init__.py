"""Figures: one style, and diagrams."""
