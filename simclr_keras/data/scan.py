"""Finds the images below a folder and judges them by their headers."""

import array
import collections
import os
import sys
import typing

import numpy as np
import tqdm

from simclr_keras.data import contents
from simclr_keras.data import image_files
from simclr_keras.data import paths
from simclr_keras.data import scan_cache

# Left behind by archivers and file servers; hidden names are left out too.
_IGNORED_FOLDERS = ("__MACOSX", "@eaDir")
# Copies are looked for among files of equal sizes, unless that would mean to
# read more than this; photos hardly ever agree in size, BMP files do.
HASH_LIMIT = 2**31
_MANY = 10_000
_DOUBTFUL = "to be decoded"


class Scan(typing.NamedTuple):
    """What is below a folder.

    Attributes:
        paths: `Paths` of the N images that can be decoded, sorted.
        num_bytes: [N] int64.
        sizes: [N, 2] int32, height and width as the image is seen.
        file_ids: [N] int64, the same for all links to one file.
        is_link: [N] bool.
        contents: [N] int64, the same for identical files; None if that would
            take too long to find out.
        skipped: (path, reason) of image files that cannot be used, sorted.
        others: counts further files by extension.
        runs: folders that hold what a training run wrote.
    """

    paths: paths.Paths
    num_bytes: np.ndarray
    sizes: np.ndarray
    file_ids: np.ndarray
    is_link: np.ndarray
    contents: np.ndarray | None
    skipped: list[tuple[str, str]]
    others: collections.Counter
    runs: list[str]


def scan(folder):
    """The `Scan` of a folder: to any depth, through links, without hidden
    files and folders and without those of training runs.

    Raises:
        ValueError: if the folder itself is that of a run.
        OSError: if the folder itself cannot be listed.
    """
    folder = os.fspath(folder)
    skipped, others, runs = [], collections.Counter(), []
    if _is_run(os.listdir(folder)):
        raise ValueError(
            "`dataset` must be a folder of images and not a run's `model_dir`. "
            f"Received: {folder}, which holds config.json and checkpoints"
        )

    def images():
        for name, entry in _files(folder, skipped, runs):
            extension = os.path.splitext(name)[1].lower()
            if image_files.is_name(extension):
                yield name, entry.is_symlink()
            else:
                others[extension or "no extension"] += 1

    found = scan_files(folder, folder, images())
    return found._replace(
        skipped=sorted(found.skipped + skipped), others=others, runs=runs
    )


def scan_files(key, root, files):
    """The `Scan` of files.

    Args:
        key: path under which what is found is kept for the next time.
        root: str, the folder that names are relative to.
        files: iterable of (name, whether it is a link).
    """
    before = scan_cache.load(key)
    table = _judged(root, _shown(_told(files, key), key), before)
    usable = table.rows[:, scan_cache.REASON] < 0
    images = np.flatnonzero(usable)
    same = _contents(table.rows, images, table.paths)
    scan_cache.save(key, table)
    rows = table.rows[images]
    return Scan(
        table.paths.take(images),
        rows[:, scan_cache.NUM_BYTES].copy(),
        rows[:, [scan_cache.HEIGHT, scan_cache.WIDTH]].astype(np.int32),
        rows[:, scan_cache.FILE_ID].copy(),
        rows[:, scan_cache.IS_LINK] > 0,
        same,
        [
            (
                os.fsdecode(table.paths.name(index)),
                table.reasons[table.rows[index, scan_cache.REASON]],
            )
            for index in np.flatnonzero(~usable)
        ],
        collections.Counter(),
        [],
    )


def _files(folder, skipped, runs):
    """Yields (path relative to the folder, `os.DirEntry`) of all files.

    A folder is not entered again below itself, so links cannot loop. What
    cannot be entered is added to `skipped`, folders of runs to `runs`.
    """
    pending = [("", frozenset())]
    while pending:
        below, above = pending.pop()
        path = os.path.join(folder, below)
        try:
            status = os.stat(path)
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                raise
            skipped.append((below, _reason(error)))
            continue
        folder_id = (status.st_dev, status.st_ino)
        if folder_id in above:
            continue
        if _is_run([entry.name for entry in entries]):
            runs.append(below)
            continue
        for entry in entries:
            name = os.path.join(below, entry.name)
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                yield name, entry
            elif entry.name not in _IGNORED_FOLDERS:
                pending.append((name, above | {folder_id}))


def _is_run(names):
    """Whether a training run wrote into the folder that has these names."""
    return "config.json" in names and (
        "checkpoints" in names or "run.flags" in names
    )


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False


def _shown(files, what):
    """`files`, with progress on a terminal if it takes a second."""
    return tqdm.tqdm(
        files,
        desc=f"looking through {what}",
        unit=" files",
        delay=1,
        leave=False,
        disable=not _on_terminal(),
    )


def _told(files, what):
    """`files`; where no progress is seen, one line if they are many."""
    for number, file in enumerate(files):
        if number == _MANY and not _on_terminal():
            print(
                f"looking through {what}: more than {_MANY:,} files",
                file=sys.stderr,
            )
        yield file


def _on_terminal():
    return sys.stderr is not None and sys.stderr.isatty()


def _judged(root, files, before):
    """The `scan_cache.Table` of files, sorted by path."""
    known = {name: row for row, name in enumerate(before.paths.names())}
    # One flat array: a list of rows would take ten times the memory.
    names, numbers, reasons = [], array.array("q"), {}
    for name, is_link in files:
        names.append(os.fsencode(name))
        path = os.path.join(root, name)
        row, reason = _row(path, is_link, before, known.get(names[-1]))
        if reason == _DOUBTFUL:
            reason = _decoding_error(path)
        if reason is not None:
            row[scan_cache.REASON] = reasons.setdefault(reason, len(reasons))
        numbers.extend(row)
    order = sorted(range(len(names)), key=names.__getitem__)
    rows = np.array(numbers, np.int64).reshape(-1, 8)[order]
    packed = paths.Paths(root, (names[index] for index in order))
    return scan_cache.Table(packed, rows, list(reasons))


def _row(path, is_link, before, known):
    """(row of a file, why it cannot be used or None)."""
    row = [-1, 0, 0, 0, 0, int(is_link), -1, 0]
    try:
        status = os.stat(path)
        key = [status.st_size, status.st_mtime_ns, _file_id(status)]
        if known is not None:
            old = before.rows[known].tolist()
            if old[: len(key)] == key:
                number = old[scan_cache.REASON]
                old[scan_cache.IS_LINK] = int(is_link)
                return old, before.reasons[number] if number >= 0 else None
        reason = None
        try:
            found = image_files.header(path, status.st_size)
        except ValueError as error:
            reason = str(error)
        else:
            row[scan_cache.HEIGHT : scan_cache.WIDTH + 1] = found[:2]
            reason = None if found.sound else _DOUBTFUL
        row[: len(key)] = key
        return row, reason
    except OSError as error:
        # Kept without a size: it may be mended without a trace.
        return row, _reason(error, is_link)


def _file_id(status):
    """One int64 for the two numbers of a file; distinct on one device."""
    number = status.st_ino * 1_000_003 ^ status.st_dev
    return (number + 2**63) % 2**64 - 2**63


def _contents(rows, images, names):
    """[N] int64 of the N images, the same for identical ones; or None.

    An image that alone has its size needs no look at its content.
    """
    size = [scan_cache.NUM_BYTES, scan_cache.HEIGHT, scan_cache.WIDTH]
    weights = np.array([1, 1_000_003, 998_244_353], np.int64)
    sizes = (rows[:, size] * weights).sum(axis=1)
    _, which, counts = np.unique(
        sizes[images], return_inverse=True, return_counts=True
    )
    alike = images[counts[which] > 1]
    todo = alike[rows[alike, scan_cache.CONTENT] == 0]
    if rows[todo, scan_cache.NUM_BYTES].sum() > HASH_LIMIT:
        return None
    for index in _shown(todo, "files of equal size"):
        try:
            rows[index, scan_cache.CONTENT] = contents.of_file(names[index])
        except OSError:  # Gone since; reading it will say so.
            rows[index, scan_cache.CONTENT] = index
    found = sizes.copy()
    found[alike] = rows[alike, scan_cache.CONTENT]
    return found[images]


def _reason(error, is_link=True):
    if isinstance(error, FileNotFoundError):
        return "link to nothing" if is_link else "no such file"
    return error.strerror


def _decoding_error(path):
    """Why a file cannot be decoded, or None if it can."""
    import tensorflow as tf

    from simclr_keras import preprocessing

    try:
        preprocessing.decode(tf.io.read_file(os.fsencode(path)))
    except tf.errors.InvalidArgumentError:
        return "damaged or cut off"
    return None
