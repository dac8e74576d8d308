"""Checkpoints of a run: whole or not there, checked when they are read."""

import hashlib
import json
import logging
import os
import pathlib
import re
import shutil

import tensorflow as tf

_STEP = re.compile(r"step_(\d+)")
_PREFIX = "checkpoint"
_CHECKSUMS = "sha256.json"


class Checkpoints:
    """Checkpoints of a run, one folder per step, newest first on restore.

    Each is written under a temporary name, with a SHA-256 of every file, and
    renamed when complete, so a folder `step_<n>` is whole or damaged by
    something else; a damaged one is named and the one before it is used.

    Args:
        folder: where they lie; made on the first save.
        max_to_keep: how many of the newest stay.
        **trackables: what is saved, e.g. `model=..., optimizer=...`.
    """

    def __init__(self, folder, max_to_keep=5, **trackables):
        self.folder = pathlib.Path(folder)
        self.max_to_keep = max_to_keep
        self._checkpoint = tf.train.Checkpoint(**trackables)

    def steps(self):
        """Steps that have a checkpoint, oldest first."""
        found = [_STEP.fullmatch(p.name) for p in self.folder.glob("step_*")]
        return sorted(int(match[1]) for match in found if match)

    def save(self, step):
        """Writes the checkpoint of `step` and removes those too many."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".step_{step}.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        self._checkpoint.write(str(temporary / _PREFIX))
        sums = {p.name: _sha256(p) for p in sorted(temporary.iterdir())}
        (temporary / _CHECKSUMS).write_text(json.dumps(sums, indent=1))
        shutil.rmtree(self._path(step), ignore_errors=True)
        os.replace(temporary, self._path(step))
        for old in self.steps()[: -self.max_to_keep]:
            shutil.rmtree(self._path(old))

    def restore(self):
        """Restores the newest whole checkpoint.

        Returns:
            Its step, or 0 if there is none.
        """
        for step in reversed(self.steps()):
            damage = self._damage(step)
            if damage is None:
                prefix = str(self._path(step) / _PREFIX)
                self._checkpoint.read(prefix).assert_existing_objects_matched()
                return step
            logging.warning(
                "Checkpoint %s is damaged (%s); trying the one before it.",
                self._path(step),
                damage,
            )
        return 0

    def _path(self, step):
        return self.folder / f"step_{step}"

    def _damage(self, step):
        """What is wrong with a checkpoint, or None."""
        folder = self._path(step)
        try:
            sums = json.loads((folder / _CHECKSUMS).read_text())
        except (OSError, ValueError) as error:
            return f"{_CHECKSUMS}: {error}"
        for name, expected in sums.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _sha256(folder / name) != expected:
                return f"{name} does not have the checksum it was written with"
        return None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
