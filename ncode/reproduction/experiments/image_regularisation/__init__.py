"""Variations of γ and of regularised flows on images: which there are, and what came of them."""

from ncode.reproduction.experiments.image_regularisation import analysis, variations

__all__ = ["analysis", "variations"]
