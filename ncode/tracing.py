"""What records operations instead of running them: compilers, exporters, a GPU's graphs; and what transforms them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor, peek_interpreter_stack
from torch.autograd import forward_ad


def readable() -> bool:
    """Whether numbers can be read off tensors here: not while a compiler or an exporter traces, nor while a GPU's
    stream is captured in a graph."""
    return not (torch.compiler.is_compiling() or capturing())


def capturing() -> bool:
    """Whether the current stream of a GPU is being captured in a graph (:class:`torch.cuda.graph`)."""
    # A build without CUDA has no stream to ask.
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def transforming() -> bool:
    """Whether a transform of :mod:`torch.func` or a forward-mode derivative is on, which has to see every operation."""
    return peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def transformed(tensor: Tensor) -> bool:
    """Whether ``tensor`` has a forward-mode tangent, or is a transform's of :mod:`torch.func`."""
    return is_functorch_wrapped_tensor(tensor) or forward_ad.unpack_dual(tensor).tangent is not None
