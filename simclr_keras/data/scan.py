"""Finds the images below a folder and judges them by their headers."""

import collections
import os
import typing

from simclr_keras.data import image_files

# Left behind by archivers and file servers; hidden names are left out too.
_IGNORED_FOLDERS = ("__MACOSX", "@eaDir")


class Image(typing.NamedTuple):
    """A file that can be decoded.

    `path` is relative to the folder; `file_id` is the same for all links to
    one file.
    """

    path: str
    num_bytes: int
    height: int
    width: int
    file_id: tuple[int, int]
    is_link: bool


class Scan(typing.NamedTuple):
    """What is below a folder.

    `images` and `skipped`, the image files that cannot be used with the
    reason, are sorted by path; `others` counts further files by extension.
    """

    images: list[Image]
    skipped: list[tuple[str, str]]
    others: collections.Counter


def scan(folder):
    """The `Scan` of a folder: to any depth, through links, without hidden
    files and folders.

    Raises:
        OSError: if the folder itself cannot be listed.
    """
    images, skipped, others = [], [], collections.Counter()
    doubtful = []
    for path, entry in _files(folder, skipped):
        extension = os.path.splitext(path)[1].lower()
        if extension in image_files.OTHER_EXTENSIONS | image_files.EXTENSIONS:
            try:
                image, sound = _image(path, entry)
            except (OSError, ValueError) as error:
                skipped.append((path, _reason(error)))
            else:
                (images if sound else doubtful).append(image)
        else:
            others[extension or "no extension"] += 1
    for image in doubtful:
        reason = _decoding_error(os.path.join(folder, image.path))
        if reason is None:
            images.append(image)
        else:
            skipped.append((image.path, reason))
    return Scan(sorted(images), sorted(skipped), others)


def _files(folder, skipped):
    """Yields (path relative to the folder, `os.DirEntry`) of all files.

    A folder is not entered again below itself, so links cannot loop. What
    cannot be entered is added to `skipped`.
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
        for entry in entries:
            name = os.path.join(below, entry.name)
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                yield name, entry
            elif entry.name not in _IGNORED_FOLDERS:
                pending.append((name, above | {folder_id}))


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False


def _image(path, entry):
    status = entry.stat()
    found = image_files.header(entry.path, status.st_size)
    image = Image(
        path,
        status.st_size,
        found.height,
        found.width,
        (status.st_dev, status.st_ino),
        entry.is_symlink(),
    )
    return image, found.sound


def _reason(error):
    if isinstance(error, FileNotFoundError):
        return "link to nothing"
    if isinstance(error, OSError):
        return error.strerror
    return str(error)


def _decoding_error(path):
    """Why a file cannot be decoded, or None if it can."""
    import tensorflow as tf

    from simclr_keras import preprocessing

    try:
        preprocessing.decode(tf.io.read_file(os.fsencode(path)))
    except tf.errors.InvalidArgumentError:
        return "damaged or cut off"
    return None
