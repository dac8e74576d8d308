import gzip

import numpy as np
import pytest

from simclr_keras import data
from simclr_keras.data import idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 4, 6), np.uint8)
LABELS = (np.arange(10) % 3).astype(np.uint8)


def content(array, kind=0x08):
    header = bytes([0, 0, kind, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write(folder, name, array):
    packed = gzip.compress if name.endswith(".gz") else bytes
    (folder / name).write_bytes(packed(content(array)))


def write_all(folder, ending="", separator="-"):
    for part, images, labels in (
        ("train", IMAGES, LABELS),
        ("t10k", IMAGES[:4], LABELS[:4]),
    ):
        name = f"{part}-images{separator}idx3-ubyte{ending}"
        write(folder, name, images)
        name = f"{part}-labels{separator}idx1-ubyte{ending}"
        write(folder, name, labels)


class TestFromIdx:
    @pytest.mark.parametrize(
        "ending,separator", [("", "-"), (".gz", "-"), ("", "."), (".gz", ".")]
    )
    def test_reads_what_mnist_ships_as(self, tmp_path, ending, separator):
        write_all(tmp_path, ending, separator)
        source = data.open_source(str(tmp_path))
        expected = np.stack([IMAGES] * 3, axis=-1)
        np.testing.assert_array_equal(source.pretrain.images, expected)
        np.testing.assert_array_equal(source.train.labels, LABELS)
        np.testing.assert_array_equal(source.test.images, expected[:4])
        np.testing.assert_array_equal(source.test.labels, LABELS[:4])
        assert source.num_classes == 3
        assert source.image_size == 4

    def test_labels_and_test_images_may_be_absent(self, tmp_path):
        write(tmp_path, "train-images-idx3-ubyte", IMAGES)
        source = data.open_source(str(tmp_path))
        assert source.pretrain.num_examples == 10
        assert source.train is None

    def test_other_files_do_not_matter(self, tmp_path):
        write_all(tmp_path)
        (tmp_path / "README.md").write_text("text")
        (tmp_path / "notes-idx3-ubyte").write_text("text")
        assert data.open_source(str(tmp_path)).pretrain.num_examples == 10

    def test_needs_train_images(self, tmp_path):
        write(tmp_path, "t10k-images-idx3-ubyte", IMAGES)
        with pytest.raises(ValueError, match="train-images.*t10k-images"):
            data.open_source(str(tmp_path))

    def test_counts_must_agree(self, tmp_path):
        write(tmp_path, "train-images-idx3-ubyte", IMAGES)
        write(tmp_path, "train-labels-idx1-ubyte", LABELS[:-1])
        with pytest.raises(ValueError, match="9 labels and 10 images"):
            data.open_source(str(tmp_path))


class TestRead:
    @pytest.mark.parametrize(
        "raw,message",
        [
            (b"", "begins with nothing"),
            (b"\x1f\x8b", "begins with 1f8b"),
            (content(LABELS), "begins with 00000801"),
            (content(IMAGES, kind=0x0D), "begins with 00000d03"),
            (content(IMAGES)[:-1], "must have 256 bytes.*with 255"),
            (content(IMAGES) + b"\0", "must have 256 bytes.*with 257"),
            (content(IMAGES)[:13], "must have.*with 13"),
            (content(IMAGES)[:4], "must have.*with 4"),
        ],
    )
    def test_damaged_files(self, tmp_path, raw, message):
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=message) as error:
            idx.read(str(path), 3)
        assert str(path) in str(error.value)

    @pytest.mark.parametrize(
        "raw", [b"", b"no gzip", gzip.compress(content(IMAGES))[:-20]]
    )
    def test_damaged_packed_files(self, tmp_path, raw):
        path = tmp_path / "train-images-idx3-ubyte.gz"
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=str(path)):
            idx.read(str(path), 3)
