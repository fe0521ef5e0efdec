"""What a training run needs in order to go on, in one file: tensors and plain containers, read without unpickling code.

A checkpoint is whole or absent: it is written beside its place, forced to disk and moved there. One that is damaged all
the same is set aside, and the run starts again; one of another model or another optimiser is an error.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ncode.files import write_atomically

FORMAT = 1
"""Of the file's content; another number is another version's."""

KEYS = {"format", "model", "optimiser", "optimised", "random", "history"}


class OtherRun(RuntimeError):
    """A checkpoint that belongs to another model or another optimiser."""


def save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, history: dict[str, Any]) -> None:
    """Write a checkpoint: the state of model, optimiser and random numbers, and a history of plain values."""
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    content = {
        "format": FORMAT,
        "model": dict(model.state_dict()),
        "optimiser": optimiser.state_dict(),
        "optimised": _description(model, optimiser),
        "random": random,
        "history": history,
    }

    def write(temporary: Path) -> None:
        # By its name PyTorch would name the records, and each time otherwise.
        with temporary.open("wb") as file:
            torch.save(content, file)

    write_atomically(path, write)


def load(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Put model, optimiser and random numbers where a checkpoint left them, and return its history.

    Returns:
        ``None`` where there is no checkpoint, or a damaged one: that is set aside under another name, with a warning.

    Raises:
        OtherRun: when the checkpoint belongs to another model or optimiser; these are then as they were.
    """
    if not path.exists():
        return None
    try:
        # Opened here: from some names PyTorch takes another format than its own.
        with path.open("rb") as file:
            _must_be_whole(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # PyTorch raises whatever the damaged bytes lead it to
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(path, aside)
        reason = (str(error).splitlines() or [""])[0]
        warnings.warn(
            f"checkpoint: {path} is damaged ({type(error).__name__}: {reason}); it is set aside as {aside.name}, and "
            "training starts again",
            stacklevel=3,
        )
        return None
    if not isinstance(content, dict) or set(content) != KEYS or content["format"] != FORMAT:
        raise OtherRun(f"checkpoint: {path} is no training checkpoint of this version; give another name, or remove it")
    _must_fit(path, content, model, optimiser)
    model.load_state_dict(content["model"])
    optimiser.load_state_dict(content["optimiser"])
    torch.set_rng_state(content["random"]["cpu"])
    if torch.cuda.is_available() and "cuda" in content["random"]:
        torch.cuda.set_rng_state(content["random"]["cuda"])
    return content["history"]


def _must_be_whole(file: BinaryIO) -> None:
    """Compare every record with the checksum that was written with it: PyTorch does not when it reads."""
    with zipfile.ZipFile(file) as records:
        if (wrong := records.testzip()) is not None:
            raise zipfile.BadZipFile(f"{wrong} has another checksum")
    file.seek(0)


def _must_fit(path: Path, content: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    found, wanted = _shapes(content["model"]), _shapes(model.state_dict())
    if found != wanted:
        names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise OtherRun(f"checkpoint: {path} belongs to another model, with another {', '.join(names)}")
    found, wanted = content["optimised"], _description(model, optimiser)
    if found != wanted:
        raise OtherRun(f"checkpoint: {path} belongs to another optimiser, {found}, where this one is {wanted}")


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}


def _description(model: nn.Module, optimiser: torch.optim.Optimizer) -> str:
    """The optimiser's class and what it moves: PyTorch itself takes any state of as many parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = (
        ", ".join(names.get(id(one), f"another of shape {tuple(one.shape)}") for one in group["params"])
        for group in optimiser.param_groups
    )
    return f"{type(optimiser).__name__} of {'; '.join(groups)}"
