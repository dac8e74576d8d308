"""`model_dir`: what a run writes there, and who may."""

import pathlib
import shutil

import filelock

from simclr_keras import run_files

_LOCK = ".lock"
_CONFIG = "config.json"
_FILES = (
    _CONFIG,
    "best_encoder.json",
    "best_encoder.keras",
    "checkpoints",
    "classifier.keras",
    "embeddings.npz",
    "encoder.keras",
    "evaluations.jsonl",
    "linear_probe.npz",
    "projection_head.keras",
    "metrics.jsonl",
    "report.html",
    "resources.json",
    "results.json",
    "run.flags",
    "samples.npz",
    "saved_model",
    "tensorboard",
)


class RunDirectory:
    """The folder of one run.

    Args:
        path: str or path; need not exist.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._lock = filelock.FileLock(self.path / _LOCK, timeout=0)

    def lock(self):
        """Keeps other runs out until this process ends, however it ends.

        Makes the folder if it is missing.

        Raises:
            BlockingIOError: if another process has the lock.
            OSError: if the folder cannot be written to.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise BlockingIOError(
                "another run is at work there; wait for its end or choose "
                "another folder"
            ) from error

    def release(self):
        """Lets other runs in."""
        self._lock.release()

    def config(self):
        """What `write_config` wrote for the run that is here, or None.

        Raises:
            ValueError: if it is not readable as JSON.
        """
        return run_files.read_json(self.path / _CONFIG)

    def write_config(self, config, finished=False):
        """Keeps the settings of the run, and whether it reached its end."""
        run_files.write_json(
            self.path / _CONFIG, {**config, "finished": finished}
        )

    def foreign(self):
        """Names that a run would write and that no run has written here."""
        if (self.path / _CONFIG).exists():
            return []
        return [name for name in _FILES if (self.path / name).exists()]

    def clear(self):
        """Deletes what a run writes, and nothing else."""
        for name in _FILES:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
