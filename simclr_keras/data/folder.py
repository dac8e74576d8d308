"""Folders of images of any size, labelled or not."""

import collections
import os
import sys

import numpy as np

from simclr_keras.data import files
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


def from_folder(
    folder,
    *,
    train_split=None,
    eval_split=None,
    seed=0,
    max_skipped=0.1,
    whole=False,
):
    """A `Source` of a folder of images of any size.

    Sub-folders are searched to any depth, and links are followed; what begins
    with a dot is left out, and so are folders that a training run wrote. A
    folder holds splits if it has a sub-folder `train` and also `test` or
    `validation`, or nothing else. Images are labelled by the first sub-folder
    on their way if there are two such sub-folders or more; images beside
    those have no label. A lone sub-folder is looked through as if it were not
    there. Of several links to one file in a split one is taken, unless the
    `whole` is.

    Args:
        folder: str.
        train_split, eval_split: names of sub-folders, or None.
        seed: int, of the images that are put aside for testing where there is
            no such sub-folder.
        max_skipped: float in [0, 1], the share of image files that may be
            unusable; they are left out.
        whole: bool, as for `open_source`.

    Raises:
        ValueError: if there is no image, too many cannot be used, or a
            sub-folder cannot be used.
    """
    found = scan.scan(folder)
    files.check(found, folder, "a folder with images", _TREE, max_skipped)
    everything, depth = _layout(found.paths)
    members = {
        name: indices if whole else files.without_links(found, indices)
        for name, indices in everything.items()
    }
    tops = {
        name: _tops(found.paths, indices, depth)
        for name, indices in members.items()
    }
    class_names = _class_names(tops)
    named = {
        name: files.split(
            found, indices, _labels(name, tops[name], class_names)
        )
        for name, indices in members.items()
    }
    parts = source.assemble(
        named,
        train_split=train_split,
        eval_split=eval_split,
        seed=seed,
        whole=whole,
    )
    num_links = len(found.paths) - sum(map(len, members.values()))
    notes = _notes(found, num_links, named, parts.pop("names"))
    return files.opened(
        found,
        parts,
        name=os.path.basename(os.path.abspath(folder)),
        origin=f"folder of images {os.path.abspath(folder)}",
        num_classes=len(class_names) or None,
        class_names=class_names or None,
        fingerprint=files.fingerprint(found).hexdigest()[:16],
        notes=notes,
    )


def _layout(paths):
    """(dict from names of splits to indices of files, depth of the classes).

    The depth counts the folders on the way to those of the classes.
    """
    everything, depth = np.arange(len(paths)), 0
    while True:
        tops = _tops(paths, everything, depth)
        distinct = set(tops)
        if len(distinct) > 1 or None in distinct:
            break
        depth += 1
    if not _holds_splits(distinct):
        return {"train": everything}, depth
    named = collections.defaultdict(list)
    for index, top in enumerate(tops):
        named["." if top is None else top.lower()].append(index)
    members = {name: np.array(indices) for name, indices in named.items()}
    return members, depth + 1


def _holds_splits(tops):
    names = {top and top.lower() for top in tops}
    if not names.intersection(source.TRAIN_NAMES):
        return False
    return bool(names.intersection(source.TEST_NAMES)) or names.issubset(
        _SPLIT_NAMES
    )


def _tops(paths, indices, depth):
    """The folder at a depth on the way to each file, or None."""
    separator = os.fsencode(os.sep)
    tops = []
    for index in indices:
        folders = paths.name(index).split(separator, depth + 1)[:-1]
        top = os.fsdecode(folders[depth]) if len(folders) > depth else None
        # Interned: one string for all files of a folder.
        tops.append(top and sys.intern(top))
    return tops


def _class_names(tops):
    """The sub-folders of the train split, if there are two or more."""
    name = next(name for name in source.TRAIN_NAMES if name in tops)
    names = set(tops[name]) - {None}
    return tuple(sorted(names)) if len(names) > 1 else ()


def _labels(split, tops, class_names):
    """[N] int64, or None if no image lies in the folder of a class.

    Raises:
        ValueError: if only some of the folders are those of classes.
    """
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
    if found.others or found.runs:
        left_out = files.contents(found._replace(skipped=[]))
        notes.append(f"left out: {left_out}")
    return notes
