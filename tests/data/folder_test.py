import io
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from simclr_keras import data
from simclr_keras.data import scan
from simclr_keras.data import splits
from tests.data import scan_test

png, write = scan_test.png, scan_test.write


def write_classes(folder, counts):
    for name, count in counts.items():
        for index in range(count):
            seed = zlib.crc32(f"{name}/{index}".encode())
            write(folder, f"{name}/{index:02}.png", png(seed=seed))


def bmp(seed):
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


def names(split, folder):
    return [os.path.relpath(path, folder) for path in split.paths]


class TestLayouts:
    def test_classes(self, tmp_path):
        write_classes(tmp_path, {"dog": 10, "cat": 5})
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("cat", "dog")
        assert source.num_classes == 2
        for split in (source.train, source.test):
            for name, label in zip(
                names(split, tmp_path), split.labels, strict=True
            ):
                assert name.startswith(source.class_names[label])
        np.testing.assert_array_equal(np.bincount(source.test.labels), [1, 2])
        together = names(source.train, tmp_path) + names(source.test, tmp_path)
        assert len(set(together)) == 15
        assert "20% of each class, chosen by seed 0" in data.describe(source)

    def test_classes_with_deeper_folders(self, tmp_path):
        write_classes(tmp_path, {"dog/a/b": 2, "dog/c": 2, "cat": 4})
        assert data.open_source(str(tmp_path)).class_names == ("cat", "dog")

    @pytest.mark.parametrize(
        "train,test",
        [
            ("train", "test"),
            ("Train", "VAL"),
            ("train", "validation"),
            ("training", "valid"),
        ],
    )
    def test_splits(self, tmp_path, train, test):
        counts = {f"{train}/cat": 3, f"{train}/dog": 2, f"{test}/dog": 1}
        write_classes(tmp_path, counts)
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("cat", "dog")
        assert source.pretrain is source.train
        np.testing.assert_array_equal(source.train.labels, [0, 0, 0, 1, 1])
        np.testing.assert_array_equal(source.test.labels, [1])

    def test_train_split_alone(self, tmp_path):
        write_classes(tmp_path, {"train/cat": 5, "train/dog": 5})
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("cat", "dog")
        assert source.test.num_examples == 2

    def test_splits_without_classes(self, tmp_path):
        write_classes(tmp_path, {"train": 3, "test": 2, ".": 1})
        source = data.open_source(str(tmp_path))
        assert source.pretrain.num_examples == 3
        assert source.train is None and source.num_classes is None
        assert "not used: . (1), test (2)" in data.describe(source)

    def test_unlabelled_images_beside_labelled_ones(self, tmp_path):
        write_classes(
            tmp_path,
            {"train/a": 2, "train/b": 2, "test/a": 1, "unlabelled": 5},
        )
        source = data.open_source(str(tmp_path))
        assert source.pretrain.num_examples == 5
        assert not source.pretrain.has_labels
        assert source.train.num_examples == 4
        assert source.test.num_examples == 1

    def test_asked_for_splits(self, tmp_path):
        write_classes(
            tmp_path,
            {
                "train/a": 2,
                "train/b": 2,
                "test/a": 1,
                "val/a": 3,
                "extra/a": 4,
                "extra/b": 4,
            },
        )
        source = data.open_source(
            str(tmp_path), train_split="extra", eval_split="val"
        )
        assert source.pretrain.num_examples == 8
        assert source.test.num_examples == 3
        assert "not used: test (1), train (4)" in data.describe(source)

    @pytest.mark.parametrize("below", [".", "only", "all/of/them"])
    def test_not_labelled(self, tmp_path, below):
        write_classes(tmp_path, {below: 4})
        source = data.open_source(str(tmp_path))
        assert source.pretrain.num_examples == 4
        assert source.train is None and source.test is None
        assert source.num_classes is None

    def test_lone_folder_is_looked_through(self, tmp_path):
        write_classes(tmp_path, {"photos/photos/a": 2, "photos/photos/b": 2})
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("a", "b")

    def test_a_class_may_be_named_train(self, tmp_path):
        write_classes(tmp_path, {"car": 2, "bus": 2, "train": 2})
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("bus", "car", "train")

    def test_images_beside_the_classes_have_no_label(self, tmp_path):
        write_classes(tmp_path, {"cat": 5, "dog": 5, ".": 3})
        source = data.open_source(str(tmp_path))
        labels = source.pretrain.labels
        assert (labels == splits.UNLABELLED).sum() == 3
        assert source.train.num_examples == 8
        assert source.pretrain.num_examples == 11
        assert "3 images of train in no class" in data.describe(source)

    def test_classes_without_images_do_not_count(self, tmp_path):
        write_classes(tmp_path, {"cat": 2, "dog": 2})
        os.makedirs(tmp_path / "empty")
        write(tmp_path, ".ipynb_checkpoints/a.png")
        write(tmp_path, "notes/a.txt", b"text")
        write(tmp_path, "bad/a.png", b"")
        source = data.open_source(str(tmp_path), max_skipped=0.2)
        assert source.class_names == ("cat", "dog")

    def test_links_to_one_file_count_once(self, tmp_path):
        write_classes(tmp_path, {"b": 2, "c": 2})
        os.makedirs(tmp_path / "a")
        os.symlink(tmp_path / "b/00.png", tmp_path / "a/00.png")
        os.symlink(tmp_path / "c", tmp_path / "d")
        source = data.open_source(str(tmp_path))
        assert source.class_names == ("b", "c")
        assert "3 links to images" in data.describe(source)

    def test_links_in_another_split_are_kept(self, tmp_path):
        write_classes(tmp_path, {"all/a": 2, "all/b": 2})
        for path in ("train/a", "train/b", "test/a"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            os.symlink(tmp_path / "all" / path[-1], tmp_path / path)
        source = data.open_source(str(tmp_path))
        assert source.train.num_examples == 4
        assert source.test.num_examples == 2


class TestErrors:
    def test_classes_of_test_images_must_be_known(self, tmp_path):
        write_classes(
            tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/x": 1}
        )
        with pytest.raises(ValueError, match="in test, not in train: x"):
            data.open_source(str(tmp_path))

    @pytest.mark.parametrize(
        "files,message",
        [
            ({}, "where there are no files"),
            ({"a.txt": b"text"}, r"1 other file \(1 .txt\)"),
            ({"a.png": b""}, r"1 image file that .*\(a.png: empty file\)"),
            ({".a.png": png()}, "no files"),
        ],
    )
    def test_no_images(self, tmp_path, files, message):
        for name, content in files.items():
            write(tmp_path, name, content)
        with pytest.raises(ValueError, match=message) as error:
            data.open_source(str(tmp_path))
        assert str(tmp_path) in str(error.value)
        assert "FOLDER/cat/1.jpg" in str(error.value)
        assert ".jpeg" in str(error.value)

    @pytest.mark.parametrize("argument", ["train_split", "eval_split"])
    def test_unknown_splits(self, tmp_path, argument):
        write_classes(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1})
        with pytest.raises(
            ValueError, match=f"`{argument}`.*test.*train|train.*test"
        ):
            data.open_source(str(tmp_path), **{argument: "dev"})


class TestMaxSkipped:
    @pytest.fixture
    def folder(self, tmp_path):
        for index in range(9):
            write(tmp_path, f"{index}.png", png(seed=index))
        write(tmp_path, "bad.jpg", b"<html>")
        return tmp_path

    def test_a_tenth_is_left_out_and_named(self, folder):
        source = data.open_source(str(folder))
        assert source.pretrain.num_examples == 9
        assert source.skipped == (("bad.jpg", "not an image"),)

    def test_more_is_an_error_that_names_them(self, folder):
        write(folder, "a/empty.png", b"")
        with pytest.raises(ValueError, match="at most 0.1 .*2 of 11") as error:
            data.open_source(str(folder))
        assert "a/empty.png: empty file\n" in str(error.value)
        assert "bad.jpg: not an image" in str(error.value)
        source = data.open_source(str(folder), max_skipped=0.2)
        assert source.pretrain.num_examples == 9

    def test_none(self, folder):
        with pytest.raises(ValueError, match="at most 0 .*1 of 10"):
            data.open_source(str(folder), max_skipped=0.0)

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_range(self, folder, share):
        with pytest.raises(ValueError, match="`max_skipped` must be in"):
            data.open_source(str(folder), max_skipped=share)


class TestRuns:
    def test_what_a_run_writes_is_not_trained_on(self, tmp_path):
        write_classes(tmp_path, {"cat": 3, "dog": 3})
        before = data.open_source(str(tmp_path))
        write(tmp_path, "runs/1/config.json", b"{}")
        write(tmp_path, "runs/1/run.flags", b"")
        write(tmp_path, "runs/1/report/loss.png")
        write(tmp_path, "runs/2/config.json", b"{}")
        write(tmp_path, "runs/2/checkpoints/1.png")
        after = data.open_source(str(tmp_path))
        assert after.fingerprint == before.fingerprint
        assert after.class_names == ("cat", "dog")
        assert "left out: 2 folders of a training run (runs/" in data.describe(
            after
        )

    def test_config_alone_is_no_run(self, tmp_path):
        write(tmp_path, "set/config.json", b"{}")
        write(tmp_path, "set/a.png")
        assert data.open_source(str(tmp_path)).pretrain.num_examples == 1

    def test_a_run_is_no_folder_of_images(self, tmp_path):
        write(tmp_path, "config.json", b"{}")
        write(tmp_path, "run.flags", b"")
        write(tmp_path, "a.png")
        with pytest.raises(ValueError, match="not a run's `model_dir`"):
            data.open_source(str(tmp_path))


class TestCopies:
    def test_are_counted_and_told(self, tmp_path):
        write_classes(tmp_path, {"train/a": 4, "train/b": 4, "test/a": 2})
        assert data.open_source(str(tmp_path)).num_duplicates == 0
        content = (tmp_path / "train/a/00.png").read_bytes()
        write(tmp_path, "train/b/again.png", content)
        write(tmp_path, "train/b/and again.png", content)
        write(tmp_path, "test/a/leaked.png", content)
        source = data.open_source(str(tmp_path))
        assert (source.num_duplicates, source.num_leaked) == (2, 1)
        text = data.describe(source)
        assert "note: 2 of the images to pretrain on are copies" in text
        assert "note: 1 of the images to test on are also trained on" in text

    @pytest.mark.parametrize("count", [2, 4])
    def test_same_length_is_not_the_same_image(self, tmp_path, count):
        for index in range(count):
            write(tmp_path, f"{index}.bmp", bmp(seed=index))
        source = data.open_source(str(tmp_path))
        assert source.num_duplicates == 0 and source.num_leaked == 0

    def test_too_much_to_read(self, tmp_path, monkeypatch):
        for index in range(4):
            write(tmp_path, f"{index}.bmp", bmp(seed=0))
        monkeypatch.setattr(scan, "HASH_LIMIT", 100)
        source = data.open_source(str(tmp_path))
        assert source.num_duplicates is None and source.num_leaked == 0
        assert "copies were not looked for" in data.describe(source)


class TestSource:
    def test_names_what_was_skipped(self, tmp_path):
        write_classes(tmp_path, {"a": 2, "b": 2})
        write(tmp_path, "a/bad.jpg", b"<html>")
        write(tmp_path, "readme.txt", b"text")
        source = data.open_source(str(tmp_path), max_skipped=0.2)
        text = data.describe(source)
        assert "skipped: 1 image file" in text
        assert "a/bad.jpg: not an image" in text
        assert "left out: 1 other file (1 .txt)" in text

    def test_sizes(self, tmp_path):
        for index, size in enumerate([(4, 8), (10, 6), (5, 5)]):
            write(tmp_path, f"{index}.png", png(*size))
        source = data.open_source(str(tmp_path))
        assert source.image_size == 5
        assert source.sizes == "from 5 x 5 to 6 x 10 (median 6 x 5)"
        assert not source.pretrain.in_memory

    def test_images_of_one_size_are_held_in_memory(self, tmp_path):
        pixels = []
        for index in range(3):
            write(tmp_path, f"{index}.png", png(4, 5, seed=index))
            rng = np.random.default_rng(index)
            pixels.append(rng.integers(0, 256, (4, 5, 3), np.uint8))
        source = data.open_source(str(tmp_path))
        assert source.pretrain.in_memory
        assert source.sizes == "5 x 4"
        np.testing.assert_array_equal(source.pretrain.images, pixels)

    def test_fingerprint_depends_on_names_and_sizes(self, tmp_path):
        prints = set()
        for name, content in (
            ("a.png", png()),
            ("b.png", png()),
            ("a.png", png(4, 6)),
        ):
            folder = tmp_path / str(len(prints))
            write(folder, name, content)
            prints.add(data.open_source(str(folder)).fingerprint)
        assert len(prints) == 3

    def test_names_a_file_that_is_damaged_inside(self, tmp_path):
        for index in range(3):
            write(tmp_path, f"{index}.png", png(seed=index))
        content = bytearray(png(seed=1))
        content[50] ^= 255
        write(tmp_path, "1.png", bytes(content))
        source = data.open_source(str(tmp_path))
        with pytest.raises(OSError, match="Received: .*/1.png$"):
            source.pretrain.images  # noqa: B018
        write(tmp_path, "other size.png", png(9, 9))
        split = data.open_source(str(tmp_path)).pretrain
        assert not split.in_memory
        assert split.damaged() == [str(tmp_path / "1.png")]
