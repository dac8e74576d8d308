import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet
import pytest

from simclr_keras.data import image_files
from simclr_keras.embedding import files
from simclr_keras.export import embed
from tests import google_checkpoints
from tests.embedding import small
from tests.export import odd_images

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "bad_inputs.md"
FILES = odd_images.BAD | odd_images.GOOD
GOOD = ("first.jpg", "middle.jpg", "ü 大.jpg", "z\nlast.jpg")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "encoder.keras"
    small.encoder().save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(GOOD):
        write(folder / name, small.jpeg(number))
    return folder


@pytest.fixture(scope="module")
def parquet(encoder, photos, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "all.parquet"
    run(encoder, photos, output)
    return output


def command(*arguments):
    embed.main(["simclr-embed", *map(str, arguments)])


def run(encoder, images, output, *more):
    command(
        f"--encoder={encoder}",
        f"--images={images}",
        f"--output={output}",
        *more,
    )


def ended(capsys, *arguments):
    """(exit code, what was printed as an error)."""
    with pytest.raises(SystemExit) as raised:
        command(*arguments)
    return raised.value.code, capsys.readouterr().err


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def rows(output):
    return pyarrow.parquet.read_table(output).to_pylist()


class TestEmbed:
    def test_what_it_prints(self, encoder, photos, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        for name in GOOD:
            os.link(photos / name, tmp_path / "in" / name)
        write(tmp_path / "in" / "bad\nname.png", b"text")
        run(encoder, tmp_path / "in", tmp_path / "new" / "all.csv")
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].endswith("4 images, 10 x 12")
        assert re.fullmatch(r"Wrote .*all.csv .* 4 embeddings .*", printed[1])
        assert printed[2].startswith("1 without an embedding")
        assert printed[3].endswith(r"bad\nname.png: not an image")
        assert len(printed) == 4

    @pytest.mark.slow
    def test_a_checkpoint_of_google(self, photos, tmp_path):
        google = tmp_path / "google"
        google_checkpoints.write_tf2(google_checkpoints.tiny(), google)
        output = tmp_path / "all.parquet"
        run(google, photos, output, "--image_size=12")
        assert all(row["valid"] for row in rows(output))

    def test_existing_files_stay(self, encoder, photos, tmp_path, capsys):
        output = tmp_path / "all.parquet"
        output.write_text("mine")
        flags = (
            f"--encoder={encoder}",
            f"--images={photos}",
            f"--output={output}",
        )
        code, printed = ended(capsys, *flags)
        assert code == 2
        assert f"--output={output}: exists; --overwrite" in printed
        assert output.read_text() == "mine"
        command(*flags, "--overwrite")
        assert len(rows(output)) == len(GOOD)

    @pytest.mark.parametrize(
        "place", [(os, "fsync"), (files, "write")], ids=["rows", "file"]
    )
    def test_a_full_disk(
        self, place, encoder, photos, tmp_path, monkeypatch, capsys
    ):
        output = tmp_path / "all.parquet"
        flags = (
            f"--encoder={encoder}",
            f"--images={photos}",
            f"--output={output}",
        )

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(*place, full)
            code, printed = ended(capsys, *flags)
        assert code == 1
        assert "the disk is full" in printed.splitlines()[-1]
        assert os.listdir(tmp_path) == ["all.parquet.parts"]
        command(*flags)
        assert len(rows(output)) == len(GOOD)

    def test_an_output_that_cannot_be_written(
        self, encoder, photos, tmp_path, capsys
    ):
        (tmp_path / "file").write_text("mine")
        for output, message in (
            (tmp_path / "file" / "a.npz", "File exists"),
            ("/proc/a.npz", "/proc"),
            (tmp_path, "must end in"),
        ):
            code, printed = ended(
                capsys,
                f"--encoder={encoder}",
                f"--images={photos}",
                f"--output={output}",
            )
            assert code in (1, 2)
            assert message in printed
            assert "Traceback" not in printed

    def test_no_encoder(self, photos, tmp_path, capsys):
        (tmp_path / "a.keras").write_text("text")
        (tmp_path / "empty").mkdir()
        for path, message in (
            (tmp_path / "none", "none, which does not exist"),
            (tmp_path / "a.keras", "a.keras, which is no checkpoint"),
            (tmp_path / "empty", "where there are no weights"),
        ):
            code, printed = ended(
                capsys,
                f"--encoder={path}",
                f"--images={photos}",
                f"--output={tmp_path / 'a.npz'}",
            )
            assert code == 2
            assert message in printed

    def test_stopped(self, encoder, photos, tmp_path, monkeypatch, capsys):
        def stopped(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(embed.data, "open_source", stopped)
        code, printed = ended(
            capsys,
            f"--encoder={encoder}",
            f"--images={photos}",
            f"--output={tmp_path / 'a.npz'}",
        )
        assert code == 1
        assert "stopped. The same command goes on" in printed


class TestNearest:
    def test_an_image_of_the_file(self, parquet, photos, tmp_path, capsys):
        page = tmp_path / "page.html"
        command(
            f"--embeddings={parquet}",
            f"--nearest={photos / GOOD[0]}",
            "--k=2",
            f"--html={page}",
        )
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3
        assert all(re.match(r" *\d\.\d{4}  /", line) for line in lines[:2])
        text = page.read_text()
        assert text.count("data:image/jpeg;base64,") == 3
        # Nothing from elsewhere, and no script.
        assert not re.search(r"https?:|src=\"(?!data:)|<script|@import", text)
        code, printed = ended(
            capsys,
            f"--embeddings={parquet}",
            f"--nearest={photos / GOOD[0]}",
            f"--html={page}",
        )
        assert (code, "exists; --overwrite" in printed) == (2, True)

    def test_an_image_of_elsewhere(self, parquet, photos, tmp_path, capsys):
        copy = tmp_path / "copy.jpg"
        copy.write_bytes((photos / GOOD[1]).read_bytes())
        command(f"--embeddings={parquet}", f"--nearest={copy}", "--k=1")
        printed = capsys.readouterr().out
        assert printed.startswith(f" 1.0000  {photos / GOOD[1]}")

    def test_an_array(self, encoder, tmp_path, capsys):
        x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
        np.savez(tmp_path / "in.npz", x_train=x)
        page = tmp_path / "page.html"
        run(
            encoder,
            tmp_path / "in.npz",
            tmp_path / "out.npz",
            "--nearest=train[3]",
            "--k=4",
            f"--html={page}",
        )
        assert page.read_text().count("data:image/jpeg;base64,") == 5
        assert capsys.readouterr().out.count("train[") == 4

    def test_mistakes(self, parquet, encoder, photos, tmp_path, capsys):
        bad = write(tmp_path / "bad.png", b"text")
        npz = write(tmp_path / "a.npz", b"text")
        csv = tmp_path / "all.csv"
        run(encoder, photos, csv)
        for flags, message in (
            (("none.npz", "a.png"), "there is no such file"),
            (
                (parquet, "nothing.png"),
                "there is no such file, nor such a path",
            ),
            ((parquet, bad), "which is none, damaged or cut off"),
            ((csv, bad), "does not tell the encoder; give --encoder"),
            ((npz, "a"), "no whole .npz file"),
        ):
            code, printed = ended(
                capsys, f"--embeddings={flags[0]}", f"--nearest={flags[1]}"
            )
            assert code == 2
            assert message in printed


def said(title):
    """Input -> the last cell of its row below a heading of the page."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    table = [x for x in section.splitlines() if x.startswith("|")][2:]
    cells = [[x.strip() for x in row.strip("|").split("|")] for row in table]
    return {first: others[-1] for first, *others in cells}


def write_folder(folder):
    """Every file, good and bad; returns names in the folder -> inputs."""
    for name, content in FILES.items():
        write(folder / f"{name}.png", content)
    for name in GOOD:
        write(folder / name, odd_images.JPEG)
    content = odd_images.JPEG
    hole = content[: len(content) // 2] + b"\xff\xd9"
    others = {
        "hole.jpg": (
            "a JPEG whose second half is missing but for its end",
            hole,
        ),
        os.fsdecode(b"latin \xe4.jpg"): ("a name that is not UTF-8", content),
        "copy.jpg": ("a copy under another name", content),
        "locked.png": ("a file that may not be read", content),
        ".hidden.png": ("a hidden file", content),
        "drawing.svg": ("another ending", b"<svg/>"),
        "folder.png/a.png": ("a folder named x.png", content),
    }
    for name, (_, content) in others.items():
        write(folder / name, content)
    os.symlink("nowhere.png", folder / "broken.png")
    os.symlink("itself.png", folder / "itself.png")
    os.symlink("first.jpg", folder / "link.png")
    return {
        **{f"{name}.png": name for name in FILES},
        **{
            os.fsencode(name).decode(errors="backslashreplace"): what
            for name, (what, _) in others.items()
        },
        "broken.png": "a link to nothing",
        "itself.png": "a link to itself",
        "link.png": "a link to another image",
        "z\nlast.jpg": "a name with a line break",
        "ü 大.jpg": "a name with umlauts and ideographs",
    }


@pytest.fixture(scope="module")
def measured(encoder, tmp_path_factory):
    """Input -> what becomes of it, all in one folder."""
    folder = tmp_path_factory.mktemp("bad")
    inputs = write_folder(folder / "in")
    original = image_files.header

    def header(path, num_bytes):
        # Root may read all.
        if path.endswith("locked.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return original(path, num_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_files, "header", header)
        run(encoder, folder / "in", folder / "all.parquet")
    found = {
        os.path.relpath(row["path"], folder / "in"): (
            "answered" if row["valid"] else f"valid = false: {row['error']}"
        )
        for row in rows(folder / "all.parquet")
    }
    assert all(found.pop(name) == "answered" for name in GOOD[:2])
    answers = {
        what: found.pop(name, "left out") for name, what in inputs.items()
    }
    assert not found
    return answers


def _npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def _cut_npz(folder):
    path = _npz(folder, x_train=X)
    path.write_bytes(path.read_bytes()[:99])
    return path


def _cut_idx(folder):
    header = b"\0\0\x08\x03" + np.array([2, 3, 3], ">u4").tobytes()
    write(folder / "train-images-idx3-ubyte", header + bytes(8))
    return folder


X = np.zeros((4, 8, 8, 3), np.float32)
NAN = np.where(np.arange(4)[:, None, None, None] == 2, np.nan, X)
# Input -> function from an empty folder to --images.
SETS = {
    "a .npz of zero bytes": lambda at: write(at / "a.npz", b""),
    "a .npz that is cut off": _cut_npz,
    "a .npz without x_train": lambda at: _npz(at, images=X),
    "a .npz of objects": lambda at: _npz(at, x_train=np.array([{}])),
    "x_train without images": lambda at: _npz(at, x_train=X[:0]),
    "x_train [N, H]": lambda at: _npz(at, x_train=X[..., 0, 0]),
    "x_train [N, 3, H, W]": lambda at: _npz(at, x_train=np.moveaxis(X, -1, 1)),
    "x_train with NaN": lambda at: _npz(at, x_train=NAN),
    "x_train from -1 to 1": lambda at: _npz(at, x_train=X - 1),
    "x_train up to 1.5": lambda at: _npz(at, x_train=X + 1.5),
    "x_train of text": lambda at: _npz(at, x_train=X.astype("U")),
    "fewer labels than images": lambda at: _npz(
        at, x_train=X, y_train=np.zeros(3, int)
    ),
    "an IDX file that is cut off": _cut_idx,
    "an empty folder": lambda at: at,
    "a folder without a good image": lambda at: (
        write(at / "bad" / "a.png", b"text").parent
    ),
    "an image file": lambda at: write(at / "a.jpg", odd_images.JPEG),
    "an archive": lambda at: write(at / "a.zip", b"PK"),
    "a list with a broken line": lambda at: write(at / "a.csv", b"a,b,c\n"),
    "a path that is not there": lambda at: at / "nothing",
}


class TestBadInputs:
    def test_all_are_told(self, measured):
        told = {*said("Files"), *said("Folders for simclr-embed")}
        assert told == {*measured}
        assert {*said("Data sets for simclr-embed")} == {*SETS}

    def test_files(self, measured):
        for title in ("Files", "Folders for simclr-embed"):
            for name, answer in said(title).items():
                assert f"{name}: {measured[name]}" == f"{name}: {answer}"

    @pytest.mark.parametrize("name", SETS)
    def test_data_sets(self, name, encoder, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        code, printed = ended(
            capsys,
            f"--encoder={encoder}",
            f"--images={SETS[name](tmp_path / 'in')}",
            f"--output={tmp_path / 'a.parquet'}",
        )
        assert code == 2
        assert os.listdir(tmp_path) == ["in"]
        assert len(printed.splitlines()) == 2
        assert said("Data sets for simclr-embed")[name] in printed


@pytest.mark.slow
def test_a_kill_changes_nothing(encoder, tmp_path):
    """SIGKILL at moments that are not chosen."""
    x = np.random.default_rng(0).integers(0, 256, (60_000, 8, 8), np.uint8)
    np.savez(tmp_path / "in.npz", x_train=x)
    arguments = [
        sys.executable,
        "-m",
        "simclr_keras.export.embed",
        f"--encoder={encoder}",
        f"--images={tmp_path / 'in.npz'}",
        "--batch_size=8",
    ]
    whole, output = tmp_path / "whole.parquet", tmp_path / "all.parquet"
    subprocess.run([*arguments, f"--output={whole}"], check=True)
    kills, state = 0, tmp_path / "all.parquet.parts" / "rows.bin"
    while not output.exists():
        process = subprocess.Popen([*arguments, f"--output={output}"])
        before = state.stat().st_size if state.exists() else 0
        while process.poll() is None and kills < 2:
            if state.exists() and state.stat().st_size > before:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
    assert kills == 2
    assert output.read_bytes() == whole.read_bytes()
