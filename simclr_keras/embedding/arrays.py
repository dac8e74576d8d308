"""Embeddings as arrays in NumPy's .npz files, never whole in memory."""

import contextlib
import zipfile

import numpy as np
from numpy.lib import format as npy

_ROWS = 4096
_NAMES = ("paths", "labels", "errors", "embeddings")
_UNREADABLE = (EOFError, KeyError, ValueError, zipfile.BadZipFile)


def write(path, rows, class_names, num_features, metadata):
    """Arguments as `files.write`; `metadata` is text."""
    num_rows, path_length, error_length = _sizes(rows())
    columns = {
        "paths": (f"<U{path_length}", ()),
        "labels": ("<i8", ()),
        "errors": (f"<U{error_length}", ()),
        "embeddings": ("<f4", (num_features,)),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, (dtype, shape) in columns.items():
            chunks = (getattr(chunk, name) for chunk in rows())
            _write(archive, name, dtype, (num_rows, *shape), chunks)
        valid = (np.asarray(chunk.errors) == "" for chunk in rows())
        _write(archive, "valid", "|b1", (num_rows,), valid)
        for name, values in (
            ("class_names", class_names),
            ("metadata", metadata),
        ):
            if values is not None:
                value = np.array(values, np.str_)
                _write(archive, name, value.dtype.str, value.shape, [value])


def read(path):
    """Yields the fields of `files.Rows`."""
    with _opened(path) as archive, contextlib.ExitStack() as stack:
        names = _class_names(archive)
        columns = [
            _chunks(stack.enter_context(archive.open(f"{name}.npy")))
            for name in _NAMES
        ]
        for paths, labels, errors, embeddings in zip(*columns, strict=True):
            known = names
            if names is not None:
                known = np.where(labels < 0, "", names[labels])
            yield paths, labels, known, errors, embeddings


def metadata(path):
    """The text that `write` was given."""
    with _opened(path) as archive, archive.open("metadata.npy") as file:
        return str(npy.read_array(file))


@contextlib.contextmanager
def _opened(path):
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is no whole .npz file of simclr-embed: {error}"
        ) from error


def _class_names(archive):
    if "class_names.npy" not in archive.namelist():
        return None
    with archive.open("class_names.npy") as file:
        return npy.read_array(file)


def _sizes(rows):
    """(N, length of the longest path, length of the longest error)."""
    num_rows, path_length, error_length = 0, 1, 1
    for chunk in rows:
        num_rows += len(chunk.paths)
        path_length = max(path_length, *map(len, chunk.paths))
        error_length = max(error_length, *map(len, chunk.errors))
    return num_rows, path_length, error_length


def _write(archive, name, dtype, shape, chunks):
    """One array of a .npz file, in the chunks that it comes in."""
    dtype = np.dtype(dtype)
    info = zipfile.ZipInfo(f"{name}.npy")
    if dtype.kind == "U":
        # Four bytes for each character, most of them zeros.
        info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as file:
        npy.write_array_header_1_0(
            file,
            {"descr": dtype.str, "fortran_order": False, "shape": shape},
        )
        for chunk in chunks:
            file.write(np.asarray(chunk, dtype).tobytes())


def _chunks(file):
    """Yields the rows of an array, some at a time."""
    if npy.read_magic(file) != (1, 0):
        raise ValueError("its arrays are of another version")
    shape, is_fortran, dtype = npy.read_array_header_1_0(file)
    if is_fortran:
        raise ValueError("its arrays are stored by columns")
    for start in range(0, shape[0], _ROWS):
        count = min(_ROWS, shape[0] - start)
        size = count * int(np.prod(shape[1:])) * dtype.itemsize
        content = file.read(size)
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
