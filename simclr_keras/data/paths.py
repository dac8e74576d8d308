"""Names of many files in little memory."""

import os

import numpy as np


class Paths:
    """Files below a folder: one string of all names, and where each begins.

    A list of str takes about 100 bytes for each beside its characters; this
    takes 12. Behaves as a sequence of str, the whole paths.

    Args:
        root: str, the folder; empty if the names are whole paths.
        names: iterable of bytes, relative to `root`.
    """

    def __init__(self, root, names):
        names = list(names)
        self.root = root
        self.blob = b"".join(names)
        self.lengths = np.array([len(name) for name in names], np.int32)
        self.starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        return os.path.join(self.root, os.fsdecode(self.name(index)))

    def name(self, index):
        """One name as bytes, relative to the folder."""
        start = self.starts[index]
        return self.blob[start : start + self.lengths[index]]

    def names(self):
        """All names as bytes, one after the other."""
        return map(self.name, range(len(self)))

    def take(self, indices):
        """The `Paths` of some of the files; the string is shared."""
        taken = Paths(self.root, ())
        taken.blob = self.blob
        taken.starts = self.starts[indices]
        taken.lengths = self.lengths[indices]
        return taken
