"""Small files of random pixels in the official layout of a data set that several test modules read."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image
from scipy.io import savemat

from ncode.reproduction.data import datasets
from ncode.reproduction.data.downloads import checksum

RANDOM = np.random.default_rng(0)


def pixels(n, *shape):
    return RANDOM.integers(0, 256, (n, *shape), dtype=np.uint8)


def encoded(width, height, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels(1, height, width, 3)[0]).save(out, kind)
    return out.getvalue()


def celeba(data_folder, *parts):
    """The official archive and list, with so many pictures in each part; their folder."""
    folder = data_folder / "celeba"
    folder.mkdir()
    rows = [(f"{i + 1:06}.jpg", part) for i, part in enumerate(np.repeat(range(3), parts))]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for name, _ in rows:
            archive.writestr(f"img_align_celeba/{name}", encoded(178, 218, "JPEG"))
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, part in rows))
    return folder


def official(folder, patch, train=30, test=10, held_out=5):
    """Every layout, small, below ``folder`` and declared official; by folder or archive, the files that are read."""
    patch.setattr(datasets, "SIZES", dict.fromkeys(datasets.SIZES, (train, test)))
    patch.setattr(datasets, "VALIDATION", held_out)
    files = {name: [] for name in ("mnist", "cifar-10-batches-bin", "svhn")}
    for name in files:
        (folder / name).mkdir()
    known = {}
    for part, (name, gz, _) in datasets.MNIST.items():
        n = train if part.startswith("train") else test
        array = pixels(n, 28, 28) if part.endswith("x") else labels(n)
        content = idx_bytes(array)
        files["mnist"].append(folder / "mnist" / f"{name}.gz")
        files["mnist"][-1].write_bytes(gzip.compress(content))
        known[part] = name, gz, checksum(content)
    patch.setattr(datasets, "MNIST", known)
    known = {}
    for name in datasets.CIFAR10:
        n = test if name == "test_batch.bin" else train // 5
        file = folder / "cifar-10-batches-bin" / name
        file.write_bytes(np.concatenate([labels(n)[:, None], pixels(n, 3072)], axis=1).tobytes())
        files["cifar-10-batches-bin"].append(file)
        known[name] = checksum(file, "sha1")
    patch.setattr(datasets, "CIFAR10", known)
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        out.add(folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
    files[archive.name] = [archive]
    known = {}
    for name, n in zip(datasets.SVHN, (train, test), strict=True):
        file = folder / "svhn" / name
        y = np.where(labels(n) == 0, 10, labels(n))[:, None]
        savemat(file, {"X": pixels(n, 32, 32, 3).transpose(1, 2, 3, 0), "y": y}, do_compression=True)
        files["svhn"].append(file)
        known[name] = checksum(file)
    patch.setattr(datasets, "SVHN", known)
    here = celeba(folder, 4, 2, 3)
    files["celeba"] = [here / name for name in datasets.CELEBA]
    patch.setattr(datasets, "CELEBA", {file.name: checksum(file) for file in files["celeba"]})
    return files


def labels(n):
    return np.arange(n, dtype=np.uint8) % 10


def idx_bytes(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
