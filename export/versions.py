"""The folder that TensorFlow Serving watches: <folder>/<integer>/.

A version appears there whole or not at all, and is never overwritten: the
server may load it at any moment. Needs no TensorFlow.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile

METADATA = "metadata.json"
# Name and place are TensorFlow Serving's.
WARMUP = pathlib.Path("assets.extra", "tf_serving_warmup_requests")

_VERSION = re.compile(r"0|[1-9][0-9]{0,17}")


def next_version(folder: str | os.PathLike) -> pathlib.Path:
    """The path of the version after the highest one in `folder`, from 1."""
    folder = pathlib.Path(folder)
    return folder / str(max(_versions(folder), default=0) + 1)


def highest(folder: str | os.PathLike) -> pathlib.Path | None:
    """The highest version in `folder`, which a server loads; None if empty."""
    found = _versions(pathlib.Path(folder))
    return pathlib.Path(folder, str(max(found))) if found else None


def is_version(path: str | os.PathLike) -> bool:
    """Whether the last part of `path` is an integer that can be served."""
    return bool(_VERSION.fullmatch(pathlib.Path(path).name))


def check_new(path: str | os.PathLike) -> pathlib.Path:
    """`path` itself, if a version can be written there.

    Raises:
        ValueError: if its last part is no integer, or it exists.
    """
    path = pathlib.Path(path)
    if not is_version(path):
        raise ValueError(
            "`path` must end in an integer version, as "
            f"{next_version(path)}, for TensorFlow Serving to find it. "
            f"Received: path={path}"
        )
    if path.exists():
        raise ValueError(
            "`path` must not exist: a version is never overwritten. The next "
            f"free one is {next_version(path.parent)}. Received: path={path}"
        )
    return path


@contextlib.contextmanager
def new_version(path: str | os.PathLike):
    """A folder to write in, which becomes `path` when all went well.

    Yields:
        A temporary folder beside `path`, so that it can be renamed in one
        step; its name is no integer, so that no server takes it.

    Raises:
        ValueError: as `check_new`, also if `path` appeared meanwhile.
    """
    path = check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        # A folder of its own inside: mkdtemp's cannot be read by others.
        content = pathlib.Path(temporary, "content")
        content.mkdir()
        yield content
        check_new(path)
        content.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def prune_versions(folder: str | os.PathLike, keep: int) -> list[pathlib.Path]:
    """Deletes all but the `keep` highest versions in `folder`.

    A server that has a deleted version loaded goes on answering from memory.

    Args:
        folder: the folder of versions; anything else in it, such as versions
            that `export_saved_model` did not write, is left alone.
        keep: int of at least 0; 0 keeps all.

    Returns:
        The paths that were deleted.

    Raises:
        ValueError: if `keep` is negative.
    """
    if keep < 0:
        raise ValueError(f"`keep` must be at least 0. Received: keep={keep}")
    folder = pathlib.Path(folder)
    old = sorted(_versions(folder))[:-keep] if keep else []
    paths = [folder / str(version) for version in old]
    paths = [path for path in paths if (path / METADATA).is_file()]
    for path in paths:
        shutil.rmtree(path)
    return paths


def describe(path: str | os.PathLike) -> str:
    """What an exported version takes and returns, as text of a few lines.

    Args:
        path: a version written by `export_saved_model`.
    """
    text = pathlib.Path(path, METADATA).read_text(encoding="utf-8")
    return signature_text(json.loads(text))


def signature_text(metadata: dict) -> str:
    """The same from the content of `metadata.json`."""
    lines = []
    for name, signature in metadata["signatures"].items():
        lines.append(f"  {name}: {_fields(signature['inputs'])}")
        lines.append(f"      -> {_fields(signature['outputs'])}")
    return "\n".join(lines)


def _versions(folder):
    if not folder.is_dir():
        return []
    return [int(path.name) for path in folder.iterdir() if is_version(path)]


def _fields(fields):
    return ", ".join(
        f"{name} {field['dtype']} [{', '.join(map(str, field['shape']))}]"
        for name, field in fields.items()
    )
