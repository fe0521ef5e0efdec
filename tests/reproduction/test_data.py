"""Data sets on small files in the official layouts: what is whole is read, everything else says what to do."""

import errno
import gzip
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from ncode.reproduction.data import datasets, formats
from ncode.reproduction.data.downloads import DataError, checksum
from ncode.reproduction.experiments.image_classification import train
from tests.reproduction import synthetic
from tests.reproduction.synthetic import encoded, idx_bytes, labels, pixels

TRAIN, TEST, HELD_OUT = 30, 10, 5


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_DATA", str(tmp_path))
    sizes = {"mnist": (TRAIN, TEST), "cifar-10-batches-bin": (TRAIN, TEST), "svhn": (TRAIN, TEST)}
    monkeypatch.setattr(datasets, "SIZES", sizes)
    monkeypatch.setattr(datasets, "VALIDATION", HELD_OUT)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may reach a real server."""

    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """The four files, gzipped, declared official; returns their arrays."""
    arrays = {
        "train x": pixels(TRAIN, 28, 28),
        "train y": labels(TRAIN),
        "test x": pixels(TEST, 28, 28),
        "test y": labels(TEST),
    }
    official = {}
    (tmp_path / "mnist").mkdir()
    for part, (name, gz, _) in datasets.MNIST.items():
        content = idx_bytes(arrays[part])
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
        official[part] = name, gz, checksum(content)
    monkeypatch.setattr(datasets, "MNIST", official)
    return arrays


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """The unpacked folder, declared official; returns its files' contents."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    contents = {}
    for name in datasets.CIFAR10:
        n = TEST if name == "test_batch.bin" else TRAIN // 5
        contents[name] = np.concatenate([labels(n)[:, None], pixels(n, 3072)], axis=1).tobytes()
        (folder / name).write_bytes(contents[name])
    monkeypatch.setattr(datasets, "CIFAR10", {name: checksum(content, "sha1") for name, content in contents.items()})
    return contents


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    (tmp_path / "svhn").mkdir()
    official = {}
    for name, n in zip(datasets.SVHN, (TRAIN, TEST), strict=True):
        file = tmp_path / "svhn" / name
        y = np.where(labels(n) == 0, 10, labels(n))[:, None]
        savemat(file, {"X": pixels(n, 32, 32, 3).transpose(1, 2, 3, 0), "y": y}, do_compression=True)
        official[name] = checksum(file)
    monkeypatch.setattr(datasets, "SVHN", official)
    return official


@pytest.fixture
def celeba(tmp_path, monkeypatch):
    folder = synthetic.celeba(tmp_path, 4, 2, 3)
    monkeypatch.setattr(datasets, "CELEBA", {name: checksum(folder / name) for name in datasets.CELEBA})
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "imagenet64"
    for half, n in (("train", 10), ("val", 3)):
        for label in ("cat", "dog"):
            (folder / half / label).mkdir(parents=True)
            for i in range(n):
                (folder / half / label / f"{i}.png").write_bytes(encoded(64, 64))
    return folder


def assert_parts(splits, train, validation, test, shape):
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (train, validation, test)
    for part in (splits.train, splits.validation, splits.test):
        assert part.x.dtype == torch.uint8
        assert part.x.shape[1:] == shape
        assert part.y.dtype == torch.int64


def test_the_digits_that_come_with_a_dependency():
    splits = datasets.digits()
    assert_parts(splits, 3500, 500, 1000, (1, 28, 28))
    everything = torch.cat([splits.train.y, splits.validation.y, splits.test.y])
    assert everything.bincount().tolist() == [500] * 10
    # Real digits, not shuffled apart from their labels: the zeros' centre is darker than the ones'.
    centre = splits.train.x[:, 0, 12:16, 12:16].float().mean((1, 2))
    assert centre[splits.train.y == 0].mean() < 0.3 * centre[splits.train.y == 1].mean()


def test_mnist_reads_what_is_there(mnist):
    splits = datasets.mnist()
    assert splits.name == "MNIST"
    assert_parts(splits, TRAIN - HELD_OUT, HELD_OUT, TEST, (1, 28, 28))
    assert np.array_equal(splits.test.x[:, 0], mnist["test x"])
    # Training and validation images together are the official training set, each with its own label.
    x, y = torch.cat([splits.train.x, splits.validation.x]), torch.cat([splits.train.y, splits.validation.y])
    for image, label in zip(mnist["train x"], mnist["train y"], strict=True):
        (row,) = (x[:, 0] == torch.from_numpy(image)).all(dim=(1, 2)).nonzero()[0]
        assert y[row] == label


def test_mnist_may_be_uncompressed_or_gzipped_by_anybody(mnist, tmp_path):
    first = datasets.mnist()
    for file in (tmp_path / "mnist").glob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert torch.equal(first.train.x, datasets.mnist().train.x)


def test_splits_are_fixed(mnist):
    assert torch.equal(datasets.mnist().validation.x, datasets.mnist().validation.x)


def test_cifar10_is_read_from_the_folder_and_from_the_archive(cifar, tmp_path, monkeypatch):
    splits = datasets.cifar10()
    assert_parts(splits, TRAIN - HELD_OUT, HELD_OUT, TEST, (3, 32, 32))
    record = np.frombuffer(cifar["test_batch.bin"], np.uint8)[: formats.CIFAR_RECORD]
    assert splits.test.y[0] == record[0]
    assert splits.test.x[0, 1, 2, 3] == record[1 + 1024 + 2 * 32 + 3]
    folder = tmp_path / "cifar-10-batches-bin"
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        out.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert torch.equal(datasets.cifar10().train.x, splits.train.x)
    assert not folder.exists()
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz.*truncated"):
        datasets.cifar10()


def test_svhn_is_read_and_its_class_10_is_the_digit_0(svhn, tmp_path):
    splits = datasets.svhn()
    assert_parts(splits, TRAIN - HELD_OUT, HELD_OUT, TEST, (3, 32, 32))
    assert splits.test.y.tolist() == labels(TEST).tolist()


def test_celeba_is_cropped_scaled_and_decoded_once(celeba, monkeypatch):
    splits = datasets.celeba()
    assert splits.name == "CelebA"
    assert_parts(splits, 4, 2, 3, (3, 64, 64))
    with zipfile.ZipFile(celeba / "img_align_celeba.zip") as archive:
        first = Image.open(archive.open("img_align_celeba/000001.jpg"))
        crop = first.crop((19, 39, 159, 179)).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(splits.train.x[0], np.asarray(crop).transpose(2, 0, 1))
    monkeypatch.setattr(formats, "picture", lambda *_: pytest.fail("decoded again"))
    again = datasets.celeba()
    assert torch.equal(again.train.x, splits.train.x)
    # Whoever changes what was loaded changes nothing on disk.
    again.train.x.zero_()
    assert torch.equal(datasets.celeba().train.x, splits.train.x)


def test_a_folder_of_pictures(pictures):
    splits = datasets.imagenet64()
    assert_parts(splits, 18, 2, 6, (3, 64, 64))
    assert splits.classes == ("cat", "dog")
    assert splits.test.y.tolist() == [0, 0, 0, 1, 1, 1]
    first = np.asarray(Image.open(pictures / "val" / "cat" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(splits.test.x[0], first)


def test_load_knows_the_names():
    assert datasets.load("digits") is datasets.digits()
    with pytest.raises(ValueError, match="imagenet64"):
        datasets.load("imagenet")


# What is wrong with a file, what its error says. Every error names the file and a remedy. Without a variant's name, a
# file that can be expanded is compared with the official one before it is looked into.
NOT_OFFICIAL = "not the official release's"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda gz: gz[:-40], "truncated or corrupt"),
        (lambda gz: gz[:60] + bytes(20) + gz[80:], "truncated or corrupt"),
        (lambda gz: gzip.compress(gzip.decompress(gz)[:-28]), "its header says"),
        (lambda gz: gzip.compress(b"<html>not found</html>"), "no IDX file"),
        (lambda gz: b"", "no IDX file"),
    ],
)
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_damaged_mnist(mnist, tmp_path, damage, message, variant):
    file = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=message if variant else f"{message}|{NOT_OFFICIAL}") as caught:
        datasets.mnist(variant)
    assert str(file) in str(caught.value)
    assert "Delete it" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"), [(lambda b: b[:-1], "are not 6 records"), (lambda b: b"\x0b" + b[1:], "label 11")]
)
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_damaged_cifar10(cifar, tmp_path, damage, message, variant):
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=message if variant else NOT_OFFICIAL) as caught:
        datasets.cifar10(variant)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"x" * len(b), lambda b: b""])
@pytest.mark.parametrize("variant", ["", "a copy"])
def test_damaged_svhn(svhn, tmp_path, damage, variant):
    file = tmp_path / "svhn" / "train_32x32.mat"
    file.write_bytes(damage(file.read_bytes()))
    # Cut in its second half, a file still has whole headers, and only one of them.
    with pytest.raises(DataError, match="truncated or corrupt|not X of" if variant else NOT_OFFICIAL) as caught:
        datasets.svhn(variant)
    assert str(file) in str(caught.value)


def test_svhn_of_another_shape(svhn, tmp_path):
    file = tmp_path / "svhn" / "test_32x32.mat"
    savemat(file, {"X": pixels(TEST, 16, 16, 3).transpose(1, 2, 3, 0), "y": np.ones((TEST, 1))})
    with pytest.raises(DataError, match=r"test_32x32.*holds .*\(16, 16, 3"):
        datasets.svhn("small")


def test_other_content_needs_a_name_and_keeps_it(cifar, tmp_path):
    file = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch.*not the official release's.*variant"):
        datasets.cifar10()
    assert datasets.cifar10("JPEG copy").name == "CIFAR-10, JPEG copy"
    file.write_bytes(cifar["test_batch.bin"])
    # The official content is the official content, whatever name was asked for.
    assert datasets.cifar10("JPEG copy").name == "CIFAR-10"


def test_a_file_of_whole_records_that_is_too_short(cifar, tmp_path):
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_5.bin"
    file.write_bytes(file.read_bytes()[: -formats.CIFAR_RECORD])
    with pytest.raises(DataError, match=r"data_batch_5.*are not 6 records"):
        datasets.cifar10("a copy")


def test_a_missing_file_beside_the_others(cifar, tmp_path):
    (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin: is missing"):
        datasets.cifar10()


def test_images_and_labels_must_belong_together(mnist, tmp_path):
    name = datasets.MNIST["test y"][0]
    (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(labels(TEST - 1))))
    with pytest.raises(DataError, match=r"t10k-labels.*says \(9,\), but it must be \(10,\)"):
        datasets.mnist("a copy")


def test_celeba_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"img_align_celeba\.zip: is missing.*authors' page") as caught:
        datasets.celeba()
    assert str(tmp_path / "celeba") in str(caught.value)


def test_damaged_celeba(celeba):
    archive = celeba / "img_align_celeba.zip"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"img_align_celeba\.zip: its content is not the official"):
        datasets.celeba()
    with pytest.raises(DataError, match=r"img_align_celeba\.zip: is truncated"):
        datasets.celeba("a copy")
    damaged = bytearray(whole)
    damaged[200:3000] = bytes(2800)
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match=r"truncated or corrupt|no whole picture"):
        datasets.celeba("a copy")
    archive.write_bytes(whole)
    (celeba / "list_eval_partition.txt").write_text("000001.jpg 2\n000002.jpg 0\n")
    with pytest.raises(DataError, match=r"list_eval_partition.*in this order"):
        datasets.celeba("a copy")
    assert not list(celeba.glob("*.npy"))


def test_pictures_of_the_wrong_size_or_none(pictures):
    file = pictures / "train" / "dog" / "4.png"
    file.write_bytes(encoded(64, 48))
    with pytest.raises(DataError, match=r"dog/4\.png: is 64×48, not 64×64"):
        datasets.imagenet64()
    file.write_bytes(encoded(64, 64)[:-500])
    with pytest.raises(DataError, match=r"dog/4\.png: is no whole picture"):
        datasets.imagenet64()
    assert not list(pictures.glob("*.npy"))
    file.write_bytes(encoded(64, 64))
    for file in (pictures / "val").rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="no pictures there"):
        datasets.imagenet64()


def test_a_changed_folder_is_decoded_anew(pictures):
    datasets.imagenet64()
    (pictures / "val" / "dog" / "new.png").write_bytes(encoded(64, 64))
    assert len(datasets.imagenet64().test) == 7


def test_a_full_disk_while_decoding_leaves_nothing(celeba, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "open_memmap", full)
        with pytest.raises(DataError, match=r"celeba-64-.*disk is full.*NCODE_DATA"):
            datasets.celeba()
    assert sorted(path.name for path in celeba.iterdir()) == ["img_align_celeba.zip", "list_eval_partition.txt"]


@pytest.mark.parametrize("load", [datasets.mnist, datasets.cifar10, datasets.svhn])
def test_no_network_and_no_files(load, tmp_path):
    with pytest.raises(DataError, match=r"could not be downloaded.*put the file there by hand.*NCODE_DATA"):
        load()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def prepared():
    """Nothing prepared from other files is found again, before or after."""
    train.prepare.cache_clear()
    yield
    train.prepare.cache_clear()


@pytest.mark.parametrize("model", ["node", "anode", "wide", "open"])
@pytest.mark.parametrize(("dataset", "classes"), [("svhn", 10), ("imagenet64", 2)])
def test_from_files_in_the_official_layout_to_a_trained_model(dataset, classes, model, svhn, pictures, prepared):
    """What needs data that few have: read from files of its layout, trained on for two steps, and tested."""
    small = {"size": 16, "filters": 3, "augment": 2, "images": 16, "batch": 8, "epochs": 1, "looks": 1}
    config = train.Config(model, 0, dataset, **small)
    result = train.train(config)
    assert train.prepare(dataset, "", 16, 16).train[0].shape == (16, 3, 16, 16)
    assert result.history.iterations == 2 and not result.history.failures
    assert result.metrics["test_loss"] < 5 * np.log(classes) and 0 <= result.metrics["test_accuracy"] <= 1
    assert result.model.readout.out_features == classes
    before, after = (
        torch.cat([weight.detach().flatten() for weight in part.parameters()])
        for part in (train.build(config, classes), result.model)
    )
    assert torch.isfinite(after).all() and not torch.equal(before, after)
