"""Files of embeddings: Parquet, NumPy's .npz and CSV, written row by row.

| what            | .parquet, .csv                | .npz                     |
|-----------------|-------------------------------|--------------------------|
| path of image   | `path`                        | `paths` [N] str          |
| number of class | `label`, empty if not known   | `labels` [N] int64, or -1|
| name of class   | `class_name`, where there are | `class_names` [K] str    |
| is it a good row| `valid`                       | `valid` [N] bool         |
| why not         | `error`, empty if it is       | `errors` [N] str         |
| embedding       | `embedding`, list of F; CSV   | `embeddings` [N, F]      |
|                 | has `e0`, `e1`, ...           | float32                  |
| where it is from| metadata `simclr_keras`, JSON | `metadata`, JSON         |

Embeddings of rows that are not valid are zeros.
"""

import json
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from simclr_keras.embedding import arrays
from simclr_keras.embedding import tables


class Rows(NamedTuple):
    """Some rows of a file.

    Attributes:
        paths: [n] str.
        labels: [n] int64, -1 for none.
        class_names: [n] str, or None where classes have no names.
        errors: [n] str, empty for valid rows.
        embeddings: [n, F] float32.
    """

    paths: np.ndarray
    labels: np.ndarray
    class_names: np.ndarray | None
    errors: np.ndarray
    embeddings: np.ndarray


_FORMATS = {
    ".parquet": (tables.write_parquet, tables.read_parquet),
    ".csv": (tables.write_csv, tables.read_csv),
    ".npz": (arrays.write, arrays.read),
}
EXTENSIONS = tuple(_FORMATS)


def write(
    path: str | os.PathLike,
    rows: Callable[[], Iterable[Rows]],
    *,
    class_names: tuple[str, ...] | None,
    num_features: int,
    metadata: dict,
) -> None:
    """Writes a file in the format of its ending.

    Args:
        path: of the file.
        rows: function that gives all rows, some at a time; may be called
            more than once.
        class_names: K str, or None.
        num_features: F.
        metadata: what can be written as JSON; a .csv file has no place for it.

    Raises:
        ValueError: for another ending.
        OSError: if it cannot be written.
    """
    write_format, _ = _format(path)
    write_format(path, rows, class_names, num_features, json.dumps(metadata))


def read(path: str | os.PathLike) -> Iterator[Rows]:
    """The rows of a file that `write` wrote, some thousand at a time.

    Raises:
        ValueError: if it is something else.
        OSError: if it cannot be read.
    """
    _, read_format = _format(path)
    for fields in read_format(path):
        yield Rows(*fields)


def read_metadata(path: str | os.PathLike) -> dict:
    """The `metadata` of a file; empty for a .csv file."""
    text = {
        ".parquet": tables.parquet_metadata,
        ".npz": arrays.metadata,
        ".csv": lambda path: None,
    }[_extension(path)](path)
    return json.loads(text) if text else {}


def _extension(path):
    return os.path.splitext(path)[1].lower()


def _format(path):
    if _extension(path) not in _FORMATS:
        raise ValueError(
            f"`path` must end in {', '.join(EXTENSIONS)}. Received: path={path}"
        )
    return _FORMATS[_extension(path)]
