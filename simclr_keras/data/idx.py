"""Folders of IDX files: what MNIST and its relatives ship as.

Format: http://yann.lecun.com/exdb/mnist/ (at the end of the page): two zero
bytes, a type code, the number of dimensions, each dimension as a big-endian
32-bit integer, then the values.
"""

import gzip
import math
import os
import re
import zlib

import numpy as np

from simclr_keras.data import arrays

_UINT8 = 0x08
_PARTS = {
    ("train", "images", 3): "x_train",
    ("train", "labels", 1): "y_train",
    ("t10k", "images", 3): "x_test",
    ("t10k", "labels", 1): "y_test",
    ("test", "images", 3): "x_test",
    ("test", "labels", 1): "y_test",
}
_NAME = re.compile(
    r"(train|t10k|test)-(images|labels)[-.]idx([13])-ubyte(\.gz)?"
)


def find(folder):
    """The IDX files of a folder: dict from `x_train`, ... to paths.

    An unpacked file comes before a packed one of the same content.
    """
    found = {}
    for name in sorted(os.listdir(folder)):
        match = _NAME.fullmatch(name)
        if not match:
            continue
        key = _PARTS.get((match[1], match[2], int(match[3])))
        if key is not None:
            found.setdefault(key, os.path.join(folder, name))
    return found


def from_idx(folder, **kwargs):
    """A `Source` of a folder with `train-images-idx3-ubyte` and perhaps
    `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, packed (`.gz`) or not.

    Args:
        folder: str.
        **kwargs: `train_split`, `eval_split`, `seed`, `whole` of
            `arrays.from_arrays`.

    Raises:
        ValueError: if a file is missing, damaged or of another kind.
    """
    paths = find(folder)
    if "x_train" not in paths:
        names = ", ".join(os.path.basename(path) for path in paths.values())
        raise ValueError(
            "`dataset` must be a folder with train-images-idx3-ubyte or "
            f"train-images-idx3-ubyte.gz. Received: {folder} with {names}"
        )
    contents = {
        key: read(path, 3 if key.startswith("x") else 1)
        for key, path in paths.items()
    }
    return arrays.from_arrays(
        **contents,
        name=os.path.basename(os.path.abspath(folder)),
        origin=f"IDX files of {folder}",
        **kwargs,
    )


def read(path, num_dimensions):
    """The array of one IDX file: uint8 of `num_dimensions` dimensions.

    Raises:
        ValueError: naming the file, if it holds something else, or less or
            more than its header says.
    """
    opened = gzip.open if path.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            "an IDX file must be readable to its end. "
            f"Received: {path} ({error})"
        ) from error
    magic = bytes([0, 0, _UINT8, num_dimensions])
    if content[:4] != magic:
        raise ValueError(
            f"an IDX file of {num_dimensions} dimensions must begin with the "
            f"bytes {magic.hex()}. Received: {path}, which begins with "
            f"{content[:4].hex() or 'nothing'}"
        )
    start = 4 + 4 * num_dimensions
    header = content[4:start].ljust(start - 4, b"\0")
    shape = np.frombuffer(header, ">u4")
    expected = start + math.prod(shape.tolist())
    if len(content) != expected:
        raise ValueError(
            f"an IDX file of shape {shape.tolist()} must have {expected} "
            f"bytes. Received: {path} with {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
