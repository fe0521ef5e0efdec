"""Small files of random pixels in the official layout of a data set that several test modules read."""

import io
import zipfile

import numpy as np
from PIL import Image

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
