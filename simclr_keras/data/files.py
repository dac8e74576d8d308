"""From scanned image files to a `Source`: shared by folders and lists."""

import hashlib

import numpy as np

from simclr_keras.data import source
from simclr_keras.data import splits

_SHOWN = 5


def check(found, where, takes, advice, max_skipped):
    """Raises ValueError if there are too few images among what was found.

    Args:
        found: `scan.Scan`.
        where: str, the folder or list.
        takes: str, what it must be.
        advice: str, what should be there.
        max_skipped: float, the largest share of image files that cannot be
            used.
    """
    if not 0.0 <= max_skipped <= 1.0:
        raise ValueError(
            "`max_skipped` must be in [0, 1]. "
            f"Received: max_skipped={max_skipped}"
        )
    num_skipped = len(found.skipped)
    if not len(found.paths):
        raise ValueError(
            f"`dataset` must be {takes}. "
            f"Received: {where}, where there are {contents(found)}; {advice}"
        )
    num_files = num_skipped + len(found.paths)
    if num_skipped > max_skipped * num_files:
        shown = "".join(
            f"\n  {path}: {reason}" for path, reason in found.skipped[:_SHOWN]
        )
        more = "\n  ..." if num_skipped > _SHOWN else ""
        raise ValueError(
            f"at most {max_skipped:.4g} of the image files may be unusable "
            f"(`max_skipped`). Received: {where}, where {num_skipped:,} of "
            f"{num_files:,} are:{shown}{more}"
        )


def without_links(found, indices):
    """Leaves one of those files that are links to one file, in order."""
    # A file itself comes before links to it.
    ordered = indices[np.argsort(found.is_link[indices], kind="stable")]
    _, first = np.unique(found.file_ids[ordered], return_index=True)
    return np.sort(ordered[first])


def split(found, indices, labels):
    """The `FileSplit` of some of the files, with labels [N] or None."""
    return splits.FileSplit(
        found.paths.take(indices),
        labels,
        found.sizes[indices],
        None if found.contents is None else found.contents[indices],
    )


def opened(found, parts, **fields):
    """The `Source` of what was scanned.

    Args:
        found: `scan.Scan`.
        parts: what `source.assemble` made.
        **fields: further fields of the `Source`.
    """
    sizes = parts["pretrain"].sizes
    notes = (*parts["notes"], *fields.pop("notes"))
    if found.contents is None:
        notes += ("copies were not looked for: files of equal size are many",)
    return source.Source(
        image_size=int(np.median(sizes.min(axis=1))),
        sizes=_sizes(sizes),
        skipped=tuple(found.skipped),
        **{**parts, **fields, "notes": notes},
    )


def contents(found):
    """What is there besides usable images, in words."""
    said = []
    if found.others:
        shown = ", ".join(
            f"{count:,} {extension}"
            for extension, count in found.others.most_common(_SHOWN)
        )
        more = ", ..." if len(found.others) > _SHOWN else ""
        said.append(
            f"{source.count(found.others.total(), 'other file')} "
            f"({shown}{more})"
        )
    if found.runs:
        more = ", ..." if len(found.runs) > 1 else ""
        said.append(
            f"{source.count(len(found.runs), 'folder')} of a training run "
            f"({found.runs[0]}{more})"
        )
    if found.skipped:
        path, reason = found.skipped[0]
        said.append(
            f"{source.count(len(found.skipped), 'image file')} that cannot be "
            "used "
            f"({path}: {reason}{', ...' if len(found.skipped) > 1 else ''})"
        )
    return " and ".join(said) or "no files"


def fingerprint(found):
    """A digest of names and lengths, to be gone on with."""
    digest = hashlib.sha256()
    for name, num_bytes in zip(
        found.paths.names(), found.num_bytes.tolist(), strict=True
    ):
        digest.update(name)
        digest.update(f" {num_bytes}\n".encode())
    return digest


def _sizes(sizes):
    if (sizes == sizes[0]).all():
        return source.by(*sizes[0])
    pixels = sizes.prod(axis=1, dtype=np.int64)
    smallest, largest = sizes[pixels.argmin()], sizes[pixels.argmax()]
    median = np.median(sizes, axis=0).astype(int)
    return (
        f"from {source.by(*smallest)} to {source.by(*largest)} "
        f"(median {source.by(*median)})"
    )
