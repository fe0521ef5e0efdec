"""What records operations instead of running them: compilers, exporters, a GPU's graphs."""

from __future__ import annotations

import torch


def readable() -> bool:
    """Whether numbers can be read off tensors here: not while a compiler or an exporter traces, nor while a GPU's
    stream is captured in a graph."""
    return not (torch.compiler.is_compiling() or capturing())


def capturing() -> bool:
    """Whether the current stream of a GPU is being captured in a graph (:class:`torch.cuda.graph`)."""
    # A build without CUDA has no stream to ask.
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
