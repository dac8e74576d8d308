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
_WEIGHTS = "weights"
_KEY_ENDING = "/.ATTRIBUTES/VARIABLE_VALUE"


def state(model):
    """What a run on `model` continues from, as arguments of `Checkpoints`.

    Weights go by their paths, so that `read_weights` finds them without the
    model; the names of optimizers differ from one process to the next, so
    they go by order. Metrics are there for the means of an interrupted epoch
    to go on.
    """
    metrics = [v for metric in model.metrics for v in metric.variables]
    return {
        _WEIGHTS: _by_path(model.weights),
        "optimizer": [v.value for v in model.optimizer.variables],
        "metrics": [v.value for v in metrics],
    }


def read_weights(folder):
    """The weights of one checkpoint.

    Args:
        folder: a `step_<n>` folder, of a run that saved its `state`.

    Returns:
        Dict from the paths of the variables to arrays.

    Raises:
        ValueError: if it is damaged or holds no weights.
    """
    folder = pathlib.Path(folder)
    if damage := _damage(folder):
        raise ValueError(
            f"`folder` must be a whole checkpoint. Received: {folder}, {damage}"
        )
    reader = tf.train.load_checkpoint(str(folder / _PREFIX))
    keys = {
        key: _unescaped(key.removeprefix(f"{_WEIGHTS}/"))
        for key in reader.get_variable_to_shape_map()
        if key.startswith(f"{_WEIGHTS}/") and key.endswith(_KEY_ENDING)
    }
    return {path: reader.get_tensor(key) for key, path in keys.items()}


def is_checkpoint(folder):
    """Whether a folder is that of one checkpoint, whole or damaged."""
    return (pathlib.Path(folder) / _CHECKSUMS).is_file()


class Checkpoints:
    """Checkpoints of a run, one folder per step, newest first on restore.

    Each is written under a temporary name, with a SHA-256 of every file, and
    renamed when complete, so a folder `step_<n>` is whole or damaged by
    something else; a damaged one is named and the one before it is used.

    Args:
        folder: where they lie; made on the first save.
        max_to_keep: how many of the newest stay.
        read_only: whether another process writes and removes them, so that
            `save` does nothing.
        **trackables: what is saved, e.g. `model=..., optimizer=...`.
    """

    def __init__(self, folder, max_to_keep=5, read_only=False, **trackables):
        self.folder = pathlib.Path(folder)
        self.max_to_keep = max_to_keep
        self.read_only = read_only
        self._checkpoint = tf.train.Checkpoint(**trackables)

    def steps(self):
        """Steps that have a checkpoint, oldest first."""
        found = [_STEP.fullmatch(p.name) for p in self.folder.glob("step_*")]
        return sorted(int(match[1]) for match in found if match)

    def save(self, step):
        """Writes the checkpoint of `step` and removes those too many.

        Raises:
            OSError: if it cannot be written, as on a full disk; those there
                are stay.
        """
        if self.read_only:
            return
        temporary = self.folder / f".step_{step}.{os.getpid()}"
        try:
            self._write(temporary)
            shutil.rmtree(self.path(step), ignore_errors=True)
            os.replace(temporary, self.path(step))
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = getattr(error, "message", None) or error
            raise OSError(
                f"the checkpoint of step {step} cannot be written: {reason}"
            ) from error
        for old in self.steps()[: -self.max_to_keep]:
            shutil.rmtree(self.path(old))

    def restore(self):
        """Restores the newest whole checkpoint.

        Returns:
            Its step, or 0 if there is none.
        """
        # What a killed run was writing; none writes while this one starts.
        if not self.read_only:
            for partial in self.folder.glob(".step_*"):
                shutil.rmtree(partial)
        newest = self.newest()
        if newest is None:
            return 0
        prefix = str(self.path(newest) / _PREFIX)
        self._checkpoint.read(prefix).assert_existing_objects_matched()
        return newest

    def newest(self):
        """The step of the newest whole checkpoint, or None."""
        for step in reversed(self.steps()):
            damage = _damage(self.path(step))
            if damage is None:
                return step
            logging.warning(
                "Checkpoint %s is damaged (%s); trying the one before it.",
                self.path(step),
                damage,
            )
        return None

    def _write(self, temporary):
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        self._checkpoint.write(str(temporary / _PREFIX))
        sums = {p.name: _sha256(p) for p in sorted(temporary.iterdir())}
        (temporary / _CHECKSUMS).write_text(json.dumps(sums, indent=1))

    def path(self, step):
        """The folder of one checkpoint."""
        return self.folder / f"step_{step}"


def _by_path(variables):
    named = {}
    for variable in variables:
        path = variable.path
        while path in named:
            path += "_"
        named[path] = variable.value
    return named


def _damage(folder):
    """What is wrong with a checkpoint, or None."""
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


def _unescaped(key):
    """The path of a variable; TensorFlow writes a slash in a name as .S."""
    name = key.removesuffix(_KEY_ENDING)
    return re.sub(r"\.([.S])", lambda m: "/" if m[1] == "S" else ".", name)
