"""Lists of image files, with labels or without."""

import csv
import os

import numpy as np

from simclr_keras.data import files
from simclr_keras.data import image_files
from simclr_keras.data import scan
from simclr_keras.data import source
from simclr_keras.data import splits

EXTENSIONS = (".txt", ".csv")
_HEADERS = (["path"], ["path", "label"])
_LINES = (
    "expected lines\n"
    "  cat/1.jpg                   relative to the list's folder, or absolute\n"
    "  cat/2.jpg,cat               with a label, behind a comma or a tab\n"
    '  "Zoo, May/3.jpg",cat        quoted, since there is a comma in the name\n'
    "  # a comment"
)


def from_list(
    path,
    *,
    train_split=None,
    eval_split=None,
    seed=0,
    max_skipped=0.1,
    whole=False,
):
    """A `Source` of the images that a text file names, one in each line.

    Names are relative to the list's folder. A label may follow behind a tab
    or a comma; a name with a comma is put in double quotes. Empty lines, lines
    that begin with `#` and a first line `path,label` are left out. Classes
    are the distinct labels, sorted, as numbers if all are; an image without a
    label, in a list where others have one, is only pretrained on.

    Args:
        path: str, of a file in UTF-8.
        train_split, eval_split: "train", or None.
        seed: int, of the images that are put aside for testing.
        max_skipped: float in [0, 1], the share of the listed files that may
            be missing or unusable; they are left out.
        whole: bool, as for `open_source`.

    Raises:
        ValueError: naming the line, if it cannot be understood; if there is
            no image, or too many cannot be used.
    """
    labels = read(path)
    root = os.path.dirname(os.path.abspath(path))
    if any(map(os.path.isabs, labels)):
        labels = {
            os.path.join(root, name): label for name, label in labels.items()
        }
        root = ""
    names = (
        (name, os.path.islink(os.path.join(root, name))) for name in labels
    )
    found = scan.scan_files(path, root, names)
    files.check(found, path, "a list of image files", _LINES, max_skipped)
    indices = np.arange(len(found.paths))
    if not whole:
        indices = files.without_links(found, indices)
    used = [labels[os.fsdecode(found.paths.name(index))] for index in indices]
    class_names = _class_names(used)
    numbers = _numbers(used, class_names)
    parts = source.assemble(
        {"train": files.split(found, indices, numbers)},
        train_split=train_split,
        eval_split=eval_split,
        seed=seed,
        whole=whole,
    )
    del parts["names"]
    digest = files.fingerprint(found)
    digest.update("\n".join(map(str, used)).encode(errors="surrogateescape"))
    return files.opened(
        found,
        parts,
        name=os.path.basename(path),
        origin=f"list of images {os.path.abspath(path)}",
        num_classes=len(class_names) or None,
        class_names=class_names or None,
        fingerprint=digest.hexdigest()[:16],
        notes=_notes(len(found.paths) - len(indices), used, class_names),
    )


def read(path):
    """Dict from the names in a list to their labels, str or None.

    Raises:
        ValueError: naming the line, if it cannot be understood.
        OSError: if the file cannot be read.
    """
    labels, lines = {}, {}
    with open(
        path, encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = _fields(line)
            if not labels and [x.lower() for x in fields] in _HEADERS:
                continue
            name, label = _checked(fields, f"line {number} of {path}", line)
            if labels.setdefault(name, label) != label:
                raise ValueError(
                    "an image may have one label only. Received: line "
                    f"{number} of {path}, {line!r}; line {lines[name]} says "
                    f"{labels[name]!r}"
                )
            lines.setdefault(name, number)
    return labels


def _fields(line):
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    [fields] = csv.reader([line], skipinitialspace=True)
    return [field.strip() for field in fields]


def _checked(fields, where, line):
    """(name, label or None) of a line."""
    if len(fields) > 2:
        raise ValueError(
            "a line must be a path, or path,label; a path with a comma must "
            f"be in double quotes. Received: {where}, {line!r}"
        )
    name, label = (*fields, "")[:2]
    if not name or "\0" in line:
        raise ValueError(
            f"a line must begin with a path. Received: {where}, {line!r}"
        )
    if image_files.is_name(os.path.splitext(label)[1].lower()):
        raise ValueError(
            "a label must not be named like an image; a path with a comma "
            f"must be in double quotes. Received: {where}, {line!r}"
        )
    return os.path.expanduser(name), label or None


def _class_names(labels):
    """The distinct labels, if there are two or more."""
    names = sorted(set(labels) - {None})
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    return tuple(names) if len(names) > 1 else ()


def _numbers(labels, class_names):
    if not class_names:
        return None
    numbers = {name: index for index, name in enumerate(class_names)}
    return np.array(
        [numbers.get(label, splits.UNLABELLED) for label in labels], np.int64
    )


def _notes(num_links, labels, class_names):
    notes = []
    loose = labels.count(None)
    if class_names and loose:
        notes.append(f"{source.count(loose, 'image')} without a label")
    if not class_names and loose < len(labels):
        notes.append("only one label: the images count as unlabelled")
    if num_links:
        notes.append(
            f"{source.count(num_links, 'name')} of images that are here already"
        )
    return notes
