"""Files that are damaged, altered or made to harm: each gives the one error, and none is taken for what it is not."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from ncode.reproduction.data import datasets
from ncode.reproduction.data.downloads import DataError
from tests.reproduction import synthetic

LOADERS = {
    "mnist": datasets.mnist,
    "cifar-10-batches-bin": datasets.cifar10,
    "cifar-10-binary.tar.gz": datasets.cifar10,
    "svhn": datasets.svhn,
    "celeba": datasets.celeba,
}
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """One small data folder in which everything counts as official; by what a loader reads, its files."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("NCODE_DATA", str(folder))
        files = synthetic.official(folder, patch)
        yield files


@pytest.fixture
def whole(official):
    """As :func:`official`; whatever a test does to a file is undone after it."""
    kept = {file: file.read_bytes() for files in official.values() for file in files}
    yield official
    for file, content in kept.items():
        if file.is_dir():
            file.rmdir()
        file.write_bytes(content)
    for cache in (next(iter(official["celeba"])).parent).glob("*.npy*"):
        cache.unlink()


def load(layout, files, variant=""):
    """The data set of a layout; CIFAR-10's folder goes before its archive, so it is out of the way for that."""
    folder = files["cifar-10-batches-bin"][0].parent
    hidden = folder.with_name("hidden")
    if layout == "cifar-10-binary.tar.gz":
        folder.rename(hidden)
    try:
        return LOADERS[layout](variant)
    finally:
        if hidden.exists():
            hidden.rename(folder)


def refused(layout, files, file, variant="a copy", match="."):
    with pytest.raises(DataError, match=match) as caught:
        load(layout, files, variant)
    assert file.name in str(caught.value)
    assert any(word in str(caught.value) for word in ("Delete", "Get", "Replace", "Put", "take it out", "Scale"))


def tensors(splits):
    return [part for half in (splits.train, splits.validation, splits.test) for part in (half.x, half.y)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def idx(*shape, content=b""):
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


# Kinds of damage to a file that is asked for under a variant's name, or to one that stands for an official one.


@pytest.mark.parametrize("shape", [(2**31, 2**31), (2**31, 2**31, 4), (2**32 - 1, 0, 5), (1,) * 200, ()])
def test_an_idx_header_of_any_size(whole, shape):
    for file in whole["mnist"]:
        content = file.read_bytes()
        file.write_bytes(gzip.compress(idx(*shape)))
        refused("mnist", whole, file)
        file.write_bytes(idx(*shape))
        refused("mnist", whole, file)
        file.write_bytes(content)


@pytest.mark.parametrize("shape", [(30 * 28 * 28,), (30, 28, 28, 1), (30, 1, 28, 28), (30, 784), (30, 14, 56)])
def test_images_of_other_dimensions(whole, shape):
    file = whole["mnist"][0]
    file.write_bytes(gzip.compress(idx(*shape, content=synthetic.pixels(30, 28, 28).tobytes())))
    refused("mnist", whole, file, match="must be|more than the 23536 bytes")


@pytest.mark.parametrize("label", [10, 70, 255])
def test_labels_of_mnist_out_of_range(whole, label):
    file = whole["mnist"][1]
    file.write_bytes(gzip.compress(idx(30, content=bytes([label] * 30))))
    refused("mnist", whole, file, match=str(label))


@pytest.mark.parametrize(
    "y",
    [
        np.full((30, 1), np.nan),
        np.full((30, 1), np.inf),
        np.full((30, 1), 70),
        np.full((30, 1), 255, dtype=np.uint8),
        np.full((30, 1), -1),
        np.full((30, 1), 1.5),
        np.full((30, 1), 1 + 1j),
        np.array([["1"]] * 30),
        np.array([["a"]] * 30),
        np.array([[None]] * 30, dtype=object).astype(str),
        np.ones((15, 2)),
        np.ones((1, 1)),
        np.ones((0, 0)),
    ],
    ids=lambda y: f"{y.dtype}{y.shape}{y.flat[0] if y.size else ''}",
)
def test_labels_of_svhn_that_are_none(whole, y):
    file = whole["svhn"][0]
    savemat(file, {"X": synthetic.pixels(30, 32, 32, 3).transpose(1, 2, 3, 0), "y": y})
    refused("svhn", whole, file)


def test_matrices_under_other_names(whole):
    file = whole["svhn"][0]
    savemat(file, {"x": synthetic.pixels(30, 32, 32, 3).transpose(1, 2, 3, 0), "Y": np.ones((30, 1))})
    refused("svhn", whole, file)


def repacked(archive, change):
    """The archive with its first picture's entry and content changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for i, info in enumerate(before.infolist()):
            after.writestr(info.filename, change(before.read(info)) if i == 0 else before.read(info))
    return bytearray(out.getvalue())


def picture(width, height):
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 12_000), (5_000, 5_000)])
def test_a_picture_of_hundreds_of_megapixels(whole, size):
    archive = whole["celeba"][0]
    archive.write_bytes(repacked(archive, lambda _: picture(*size)))
    with pytest.raises(DataError, match=rf"000001\.jpg: .*{size[0]}×{size[1]}|000001\.jpg: .*bomb"):
        datasets.celeba("a copy")


def test_an_encrypted_member(whole):
    archive = whole["celeba"][0]
    content = repacked(archive, bytes)
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    refused("celeba", whole, archive, match="encrypted")


def test_an_unknown_compression_method(whole):
    archive = whole["celeba"][0]
    content = repacked(archive, bytes)
    content[8] = content[content.index(b"PK\1\2") + 10] = 77
    archive.write_bytes(content)
    refused("celeba", whole, archive)


def test_a_member_of_gigabytes(whole):
    archive = whole["celeba"][0]
    archive.write_bytes(repacked(archive, lambda _: bytes(300 * MEGABYTE)))
    with peak_below(100):
        refused("celeba", whole, archive)


def test_a_picture_of_another_format(whole):
    """PostScript, which an interpreter would be started for."""
    archive = whole["celeba"][0]
    archive.write_bytes(repacked(archive, lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 178 218\n"))
    with pytest.raises(DataError, match=r"000001\.jpg: is no whole picture"):
        datasets.celeba("a copy")


@pytest.mark.parametrize("layout", LOADERS)
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_a_folder_in_a_files_place(whole, layout, variant):
    for file in whole[layout]:
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        refused(layout, whole, file, variant)
        file.rmdir()
        file.write_bytes(content)


def test_a_folder_called_as_a_picture(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_DATA", str(tmp_path))
    for half in ("train", "val"):
        for label in ("cat", "dog"):
            (tmp_path / "imagenet64" / half / label).mkdir(parents=True)
            for i in range(10):
                file = tmp_path / "imagenet64" / half / label / f"{i}.png"
                file.write_bytes(synthetic.encoded(64, 64))
    bad = tmp_path / "imagenet64" / "train" / "dog" / "x.png"
    bad.mkdir()
    with pytest.raises(DataError, match=r"x\.png: .*folder"):
        datasets.imagenet64()
    bad.rmdir()
    bad.write_bytes(picture(20_000, 20_000))
    with pytest.raises(DataError, match=r"x\.png: is 20000×20000|x\.png: .*bomb"):
        datasets.imagenet64()
    bad.unlink()
    (tmp_path / "imagenet64" / "val" / "horse").mkdir()
    (tmp_path / "imagenet64" / "val" / "horse" / "1.png").write_bytes(synthetic.encoded(64, 64))
    with pytest.raises(DataError, match="horse"):
        datasets.imagenet64()


# Bombs: nothing is expanded before it is known to be the official content, or of its size.


class peak_below:
    """Fails where more megabytes than these were held at once."""

    def __init__(self, megabytes):
        self.megabytes = megabytes

    def __enter__(self):
        tracemalloc.start()

    def __exit__(self, *error):
        peak = tracemalloc.get_traced_memory()[1] / MEGABYTE
        tracemalloc.stop()
        assert peak < self.megabytes


def bomb(start=b"", megabytes=300):
    """Megabytes of zeros behind a start, gzipped."""
    deflate = zlib.compressobj(1, wbits=31)
    parts = [deflate.compress(start), *(deflate.compress(bytes(MEGABYTE)) for _ in range(megabytes)), deflate.flush()]
    return b"".join(parts)


@pytest.mark.parametrize("variant", ["", "a copy"])
def test_a_bomb_of_digits(whole, variant):
    file = whole["mnist"][0]
    file.write_bytes(bomb(idx(300, 1024, 1024)))
    with peak_below(50):
        refused("mnist", whole, file, variant)
    with file.open("wb") as out:
        out.write(idx(300, 1024, 1024))
        out.truncate(300 * MEGABYTE + 16)
    with peak_below(50):
        refused("mnist", whole, file, variant)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_a_bomb_of_an_archive(whole, variant, kind):
    (archive,) = whole["cifar-10-binary.tar.gz"]
    info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    info.size, info.type = 300 * MEGABYTE, kind
    archive.write_bytes(bomb(info.tobuf()))
    with peak_below(50):
        refused("cifar-10-binary.tar.gz", whole, archive, variant)


@pytest.mark.parametrize("variant", ["", "a copy"])
def test_a_bomb_of_matrices(whole, variant):
    file = whole["svhn"][0]
    savemat(file, {"X": np.zeros((1024, 1024, 3, 100), np.uint8), "y": np.ones((100, 1))}, do_compression=True)
    # SciPy expands one block of 128 KB at a time, by at most a factor of a thousand, and copies that once.
    with peak_below(300 if variant else 50):
        refused("svhn", whole, file, variant)


# Caches.


@pytest.mark.parametrize("damage", ["truncate", "empty", "a pixel", "the header", "other pickle", "no checksum"])
def test_a_damaged_cache_is_made_anew(whole, damage):
    before = datasets.celeba()
    kept = [part.clone() for part in tensors(before)]
    (cache,) = whole["celeba"][0].parent.glob("*.npy")
    content = bytearray(cache.read_bytes())
    if damage == "truncate":
        cache.write_bytes(content[:-100])
    elif damage == "empty":
        cache.write_bytes(b"")
    elif damage == "a pixel":
        content[-1000] ^= 1
        cache.write_bytes(content)
    elif damage == "the header":
        content[60] ^= 1
        cache.write_bytes(content)
    elif damage == "other pickle":
        np.save(cache, np.array([{}], dtype=object), allow_pickle=True)
    else:
        for file in cache.parent.glob("*.sha256"):
            file.unlink()
    with pytest.warns(UserWarning, match=rf"{cache.name}.*decoded anew"):
        after = datasets.celeba()
    assert all(torch.equal(a, b) for a, b in zip(kept, tensors(after), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept, tensors(datasets.celeba()), strict=True))


# Whatever happens to a file.


@st.composite
def mutations(draw):
    """A function of a file's bytes: what disks, networks, editors and wrong tools do to them."""
    kind = draw(st.sampled_from(["flip", "truncate", "insert", "zero", "swap", "append", "replace"]))
    where, length = draw(st.floats(0, 1, exclude_max=True)), draw(st.sampled_from([1, 4, 64, 4000]))
    noise = draw(st.binary(min_size=1, max_size=64))

    def mutate(content):
        at = int(where * max(1, len(content)))
        if kind == "flip":
            return content[:at] + bytes([content[at] ^ (1 << noise[0] % 8)]) + content[at + 1 :]
        return {
            "truncate": content[:at],
            "insert": content[:at] + noise + content[at:],
            "zero": content[:at] + bytes(len(content[at : at + length])) + content[at + length :],
            "swap": content[at:] + content[:at],
            "append": content + noise,
            "replace": noise,
        }[kind]

    return mutate


@pytest.mark.parametrize("layout", LOADERS)
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_a_mutated_file_is_refused_or_named(official, layout, variant):
    """Never taken as official, and whatever is wrong with it is said by the one error, which names a file."""
    plain = load(layout, official)
    files = official[layout]

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(files), mutations())
    def holds(file, mutate):
        content = file.read_bytes()
        file.write_bytes(mutate(content))
        try:
            splits = load(layout, official, variant)
        except DataError as error:
            assert any(other.name in str(error) for other in files) or ".jpg" in str(error)
        else:
            # What a gzip's or an archive's own header says beside its content may change.
            assert variant in splits.name if variant and not same(splits, plain) else same(splits, plain)
        finally:
            file.write_bytes(content)

    holds()
