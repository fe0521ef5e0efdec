"""Files that are whole or absent, and hold nothing that is executed when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ncode.files import write_atomically

__all__ = ["load_tensors", "save_tensors", "write_atomically"]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], text: str = "") -> None:
    """Write tensors, and a text beside them, as one safetensors file; nothing is pickled."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata={"text": text}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """What :func:`save_tensors` wrote."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()["text"]  # noqa: SIM118
