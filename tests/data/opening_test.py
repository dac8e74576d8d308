import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

from simclr_keras import data
from tests.data import scan_test


class TestOpenSource:
    @pytest.mark.parametrize("dataset", ["", " ", None])
    def test_nothing(self, dataset):
        with pytest.raises(ValueError, match="must be digits, a name of"):
            data.open_source(dataset)

    @pytest.mark.parametrize(
        "dataset", ["/no/such/folder", "./none", "~/none-here", "none.npz"]
    )
    def test_paths_that_do_not_exist(self, dataset):
        with pytest.raises(ValueError, match="there is no /.*no") as error:
            data.open_source(dataset)
        assert "~" not in str(error.value).rsplit("there is no")[1]

    @pytest.mark.parametrize(
        "name,content,advice",
        [
            ("a.md", b"text", "a.md"),
            ("a.png", scan_test.png(), "name the folder it lies in"),
            ("t10k-labels-idx1-ubyte", b"", "name the folder it lies in"),
            ("a.tar.gz", gzip.compress(b"", mtime=0), "unpack it"),
            ("a.npy", b"", r"np.savez\(file, x_train=images\)"),
        ],
    )
    def test_files_of_other_kinds(self, tmp_path, name, content, advice):
        path = scan_test.write(tmp_path, name, content)
        with pytest.raises(ValueError, match=f"must be digits.*{advice}"):
            data.open_source(str(path))

    def test_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        scan_test.write(tmp_path, "photos/a.png")
        source = data.open_source("~/photos")
        assert source.pretrain.num_examples == 1

    def test_a_folder_comes_before_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        scan_test.write(tmp_path, "cifar10/a.png")
        assert data.open_source("cifar10").pretrain.num_examples == 1
        with pytest.raises(ValueError, match="must be prepared"):
            data.open_source("cifar10", data_dir=str(tmp_path))

    def test_digits_are_not_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        scan_test.write(tmp_path, "digits/a.png")
        assert data.open_source("digits").num_classes == 10
        assert data.open_source("./digits").pretrain.num_examples == 1

    @pytest.mark.parametrize("dataset", ["digits", "."])
    def test_data_dir_is_for_names(self, dataset):
        with pytest.raises(ValueError, match="`data_dir` is for names"):
            data.open_source(dataset, data_dir="/tmp")

    def test_the_folder_of_a_prepared_data_set(self, tmp_path):
        scan_test.write(tmp_path, "dataset_info.json", b"{}")
        with pytest.raises(ValueError, match="the folder of one"):
            data.open_source(str(tmp_path))

    def test_unreadable_folder(self, tmp_path, monkeypatch):
        def scandir(path):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.raises(ValueError, match="readable.*Permission denied"):
            data.open_source(str(tmp_path))

    @pytest.mark.parametrize("argument", ["train_split", "eval_split"])
    def test_unknown_splits(self, argument):
        with pytest.raises(
            ValueError, match=f'`{argument}` must be one of "train", "test"'
        ):
            data.open_source("digits", **{argument: "validation"})


class TestTensorFlowIsNotImported:
    def test_before_images_are_read(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 3, 3), np.uint8))
        scan_test.write(tmp_path, "folder/a.png")
        code = f"""
import sys
from simclr_keras import data
data.open_source("digits")
data.open_source({str(tmp_path / "a.npz")!r})
print(data.describe(data.open_source({str(tmp_path / "folder")!r})))
for dataset in ("", "/none", "cifar11", "cifar10", "imdb_reviews"):
    try:
        data.open_source(dataset, data_dir={str(tmp_path)!r})
    except ValueError as error:
        assert "Received" in str(error)
    else:
        raise AssertionError(dataset)
assert "tensorflow" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)


class TestWhole:
    def test_nothing_is_put_aside(self, tmp_path):
        for name in ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"):
            scan_test.write(tmp_path, name, scan_test.png(seed=len(name)))
        source = data.open_source(str(tmp_path), whole=True)
        [(name, split)] = source.named.items()
        assert (name, split.num_examples) == ("train", 4)
        np.testing.assert_array_equal(split.labels, [0, 0, 1, 1])
        assert source.test is None
        assert source.num_duplicates is None
        assert data.open_source(str(tmp_path)).named is None

    def test_all_splits_of_arrays_in_order(self, tmp_path):
        arrays = {
            "x_train": np.arange(5, dtype=np.uint8).repeat(4).reshape(5, 2, 2),
            "x_test": np.arange(7, 9, dtype=np.uint8)
            .repeat(4)
            .reshape(2, 2, 2),
            "y_train": np.array([1, 0, 1, 0, 1]),
        }
        np.savez(tmp_path / "a.npz", **arrays)
        source = data.open_source(str(tmp_path / "a.npz"), whole=True)
        assert list(source.named) == ["train", "test"]
        for name, split in source.named.items():
            np.testing.assert_array_equal(
                split.images[:, 0, 0, 0], arrays[f"x_{name}"][:, 0, 0]
            )
        assert source.num_classes == 2
        assert not source.named["test"].has_labels
