"""Folders of images of any size, labelled or not."""

import collections
import hashlib
import os

import numpy as np

from simclr_keras.data import image_files
from simclr_keras.data import scan
from simclr_keras.data import source
from simclr_keras.data import splits

_TREE = (
    "expected one of\n"
    "  FOLDER/cat/1.jpg  FOLDER/dog/2.png  ...     labelled by sub-folder\n"
    "  FOLDER/train/cat/1.jpg  FOLDER/test/cat/2.jpg  ...  with a test split\n"
    "  FOLDER/1.jpg  FOLDER/2.png  ...             not labelled\n"
    "with files named " + " ".join(sorted(image_files.EXTENSIONS))
)
_SPLIT_NAMES = (
    *source.TRAIN_NAMES,
    *source.TEST_NAMES,
    *source.UNLABELLED_NAMES,
)
_SHOWN = 5


def from_folder(folder, *, train_split=None, eval_split=None, seed=0):
    """A `Source` of a folder of images of any size.

    Sub-folders are searched to any depth, and links are followed; what begins
    with a dot is left out. A folder holds splits if it has a sub-folder
    `train` and also `test` or `validation`, or nothing else. Images are
    labelled by the first sub-folder on their way if there are two such
    sub-folders or more; images beside those have no label. A lone sub-folder
    is looked through as if it were not there. Of several links to one file in
    a split one is taken.

    Args:
        folder: str.
        train_split, eval_split: names of sub-folders, or None.
        seed: int, of the images that are put aside for testing where there is
            no such sub-folder.

    Raises:
        ValueError: if there is no image, or a sub-folder cannot be used.
    """
    found = scan.scan(folder)
    if not found.images:
        raise ValueError(
            "`dataset` must be a folder with images. "
            f"Received: {folder}, where there are {_contents(found)}; {_TREE}"
        )
    members, num_links = _without_links(_layout(found.images))
    class_names = _class_names(members)
    named = {
        name: _file_split(folder, images, _labels(name, images, class_names))
        for name, images in members.items()
    }
    parts = source.assemble(
        named, train_split=train_split, eval_split=eval_split, seed=seed
    )
    sizes = parts["pretrain"].sizes
    used = parts.pop("names")
    notes = (*parts.pop("notes"), *_notes(found, num_links, named, used))
    return source.Source(
        name=os.path.basename(os.path.abspath(folder)),
        origin=f"folder of images {os.path.abspath(folder)}",
        num_classes=len(class_names) or None,
        class_names=class_names or None,
        image_size=int(np.median(sizes.min(axis=1))),
        sizes=_sizes(sizes),
        fingerprint=_fingerprint(found.images),
        notes=notes,
        skipped=tuple(found.skipped),
        **parts,
    )


def _layout(images):
    """Dict from names of splits to lists of (path below the split, image)."""
    below = [(image.path, image) for image in images]
    while True:
        tops = {_top(path) for path, _ in below}
        top = next(iter(tops))
        if len(tops) > 1 or top is None:
            break
        below = [(_rest(path), image) for path, image in below]
    if not _holds_splits(tops):
        return {"train": below}
    named = collections.defaultdict(list)
    for path, image in below:
        top = _top(path)
        if top is None:
            named["."].append((path, image))
        else:
            named[top.lower()].append((_rest(path), image))
    return dict(named)


def _holds_splits(tops):
    names = {top and top.lower() for top in tops}
    if not names.intersection(source.TRAIN_NAMES):
        return False
    return bool(names.intersection(source.TEST_NAMES)) or names.issubset(
        _SPLIT_NAMES
    )


def _top(path):
    """The first sub-folder on the way to a file, or None."""
    top, separator, _ = path.partition(os.sep)
    return top if separator else None


def _rest(path):
    return path.partition(os.sep)[2]


def _without_links(members):
    """Leaves one path of those that lead to one file; and how many go."""
    num_links = 0
    kept = {}
    for name, images in members.items():
        first = {}
        # A file itself comes before links to it.
        for path, image in sorted(images, key=lambda item: item[1].is_link):
            first.setdefault(image.file_id, (path, image))
        kept[name] = sorted(first.values())
        num_links += len(images) - len(first)
    return kept, num_links


def _class_names(members):
    """The sub-folders of the train split, if there are two or more."""
    name = next(name for name in source.TRAIN_NAMES if name in members)
    names = {_top(path) for path, _ in members[name]} - {None}
    return tuple(sorted(names)) if len(names) > 1 else ()


def _labels(split, images, class_names):
    """[N] int64, or None if no image lies in the folder of a class.

    Raises:
        ValueError: if only some of the folders are those of classes.
    """
    tops = [_top(path) for path, _ in images]
    unknown = set(tops) - {None} - set(class_names)
    if not set(tops).intersection(class_names):
        return None
    if unknown:
        raise ValueError(
            "`dataset` must have the same sub-folders, the classes, in each "
            f"split. Received: in {split}, not in train: "
            + ", ".join(sorted(unknown))
        )
    numbers = {name: index for index, name in enumerate(class_names)}
    return np.array(
        [numbers.get(top, splits.UNLABELLED) for top in tops], np.int64
    )


def _file_split(folder, images, labels):
    return splits.FileSplit(
        [os.path.join(folder, image.path) for _, image in images],
        labels,
        np.array([(image.height, image.width) for _, image in images]),
    )


def _notes(found, num_links, named, used):
    notes = []
    unused = [
        f"{name} ({split.num_examples:,})"
        for name, split in named.items()
        if name not in used
    ]
    if unused:
        notes.append(f"sub-folders not used: {', '.join(unused)}")
    for name in used:
        labels = named[name].labels
        loose = 0 if labels is None else int((labels < 0).sum())
        if loose:
            notes.append(
                f"{source.count(loose, 'image')} of {name} in no class's folder"
            )
    if num_links:
        notes.append(
            f"{source.count(num_links, 'link')} to images that are here already"
        )
    if found.others:
        notes.append(f"left out: {_contents(found._replace(skipped=[]))}")
    return notes


def _contents(found):
    """What is there besides usable images, in words."""
    contents = []
    if found.others:
        shown = ", ".join(
            f"{count:,} {extension}"
            for extension, count in found.others.most_common(_SHOWN)
        )
        more = ", ..." if len(found.others) > _SHOWN else ""
        contents.append(
            f"{source.count(found.others.total(), 'other file')} "
            f"({shown}{more})"
        )
    if found.skipped:
        path, reason = found.skipped[0]
        contents.append(
            f"{source.count(len(found.skipped), 'image file')} that cannot be "
            "used "
            f"({path}: {reason}{', ...' if len(found.skipped) > 1 else ''})"
        )
    return " and ".join(contents) or "no files"


def _sizes(sizes):
    if (sizes == sizes[0]).all():
        return source.by(*sizes[0])
    pixels = sizes.prod(axis=1)
    smallest, largest = sizes[pixels.argmin()], sizes[pixels.argmax()]
    median = np.median(sizes, axis=0).astype(int)
    return (
        f"from {source.by(*smallest)} to {source.by(*largest)} "
        f"(median {source.by(*median)})"
    )


def _fingerprint(images):
    digest = hashlib.sha256()
    for image in images:
        digest.update(os.fsencode(image.path))
        digest.update(f" {image.num_bytes}\n".encode())
    return digest.hexdigest()[:16]
