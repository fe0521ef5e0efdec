"""Files that are whole or absent, and hold nothing that is executed when read.

Weights are safetensors: a header of names, types and shapes, then the bytes. Nothing in such a file can run, a reader
need not know the model, and other frameworks read it. (Checkpoints hold an optimiser's nested state, which safetensors
cannot; they are PyTorch's own format, read with ``weights_only``.)
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ncode.files import write_atomically as whole_or_absent

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a full disk, or of a spent quota."""


class DamagedFile(RuntimeError):
    """A file whose content is not what was written: truncated, empty, edited or with other bits."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """:func:`ncode.files.write_atomically`, which names file and folder where the file cannot be written.

    Raises:
        OSError: when it cannot be written.
    """
    try:
        whole_or_absent(path, write)
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, error) from error


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of writers that were killed."""
    return sorted(path for path in folder.glob(".*") if len(path.suffix) == 33 and path.is_file())


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(content: Any) -> str:
    """The SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: when there is none.
        DamagedFile: when it is no JSON, naming the file and the ``remedy``.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path}: is damaged ({error}). {remedy}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], text: str = "") -> None:
    """Write tensors, and a text beside them, as one safetensors file; nothing is pickled."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata={"text": text}))


def load_tensors(path: Path, remedy: str = "") -> tuple[dict[str, Tensor], str]:
    """The tensors and the text that :func:`save_tensors` wrote.

    Raises:
        DamagedFile: when the file is no such file, naming it and the ``remedy``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()["text"]  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedFile(f"{path}: is damaged ({error}). {remedy}".strip()) from error


def _unwritten(path: Path, error: Exception) -> OSError:
    number = getattr(error, "errno", None)
    full = number in FULL or "No space left" in str(error) or "Disk quota" in str(error)
    why = "the disk is full: make room, or choose another folder" if full else str(error)
    return OSError(
        number or (errno.ENOSPC if full else errno.EIO), f"{path.name} cannot be written in {path.parent} ({why})"
    )
