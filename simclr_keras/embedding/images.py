"""The images to embed, numbered from 0, whatever they come from."""

import os

import numpy as np
import tensorflow as tf

from simclr_keras.data import splits


class Images:
    """The images of a `Source`, one split after the other.

    Args:
        source: `data.Source`, opened with `whole=True`.
        split: name of the split to take; None for all of them.

    Attributes:
        num_images: N.
        source: as given.
        split_names: of the splits that are taken.
        skipped: (path, reason) of files that are known to be unusable; they
            are not among the N.

    Raises:
        ValueError: if there is no such split.
    """

    def __init__(self, source, split=None):
        if split is not None and split not in source.named:
            raise ValueError(
                f"`split` must be one of {', '.join(source.named)}. "
                f"Received: split={split!r}"
            )
        self.source = source
        self.split_names = tuple(source.named) if split is None else (split,)
        self._splits = [source.named[name] for name in self.split_names]
        counts = [split.num_examples for split in self._splits]
        self._offsets = np.cumsum([0, *counts]).tolist()
        self.num_images = self._offsets[-1]
        self.skipped = [
            (text(os.path.abspath(os.path.join(self._root, path))), reason)
            for path, reason in source.skipped
            if split is None or _lies_in(path, split)
        ]

    def batches(self, start, prepare, batch_size):
        """Dataset of the images from number `start` on, decoded in parallel.

        Args:
            start: int.
            prepare: function from the content of a file, a string scalar, or
                from pixels [h, w, 3] uint8 to what a batch consists of.
            batch_size: B; batches do not cross from one split to the next.

        Returns:
            dataset of (numbers [B] int64, labels [B] int64, batch). Images
            that cannot be read, or where `prepare` fails, are left out; the
            order is kept.
        """
        parts = []
        for split, offset in zip(self._splits, self._offsets, strict=False):
            first = max(start - offset, 0)
            if first >= split.num_examples:
                continue
            keys, read = _reading(split, first)

            def row(number, key, offset=offset, read=read):
                image, label = read(key)
                return offset + number, label, prepare(image)

            rows = keys.map(
                row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
            parts.append(rows.ignore_errors().batch(batch_size))
        dataset = parts[0]
        for part in parts[1:]:
            dataset = dataset.concatenate(part)
        # Not more: batches of whole files can be large.
        return dataset.prefetch(2)

    def read(self, number):
        """One image as `prepare` of `batches` gets it.

        Raises:
            tf.errors.OpError: if it cannot be read.
        """
        split, row = self._place(number)
        if hasattr(split, "paths"):
            return tf.io.read_file(os.fsencode(split.paths[row]))
        keys, read = _reading(split, row)
        for found, key in keys.take(1):
            if found == row:
                return read(key)[0]
        raise tf.errors.OutOfRangeError(None, None, f"no image {number}")

    def paths(self, start, stop):
        """Where images come from: files, or places like "train[17]"."""
        return [self._path(number) for number in range(start, stop)]

    def labels(self, start, stop):
        """[stop - start] int64, -1 where not known before reading."""
        labels = np.full(stop - start, splits.UNLABELLED, np.int64)
        for split, offset in zip(self._splits, self._offsets, strict=False):
            first = max(start, offset)
            last = min(stop, offset + split.num_examples)
            if first < last and split.known_labels is not None:
                known = split.known_labels[first - offset : last - offset]
                labels[first - start : last - start] = known
        return labels

    def number(self, path):
        """The number of the image that `paths` names so, or None."""
        name, _, row = path.removesuffix("]").rpartition("[")
        if name not in self.split_names or not row.isdecimal():
            return None
        place = self.split_names.index(name)
        number = self._offsets[place] + int(row)
        return number if number < self._offsets[place + 1] else None

    @property
    def _root(self):
        paths = getattr(self._splits[0], "paths", None)
        return "" if paths is None else paths.root

    def _place(self, number):
        place = int(np.searchsorted(self._offsets, number, side="right")) - 1
        return self._splits[place], number - self._offsets[place]

    def _path(self, number):
        split, row = self._place(number)
        if hasattr(split, "paths"):
            return text(os.path.abspath(split.paths[row]))
        name = self.split_names[self._splits.index(split)]
        return f"{name}[{row}]"


def text(path):
    """A path as valid text: bytes that are none are written as \\xe4."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _lies_in(path, split):
    return split in path.lower().split(os.sep)[:-1]


def _reading(split, first):
    """Dataset of (number, key) from a number on; (image, label) of a key.

    Images are contents of files, or pixels where a split is in memory for
    good; files that would fit into memory are needed only once.
    """
    if hasattr(split, "paths"):
        return _numbers(split, first), split.encoded
    if hasattr(split, "numbered_keys"):
        # Not `skip`: it would count what is damaged differently.
        keys = split.numbered_keys().filter(lambda number, _: number >= first)
        return keys, split.encoded
    images, labels = split.tensor, split.labels
    if labels is None:
        labels = np.full(split.num_examples, splits.UNLABELLED, np.int64)
    labels = tf.constant(labels)
    return _numbers(split, first), lambda key: (images[key], labels[key])


def _numbers(split, first):
    numbers = tf.data.Dataset.range(first, split.num_examples)
    return numbers.map(lambda number: (number, number))
