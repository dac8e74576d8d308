"""What a scan found, kept for the next one.

One file for each scanned folder or list, outside of it: in
`$SIMCLR_KERAS_CACHE`, else in `~/.cache/simclr_keras`. It may be deleted at
any time.
"""

import contextlib
import hashlib
import os
import tempfile
import typing
import zipfile

import numpy as np

from simclr_keras.data import paths

# Raise it when the judgement of a file changes.
_VERSION = 2
# Columns of `Table.rows`. Of a file whose size is -1 nothing is known.
NUM_BYTES, MODIFIED, FILE_ID, HEIGHT, WIDTH, IS_LINK, REASON, CONTENT = range(8)


class Table(typing.NamedTuple):
    """Files and what is known of them.

    `rows` is [N, 8] int64. `REASON` is -1 for an image that can be used, else
    the number in `reasons` of why not. `CONTENT` is a hash, 0 if not known.
    """

    paths: paths.Paths
    rows: np.ndarray
    reasons: list[str]


def folder():
    """The folder of all such files."""
    root = os.environ.get("SIMCLR_KERAS_CACHE") or os.path.join(
        os.path.expanduser("~"), ".cache", "simclr_keras"
    )
    return os.path.join(root, "scans")


def load(scanned):
    """The `Table` that `save` wrote for this path; an empty one otherwise."""
    try:
        # Not np.load(path), which leaves a damaged file open.
        with open(_file(scanned), "rb") as file, np.load(file) as arrays:
            if arrays["version"] != _VERSION:
                raise ValueError("written by another version")
            table = _unpacked({name: arrays[name] for name in arrays})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return Table(paths.Paths("", ()), np.empty((0, 8), np.int64), [])
    return table


def save(scanned, table):
    """Keeps a `Table`; does nothing where that is not possible."""
    arrays = {
        "version": np.int64(_VERSION),
        "names": np.frombuffer(table.paths.blob, np.uint8),
        "lengths": table.paths.lengths,
        "rows": table.rows,
        "reasons": np.array(table.reasons, np.str_),
    }
    temporary = None
    try:
        os.makedirs(folder(), exist_ok=True)
        # Its own name: several runs may scan one folder at once.
        with tempfile.NamedTemporaryFile(dir=folder(), delete=False) as file:
            temporary = file.name
            np.savez(file, **arrays)
        os.replace(temporary, _file(scanned))
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _file(scanned):
    path = os.fsencode(os.path.abspath(scanned))
    return os.path.join(
        folder(), hashlib.sha256(path).hexdigest()[:32] + ".npz"
    )


def _unpacked(arrays):
    lengths, rows = arrays["lengths"], arrays["rows"]
    reasons = arrays["reasons"].tolist()
    blob = arrays["names"].tobytes()
    ends = np.cumsum(lengths, dtype=np.int64)
    fits = (
        rows.shape == (len(lengths), 8)
        and rows.dtype == np.int64
        and (ends[-1] if len(ends) else 0) == len(blob)
        and (rows[:, REASON] < len(reasons)).all()
    )
    if not fits:
        raise ValueError("parts do not fit together")
    starts = ends - lengths
    names = (blob[start:end] for start, end in zip(starts, ends, strict=True))
    return Table(paths.Paths("", names), rows, reasons)
