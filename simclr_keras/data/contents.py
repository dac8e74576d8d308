"""Which images are copies of each other, bit for bit."""

import hashlib

import numpy as np

_BLOCK = 2**20
_DIGEST = 8


def of_file(path):
    """A hash of a file's content: int64, the same for identical files.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return int.from_bytes(digest.digest(), "little", signed=True)


def of_images(images):
    """Hashes of pixels: [N] int64 of [N, H, W, 3] uint8."""
    images = np.ascontiguousarray(images)
    digests = (
        hashlib.blake2b(image, digest_size=_DIGEST).digest() for image in images
    )
    return np.frombuffer(b"".join(digests), np.int64)


def num_duplicates(split):
    """Images that are copies of one before; None if that is not known."""
    if split.contents is None:
        return None
    return split.num_examples - len(np.unique(split.contents))


def num_leaked(test, *trained):
    """Images of `test` with a copy in a split that is trained on.

    None if that is not known; 0 if `test` is None.
    """
    if test is None:
        return 0
    contents = [split.contents for split in (test, *trained) if split]
    if any(content is None for content in contents):
        return None
    return int(np.isin(contents[0], np.concatenate(contents[1:])).sum())
