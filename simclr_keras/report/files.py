"""The files of a run, read and checked."""

import dataclasses
import json
import pathlib
import zipfile
import zlib

import numpy as np

from simclr_keras import run_files

# What is read of each file; more may be in it.
_NEEDED = {
    "config.json": ("flags", "origins"),
    "results.json": ("representations",),
    "best_encoder.json": ("step", "knn_top1"),
    "resources.json": ("processes",),
    "samples.npz": ("images", "pairs"),
    "embeddings.npz": (
        "of",
        "embeddings",
        "queries",
        "neighbours",
        "similarities",
        "shown",
        "pictures",
    ),
}

# What NumPy raises of an archive that is cut off or something else.
_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    # A single array is not an archive of arrays.
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind; None or empty where it left nothing.

    Attributes:
        path: its folder.
        config, results, resources: dicts of the JSON files of these names.
        best: dict of `best_encoder.json`.
        metrics: list of the lines of `metrics.jsonl`, as dicts.
        evaluations: the same of `evaluations.jsonl`.
        samples, embeddings: dicts of the arrays in the .npz files.
    """

    path: pathlib.Path
    config: dict | None
    metrics: list
    results: dict | None
    resources: dict | None
    samples: dict | None
    embeddings: dict | None
    best: dict | None
    evaluations: list

    @property
    def name(self):
        return self.path.resolve().name

    @property
    def flags(self):
        return self.config["flags"] if self.config else {}

    @property
    def train_mode(self):
        return self.flags.get("train_mode", "pretrain")

    @property
    def class_names(self):
        """List of str, or None."""
        for arrays in (self.samples, self.embeddings):
            if arrays is not None and "class_names" in arrays:
                return [str(name) for name in arrays["class_names"]]
        return None


def read(folder):
    """The `Run` in a folder.

    Raises:
        ValueError: if there is none, or a file of it is damaged.
    """
    folder = pathlib.Path(folder)
    run = Run(
        folder,
        _json(folder / "config.json"),
        _lines(folder / "metrics.jsonl"),
        _json(folder / "results.json"),
        _json(folder / "resources.json"),
        _arrays(folder / "samples.npz"),
        _arrays(folder / "embeddings.npz"),
        _json(folder / "best_encoder.json"),
        _lines(folder / "evaluations.jsonl"),
    )
    if not (run.config or run.metrics or run.results):
        raise ValueError(
            f"{folder}: no run there (neither config.json nor metrics.jsonl "
            "nor results.json)"
        )
    return run


def _json(path):
    try:
        value = run_files.read_json(path)
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error
    return None if value is None else _checked(path, value)


def _lines(path):
    """The lines of the file, without a last one that is not whole."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error
    if lines and not lines[-1].endswith("\n"):
        # The run was killed while it wrote, or writes just now.
        lines.pop()
    try:
        values = [json.loads(line) for line in lines]
    except ValueError as error:
        raise _damaged(path, error) from error
    for value in values:
        if not isinstance(value, dict) or "step" not in value:
            raise _damaged(path, 'a line has no "step"')
    return values


def _arrays(path):
    try:
        # Of a damaged archive, NumPy would leave a file open that it opened.
        with path.open("rb") as file, np.load(file) as arrays:
            value = dict(arrays)
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    return _checked(path, value)


def _checked(path, value):
    needed = _NEEDED[path.name]
    if not isinstance(value, dict) or not set(needed) <= set(value):
        raise _damaged(path, f"without some of {', '.join(needed)}")
    return value


def _damaged(path, reason):
    return ValueError(f"{path}: damaged or not of a run: {reason}")
