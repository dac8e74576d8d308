"""Who may write into a run's folder, and what is deleted from it."""

import subprocess
import sys

import pytest

from simclr_keras.run_directory import RunDirectory

_HOLDER = """
import sys
from simclr_keras.run_directory import RunDirectory
directory = RunDirectory(sys.argv[1])
directory.lock()
print("locked", flush=True)
sys.stdin.read()
"""


class TestLock:
    def test_makes_the_folder(self, tmp_path):
        directory = RunDirectory(tmp_path / "a" / "b")
        directory.lock()
        assert directory.path.is_dir()
        directory.release()

    def test_keeps_another_process_out_until_it_is_killed(self, tmp_path):
        directory = RunDirectory(tmp_path)
        with subprocess.Popen(
            [sys.executable, "-c", _HOLDER, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout.readline() == b"locked\n"
            with pytest.raises(BlockingIOError, match="another run is at work"):
                directory.lock()
            holder.kill()
            holder.wait()
        directory.lock()
        directory.release()

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            RunDirectory(tmp_path / "file" / "run").lock()


class TestConfig:
    def test_finished_or_not(self, tmp_path):
        directory = RunDirectory(tmp_path)
        assert directory.config() is None
        directory.write_config({"flags": {"seed": 1}})
        assert directory.config() == {"flags": {"seed": 1}, "finished": False}
        directory.write_config({"flags": {"seed": 1}}, finished=True)
        assert directory.config()["finished"]

    def test_half_a_file(self, tmp_path):
        (tmp_path / "config.json").write_text('{"flags": ')
        with pytest.raises(ValueError):
            RunDirectory(tmp_path).config()


class TestFiles:
    def test_those_of_others_are_seen(self, tmp_path):
        directory = RunDirectory(tmp_path)
        (tmp_path / "photo.jpg").touch()
        assert directory.foreign() == []
        (tmp_path / "results.json").touch()
        (tmp_path / "checkpoints").mkdir()
        assert directory.foreign() == ["checkpoints", "results.json"]
        directory.write_config({})
        assert directory.foreign() == []

    def test_clear_deletes_what_a_run_writes_only(self, tmp_path):
        target = tmp_path / "elsewhere"
        target.mkdir()
        (target / "model").touch()
        folder = tmp_path / "run"
        (folder / "checkpoints" / "step_1").mkdir(parents=True)
        (folder / "saved_model").symlink_to(target)
        for name in ("metrics.jsonl", "photo.jpg", "notes.txt"):
            (folder / name).touch()
        directory = RunDirectory(folder)
        directory.write_config({})
        directory.clear()
        names = {path.name for path in folder.iterdir()}
        assert names == {"photo.jpg", "notes.txt"}
        assert (target / "model").exists()
