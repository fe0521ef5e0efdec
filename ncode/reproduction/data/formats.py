"""Reading the official layouts of image data sets: IDX, CIFAR's records, SVHN's matrices, archives of pictures.

Each reader knows how much it may find: nothing is expanded or decoded beyond that. It checks what it reads against the
layout and says what is wrong with which file, always by the one error, a ``DataError``. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat, whosmat
from tqdm import tqdm

from ncode.reproduction.data.downloads import REPLACE, DataError, checksum, readable_failures, reading
from ncode.reproduction.runs.files import write_atomically

CIFAR_RECORD = 1 + 3 * 32 * 32
"""Bytes of one image in CIFAR-10's binary release: its label, then its red, green and blue planes."""

LARGEST_ENTRY = 1 << 25
"""Bytes that a picture or a list in an archive may have, unpacked."""

LARGEST_PICTURE = 10**7
"""Pixels that a picture may have before it is decoded."""


def uncompressed(file: Path, most: int) -> bytes:
    """The content of a file that may be gzipped.

    Args:
        most: bytes that it may have; no more are expanded.

    Raises:
        DataError: when it has more, cannot be read, or is truncated or corrupt.
    """
    with reading(file), file.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        content = (gzip.GzipFile(fileobj=raw) if zipped else raw).read(most + 1)
    if len(content) > most:
        raise DataError(f"{file}: has more than the {most} bytes that belong there. {REPLACE}")
    return content


def idx(content: bytes, file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array of unsigned bytes in an IDX file (MNIST's layout): magic number, sizes, values.

    Raises:
        DataError: when it is none, its shape is another than ``shape``, or its length is not what its header says.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{file}: is no IDX file of bytes. {REPLACE}")
    start = 4 + 4 * content[3]
    found = struct.unpack(f">{content[3]}I", content[4:start])
    if found != shape:
        raise DataError(f"{file}: its header says {found}, but it must be {shape}. {REPLACE}")
    if len(content) - start != math.prod(shape):
        raise DataError(f"{file}: holds {len(content) - start} values, its header says {shape}. {REPLACE}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def cifar(content: bytes, file: Path, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels of one file of CIFAR-10's binary release.

    Args:
        images: how many it must hold.

    Raises:
        DataError: when it holds another number.
    """
    if len(content) != images * CIFAR_RECORD:
        raise DataError(
            f"{file}: {len(content)} bytes are not {images} records of {CIFAR_RECORD} bytes, one an image. {REPLACE}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels(records[:, 0], file, 0, 9)


def labels(y: np.ndarray, file: Path, first: int, last: int) -> np.ndarray:
    """``y`` as integers.

    Raises:
        DataError: when one is no integer from ``first`` to ``last``.
    """
    wrong = y[~np.isin(y, range(first, last + 1))] if y.dtype.kind in "iuf" else y
    if len(wrong):
        raise DataError(f"{file}: has the label {wrong[0]}, not one of {first} to {last}. {REPLACE}")
    return y.astype(np.int64)


def svhn(file: Path, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels 0 to 9 of one of SVHN's cropped-digit files.

    Args:
        images: how many it must hold.

    Raises:
        DataError: when it is truncated, corrupt, of another shape, or a label is none of 1 to 10.
    """
    with reading(file):
        # The headers first: what they announce is what would be expanded.
        found = {name: (shape, kind) for name, shape, kind in whosmat(file) if name in ("X", "y")}
        if found.get("X") != ((32, 32, 3, images), "uint8") or found.get("y", ((),))[0] not in (
            (images, 1),
            (1, images),
        ):
            raise DataError(f"{file}: holds {found}, not X of {images} images and as many labels y. {REPLACE}")
        content = loadmat(file, variable_names=["X", "y"])
        x, y = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    # SVHN calls the digit 0 class 10.
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), labels(y, file, 1, 10) % 10


def picture(content: bytes, name: str, size: int, crop: int | None = None) -> np.ndarray:
    """An encoded picture as (3, size, size).

    Args:
        crop: side of the centred square that is cut out and scaled to ``size``; ``None``: it must have that size.

    Raises:
        DataError: when it cannot be decoded, is larger than :data:`LARGEST_PICTURE`, or has another size where none is
            cut out.
    """
    try:
        # Of these formats only: for some others Pillow starts a program.
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            _check_size(image, name, size, crop)
            image = image.convert("RGB")
    except DataError:
        raise
    except Exception as error:  # Pillow raises whatever the damaged bytes lead it to
        raise DataError(f"{name}: is no whole picture ({type(error).__name__}: {error}). Replace it.") from error
    if crop is not None:
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        image = image.crop((left, top, left + crop, top + crop)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _check_size(image: Image.Image, name: str, size: int, crop: int | None) -> None:
    what = f"{name}: is {image.width}×{image.height}"
    if image.width * image.height > LARGEST_PICTURE:
        raise DataError(f"{what}, more than {LARGEST_PICTURE} pixels. Replace it.")
    if crop is not None and min(image.size) < crop:
        raise DataError(f"{what}, smaller than {crop}×{crop}. Replace it.")
    if crop is None and image.size != (size, size):
        raise DataError(f"{what}, not {size}×{size}. Scale it, or take it out.")


def decoded(cache: Path, names: Sequence[str], read: Callable[[str], np.ndarray], size: int) -> np.ndarray:
    """All pictures as (n, 3, size, size), decoded once into the file ``cache`` and mapped from there, not loaded.

    A cache whose content is not what was once written there, by the hash in the file beside it, is made anew.

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
        # Before the cache is in its place: who finds it finds its hash.
        write_atomically(known, lambda beside: beside.write_text(checksum(temporary, "sha256")))

    known = cache.with_name(f"{cache.name}.sha256")
    if not _holds(cache, known):
        if cache.exists():
            warnings.warn(f"{cache}: is not what was written there; its pictures are decoded anew", stacklevel=3)
        with readable_failures(cache, "Decode again"):
            write_atomically(cache, write)
    # Copy on write: the map stays as it is whatever a caller does to the array.
    return np.load(cache, mmap_mode="c")


def _holds(cache: Path, known: Path) -> bool:
    """Whether the cache has the content whose hash stands beside it."""
    return cache.is_file() and known.is_file() and known.read_bytes() == checksum(cache, "sha256").encode()


def members(archive: Path, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Files out of a tar archive, in memory: a half-unpacked folder cannot arise.

    Args:
        sizes: how many bytes each of them has.

    Raises:
        DataError: when it is truncated, corrupt, much larger than they are, or lacks one of them in this size.
    """
    # Beside the files themselves an archive has a few words about them, and is padded.
    content = uncompressed(archive, sum(sizes.values()) + (1 << 20))
    found = {}
    with reading(archive), tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for name, size in sizes.items():
            info = tar.getmember(name)
            if not info.isreg() or info.size != size:
                raise DataError(f"{archive}: {name} has {info.size} bytes, not {size}. {REPLACE}")
            found[name] = tar.extractfile(info).read()
    return found


@contextmanager
def zip_members(archive: Path, remedy: str) -> Iterator[Callable[[str], bytes]]:
    """A reader of a zip archive's members, by name.

    Raises:
        DataError: here and from the reader, when the archive is truncated, corrupt, encrypted, or lacks a member, or
            when that has more than :data:`LARGEST_ENTRY` bytes.
    """
    with reading(archive, remedy):
        content = zipfile.ZipFile(archive)

    def read(name: str) -> bytes:
        with reading(archive, remedy):
            info = content.getinfo(name)
            if info.file_size > LARGEST_ENTRY:
                raise DataError(f"{archive}: {name} has {info.file_size} bytes, too many. {remedy}")
            return content.read(info)

    with content:
        yield read


def partition(file: Path) -> tuple[list[str], np.ndarray]:
    """CelebA's pictures and their parts: 0 train, 1 validation, 2 test, in this order.

    Raises:
        DataError: when the file says anything else.
    """
    try:
        rows = [line.split() for line in uncompressed(file, LARGEST_ENTRY).decode("ascii").splitlines()]
        names, part = [name for name, _ in rows], np.array([int(part) for _, part in rows])
    except ValueError as error:
        raise DataError(f"{file}: is no list of pictures and parts ({error}). Get it anew.") from error
    if len(part) == 0 or (np.diff(part) < 0).any() or set(part) != {0, 1, 2}:
        raise DataError(f"{file}: must list parts 0, 1 and 2 in this order. Get it anew.")
    return names, part
