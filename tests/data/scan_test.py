import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from simclr_keras.data import image_files
from simclr_keras.data import scan


def png(height=4, width=5, seed=0):
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, path, content=None):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png() if content is None else content)
    return path


def paths(found):
    return [os.fsdecode(name) for name in found.paths.names()]


class TestScan:
    def test_finds_images_at_any_depth_in_order(self, tmp_path):
        for path in ("b.png", "a/b/c/d.png", "a/x.png"):
            write(tmp_path, path)
        assert paths(scan.scan(tmp_path)) == ["a/b/c/d.png", "a/x.png", "b.png"]

    def test_reads_sizes(self, tmp_path):
        write(tmp_path, "a.png", png(3, 7))
        found = scan.scan(tmp_path)
        assert found.sizes.tolist() == [[3, 7]]
        assert found.num_bytes.tolist() == [len(png(3, 7))]

    @pytest.mark.parametrize(
        "name", ["A.PNG", "a b.Png", "näme.png", "a.JPEG", "a.jpg", "a.webp"]
    )
    def test_names(self, tmp_path, name):
        # The content decides: a PNG may be named .jpg.
        write(tmp_path, name)
        assert paths(scan.scan(tmp_path)) == [name]

    @pytest.mark.parametrize(
        "path",
        [
            ".hidden.png",
            ".ipynb_checkpoints/a.png",
            "class/.thumbs/a.png",
            "__MACOSX/a.png",
            "class/@eaDir/a.png",
        ],
    )
    def test_hidden_files_are_left_out(self, tmp_path, path):
        write(tmp_path, path)
        found = scan.scan(tmp_path)
        assert not paths(found) and not found.skipped and not found.others

    def test_other_files_are_counted(self, tmp_path):
        for name in ("a.txt", "b.TXT", "c.csv", "LICENSE"):
            write(tmp_path, name, b"text")
        others = scan.scan(tmp_path).others
        assert others == {".txt": 2, ".csv": 1, "no extension": 1}

    def test_unusable_images_are_named(self, tmp_path):
        write(tmp_path, "good.png")
        write(tmp_path, "sub/empty.png", b"")
        write(tmp_path, "page.jpg", b"<html>")
        write(tmp_path, "cut.png", png()[:-30])
        write(tmp_path, "scan.tiff", b"II*\0")
        os.symlink(tmp_path / "nowhere", tmp_path / "broken.png")
        found = scan.scan(tmp_path)
        assert paths(found) == ["good.png"]
        assert found.skipped == [
            ("broken.png", "link to nothing"),
            ("cut.png", "damaged or cut off"),
            ("page.jpg", "not an image"),
            ("scan.tiff", "TIFF is not supported; convert it to PNG"),
            ("sub/empty.png", "empty file"),
        ]

    def test_bytes_behind_the_end_do_no_harm(self, tmp_path):
        # Phones append films to photos.
        write(tmp_path, "a.png", png() + bytes(1000))
        assert paths(scan.scan(tmp_path)) == ["a.png"]

    def test_links_are_followed(self, tmp_path):
        write(tmp_path, "elsewhere/a.png")
        os.makedirs(tmp_path / "set")
        os.symlink(tmp_path / "elsewhere", tmp_path / "set/b")
        os.symlink(tmp_path / "elsewhere/a.png", tmp_path / "set/c.png")
        found = scan.scan(tmp_path / "set")
        assert paths(found) == ["b/a.png", "c.png"]
        assert found.file_ids[0] == found.file_ids[1]
        assert found.is_link.tolist() == [False, True]

    def test_loops_end(self, tmp_path):
        write(tmp_path, "a/x.png")
        os.symlink(tmp_path, tmp_path / "a/up")
        os.symlink("itself.png", tmp_path / "itself.png")
        found = scan.scan(tmp_path)
        assert paths(found) == ["a/x.png"]
        assert [path for path, _ in found.skipped] == ["itself.png"]

    def test_folders_that_cannot_be_entered_are_named(
        self, tmp_path, monkeypatch
    ):
        write(tmp_path, "open/a.png")
        write(tmp_path, "shut/b.png")
        scandir = os.scandir

        def guarded(path):
            if path.endswith("shut"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)
        found = scan.scan(str(tmp_path))
        assert paths(found) == ["open/a.png"]
        assert found.skipped == [("shut", "Permission denied")]

    def test_a_folder_named_like_an_image(self, tmp_path):
        write(tmp_path, "dir.png/a.png")
        assert paths(scan.scan(tmp_path)) == ["dir.png/a.png"]


class TestProgress:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        for index in range(5):
            write(tmp_path, f"{index}.png")
        monkeypatch.setattr(scan, "_MANY", 3)
        return tmp_path

    def test_one_line_for_many_files(self, folder, capsys):
        scan.scan(folder)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == f"looking through {folder}: more than 3 files\n"

    def test_nothing_for_a_few(self, folder, capsys, monkeypatch):
        monkeypatch.setattr(scan, "_MANY", 5)
        scan.scan(folder)
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("seconds,is_shown", [(0, False), (1.5, True)])
    def test_a_bar_on_a_terminal_after_a_second(
        self, folder, monkeypatch, seconds, is_shown
    ):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        header = image_files.header

        def slow(path, num_bytes):
            time.sleep(seconds if path.endswith("0.png") else 0)
            return header(path, num_bytes)

        monkeypatch.setattr(image_files, "header", slow)
        scan.scan(folder)
        shown = f"looking through {folder}: " in terminal.getvalue()
        assert shown == is_shown
