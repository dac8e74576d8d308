"""Finds the checkpoint that a path means. Needs no TensorFlow."""

import os
import pathlib
import re

_PART = re.compile(r"(.+)\.(index|meta|data-\d+-of-\d+)")
_STATE = re.compile(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', re.M)


def search(path):
    """The checkpoint at `path`.

    Args:
        path: a SavedModel's or hub module's folder; a folder of checkpoints,
            of which the one named in its file `checkpoint` is taken, else
            the one of the highest step; or a checkpoint's path without
            `.index`, as Google's --checkpoint takes it.

    Returns:
        (prefix of the checkpoint's files as pathlib.Path, None), or
        (None, what is wrong with the path, as the end of a sentence).
    """
    if "://" in os.fspath(path):
        return None, "which must first be copied to a local folder"
    path = pathlib.Path(path)
    if path.is_dir():
        prefix, problem = _in_folder(path)
    else:
        prefix, problem = path, _problem_with_prefix(path)
    if problem is None and not _data_files(prefix):
        problem = f"where {prefix.name}.data-00000-of-00001 is missing"
    return (None, problem) if problem else (prefix, None)


def _in_folder(folder):
    if (folder / "saved_model.pb").is_file():
        prefix = folder / "variables" / "variables"
        if _index(prefix).is_file():
            return prefix, None
        return None, "a SavedModel without variables/variables.index"
    found = {p.stem: p.with_suffix("") for p in folder.glob("*.index")}
    if found:
        return found[_newest(found, folder / "checkpoint")], None
    if (folder / "encoder.keras").is_file():
        return None, (
            "a run of simclr_keras: its encoder.keras needs no conversion"
        )
    inside = sorted(
        [*folder.glob("*/saved_model.pb"), *folder.glob("*/*/saved_model.pb")]
    )
    if inside:
        return None, (
            "where there are no weights; there is a SavedModel in "
            f"{inside[-1].parent}"
        )
    return None, "where there are no weights"


def _newest(names, state):
    if state.is_file():
        match = _STATE.search(state.read_text(errors="replace"))
        if match and match[1] in names:
            return match[1]
    return max(names, key=lambda name: (_step(name), name))


def _step(name):
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else -1


def _problem_with_prefix(path):
    if part := _PART.fullmatch(path.name):
        return (
            "one of the files of a checkpoint: give their common name, "
            f"{path.with_name(part[1])}"
        )
    if _index(path).is_file():
        return None
    if path.exists():
        return "which is no checkpoint"
    return "which does not exist"


def _index(prefix):
    return prefix.with_name(f"{prefix.name}.index")


def _data_files(prefix):
    start = f"{prefix.name}.data-"
    return [p for p in prefix.parent.iterdir() if p.name.startswith(start)]
