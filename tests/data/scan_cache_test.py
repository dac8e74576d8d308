import os

import numpy as np
import pytest

from simclr_keras import data
from simclr_keras.data import image_files
from simclr_keras.data import scan
from simclr_keras.data import scan_cache
from tests.data import scan_test

png, write, paths = scan_test.png, scan_test.write, scan_test.paths


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_KERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scans"


@pytest.fixture
def folder(tmp_path, cache):
    for index in range(4):
        write(tmp_path, f"set/{index}.png", png(3, 4 + index))
    write(tmp_path, "set/bad.png", b"text")
    write(tmp_path, "set/cut.png", png()[:-30])
    return tmp_path / "set"


@pytest.fixture
def read(monkeypatch):
    """Names of the files whose headers are read."""
    names = []
    header = image_files.header

    def reading(path, num_bytes):
        names.append(os.path.basename(path))
        return header(path, num_bytes)

    monkeypatch.setattr(image_files, "header", reading)
    return names


def same(left, right):
    assert paths(left) == paths(right)
    np.testing.assert_array_equal(left.sizes, right.sizes)
    np.testing.assert_array_equal(left.num_bytes, right.num_bytes)
    np.testing.assert_array_equal(left.contents, right.contents)
    assert left.skipped == right.skipped


class TestSecondScan:
    def test_reads_no_file(self, folder, read):
        first = scan.scan(folder)
        assert len(read) == 6
        same(scan.scan(folder), first)
        assert len(read) == 6

    def test_reads_what_is_new(self, folder, read):
        scan.scan(folder)
        del read[:]
        write(folder, "new.png", png(3, 30))
        os.remove(folder / "1.png")
        found = scan.scan(folder)
        assert read == ["new.png"]
        assert paths(found) == ["0.png", "2.png", "3.png", "new.png"]

    def test_reads_what_changed(self, folder, read):
        scan.scan(folder)
        del read[:]
        write(folder, "0.png", png(3, 40))
        os.utime(folder / "1.png", ns=(0, 0))
        os.rename(folder / "2.png", folder / "x.png")
        write(folder, "3.png.new", png(3, 7))
        os.replace(folder / "3.png.new", folder / "3.png")
        found = scan.scan(folder)
        assert sorted(read) == ["0.png", "1.png", "3.png", "x.png"]
        assert found.sizes[0].tolist() == [3, 40]

    def test_copies_are_known_without_reading(self, folder, monkeypatch):
        write(folder, "copy.png", png(3, 4))
        first = data.open_source(str(folder), max_skipped=0.5)
        assert first.num_duplicates == 1
        monkeypatch.setattr(scan.contents, "of_file", None)
        second = data.open_source(str(folder), max_skipped=0.5)
        assert second.num_duplicates == 1

    def test_a_later_copy_is_found(self, folder):
        scan.scan(folder)
        write(folder, "copy.png", png(3, 4))
        source = data.open_source(str(folder), max_skipped=0.5)
        assert source.num_duplicates == 1

    def test_a_file_that_could_not_be_read_is_tried_again(
        self, folder, monkeypatch
    ):
        header = image_files.header

        def refusing(path, num_bytes):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(image_files, "header", refusing)
        assert dict(scan.scan(folder).skipped)["0.png"] == "Permission denied"
        monkeypatch.setattr(image_files, "header", header)
        assert "0.png" in paths(scan.scan(folder))


class TestCacheFile:
    def test_lies_outside_of_the_data(self, folder, cache):
        before = sorted(os.listdir(folder))
        scan.scan(folder)
        assert sorted(os.listdir(folder)) == before
        [name] = os.listdir(cache)
        assert name.endswith(".npz")

    def test_one_for_each_folder(self, folder, cache):
        write(folder.parent, "other/a.png")
        scan.scan(folder)
        scan.scan(folder.parent / "other")
        scan.scan(os.path.relpath(folder))
        assert len(os.listdir(cache)) == 2

    def test_is_in_the_home_folder_by_default(self, monkeypatch, tmp_path):
        monkeypatch.delenv("SIMCLR_KERAS_CACHE")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert scan_cache.folder() == str(
            tmp_path / ".cache/simclr_keras/scans"
        )

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: b"text",
            lambda content: content[: len(content) // 2],
            lambda content: content[:-1],
            lambda content: content[:300] + b"\0\1\2\3" + content[304:],
            lambda content: content.replace(b"rows.npy", b"cows.npy"),
        ],
    )
    def test_a_damaged_one_is_ignored_and_replaced(
        self, folder, cache, read, damage
    ):
        first = scan.scan(folder)
        [name] = os.listdir(cache)
        content = (cache / name).read_bytes()
        (cache / name).write_bytes(damage(content))
        del read[:]
        same(scan.scan(folder), first)
        assert len(read) == 6
        same(scan.scan(folder), first)
        assert len(read) == 6

    def test_one_of_another_version_is_ignored(self, folder, monkeypatch, read):
        scan.scan(folder)
        monkeypatch.setattr(scan_cache, "_VERSION", scan_cache._VERSION + 1)
        scan.scan(folder)
        assert len(read) == 12

    def test_parts_that_do_not_fit_are_ignored(self, folder, cache):
        scan.scan(folder)
        [name] = os.listdir(cache)
        with np.load(cache / name) as file:
            arrays = dict(file)
        arrays["lengths"] = arrays["lengths"] + 1
        np.savez(cache / name, **arrays)
        assert not len(scan_cache.load(folder).paths)

    def test_no_place_to_write_costs_time_only(
        self, folder, monkeypatch, tmp_path
    ):
        write(tmp_path, "file", b"")
        monkeypatch.setenv("SIMCLR_KERAS_CACHE", str(tmp_path / "file"))
        assert len(paths(scan.scan(folder))) == 4

    def test_a_full_disk_leaves_nothing_behind(
        self, folder, cache, monkeypatch
    ):
        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        assert len(paths(scan.scan(folder))) == 4
        assert not os.listdir(cache)
