"""Perceptron fields as plain arithmetic with vector-Jacobian products of their own: what a solve's inner loop runs.

Autograd's record of one evaluation of a small field costs several times its arithmetic. A kernel takes its place: bound
once a solve to weights laid out as it computes fastest in, it fills buffers that it is handed, and knows its own
gradient. Where every matrix is small, the batch is the last dimension, so that the inner loops run over samples;
larger matrices of a sample's own are batched matrix products with the batch first, and their gradients are collected
over a solve's stages into one product.
"""

from ncode.fields.kernels.activations import tanh_
from ncode.fields.kernels.base import Kernel
from ncode.fields.kernels.choice import perceptron, plain, plan, starts, untouched, untouched_linear
from ncode.fields.kernels.coupled import Coupled
from ncode.fields.kernels.perceptron import Perceptron

__all__ = [
    "Coupled",
    "Kernel",
    "Perceptron",
    "perceptron",
    "plain",
    "plan",
    "starts",
    "tanh_",
    "untouched",
    "untouched_linear",
]
