"""Reading the official layouts of image data sets: IDX, CIFAR's records, SVHN's matrices, archives of pictures.

Each reader checks what it reads against the layout and says what is wrong with which file. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat
from tqdm import tqdm

from ncode.reproduction.data.downloads import DataError, readable_failures
from ncode.reproduction.runs.files import write_atomically

CIFAR_RECORD = 1 + 3 * 32 * 32
"""Bytes of one image in CIFAR-10's binary release: its label, then its red, green and blue planes."""

REPLACE = "Delete it, so that it is downloaded anew, or put a whole one there."


def uncompressed(file: Path) -> bytes:
    """The content of a file that may be gzipped.

    Raises:
        DataError: when it is truncated or corrupt.
    """
    content = file.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{file}: is truncated or corrupt ({error}). {REPLACE}") from error


def idx(content: bytes, file: Path) -> np.ndarray:
    """The array of unsigned bytes in an IDX file (MNIST's layout): magic number, sizes, values.

    Raises:
        DataError: when it is none, or its length is not what its header says.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{file}: is no IDX file of bytes. {REPLACE}")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != np.prod(shape):
        raise DataError(f"{file}: holds {len(content) - start} values, its header says {shape}. {REPLACE}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def cifar(content: bytes, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels of one file of CIFAR-10's binary release.

    Raises:
        DataError: when its length is no multiple of a record's, or a label is none of 0 to 9.
    """
    if not content or len(content) % CIFAR_RECORD:
        raise DataError(f"{file}: {len(content)} bytes are no whole number of {CIFAR_RECORD}-byte records. {REPLACE}")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise DataError(f"{file}: has the label {labels.max()}, not one of 0 to 9. {REPLACE}")
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


def svhn(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels 0 to 9 of one of SVHN's cropped-digit files.

    Raises:
        DataError: when it is truncated, corrupt or of another shape.
    """
    try:
        content = loadmat(file, variable_names=["X", "y"])
        x, y = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except Exception as error:  # scipy raises whatever the damaged bytes lead it to
        raise DataError(f"{file}: is truncated or corrupt ({type(error).__name__}: {error}). {REPLACE}") from error
    if x.shape != (32, 32, 3, len(y)) or x.dtype != np.uint8:
        raise DataError(f"{file}: holds {x.dtype} of shape {x.shape} for {len(y)} labels. {REPLACE}")
    # SVHN calls the digit 0 class 10.
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y.astype(np.int64) % 10


def picture(content: bytes, name: str, size: int, crop: int | None = None) -> np.ndarray:
    """An encoded picture as (3, size, size).

    Args:
        crop: side of the centred square that is cut out and scaled to ``size``; ``None``: it must have that size.

    Raises:
        DataError: when it cannot be decoded, or has another size where none is cut out.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{name}: is no whole picture ({error}). Replace it.") from error
    if crop is not None:
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        if left < 0 or top < 0:
            raise DataError(f"{name}: {image.width}×{image.height} is smaller than {crop}×{crop}. Replace it.")
        image = image.crop((left, top, left + crop, top + crop)).resize((size, size), Image.Resampling.BILINEAR)
    if image.size != (size, size):
        raise DataError(f"{name}: is {image.width}×{image.height}, not {size}×{size}. Scale it, or take it out.")
    return np.asarray(image).transpose(2, 0, 1)


def decoded(cache: Path, names: Sequence[str], read: Callable[[str], np.ndarray], size: int) -> np.ndarray:
    """All pictures as (n, 3, size, size), decoded once into the file ``cache`` and mapped from there, not loaded.

    Args:
        cache: a name that changes whenever the pictures do.
        names: what ``read`` is given, one picture after the other.

    Raises:
        DataError: when a picture cannot be read, or the disk is full; then no cache is left behind.
    """

    def write(temporary: Path) -> None:
        shape = (len(names), 3, size, size)
        # write_atomically names the file; open_memmap must not add a suffix of its own, and does not.
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        for i, name in enumerate(tqdm(names, desc=cache.stem, leave=False)):
            array[i] = read(name)
        array.flush()

    if not cache.exists():
        with readable_failures(cache, "Decode again"):
            write_atomically(cache, write)
    # Copy on write: the map stays as it is whatever a caller does to the array.
    return np.load(cache, mmap_mode="c")


def members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Files out of a tar archive, in memory: a half-unpacked folder cannot arise.

    Raises:
        DataError: when it is truncated, corrupt or lacks one of them.
    """
    try:
        with tarfile.open(archive) as content:
            return {name: content.extractfile(name).read() for name in names}
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError, AttributeError) as error:
        raise DataError(f"{archive}: is truncated, corrupt or incomplete ({error}). {REPLACE}") from error


def partition(file: Path) -> tuple[list[str], np.ndarray]:
    """CelebA's pictures and their parts: 0 train, 1 validation, 2 test, in this order.

    Raises:
        DataError: when the file says anything else.
    """
    try:
        rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
        names, part = [name for name, _ in rows], np.array([int(part) for _, part in rows])
    except ValueError as error:
        raise DataError(f"{file}: is no list of pictures and parts ({error}). Get it anew.") from error
    if len(part) == 0 or (np.diff(part) < 0).any() or set(part) != {0, 1, 2}:
        raise DataError(f"{file}: must list parts 0, 1 and 2 in this order. Get it anew.")
    return names, part
