"""Images and labels in NumPy arrays, and `.npz` files of them."""

import hashlib
import pathlib
import zipfile
import zlib

import numpy as np

from simclr_keras.data import source
from simclr_keras.data import splits

_KEYS = ("x_train", "y_train", "x_test", "y_test")

# Floats this far above 1 still count as [0, 1]: resizing and rounding do it.
_UNIT_SLACK = 1e-3
_CHANNELS = (1, 3, 4)
# More numbers than this without an image are not those of classes.
_LARGEST_GAP = 1000
# RuntimeError: encrypted, or packed in a way that Python does not know.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def from_arrays(
    x_train,
    y_train=None,
    x_test=None,
    y_test=None,
    *,
    name="arrays",
    origin="arrays",
    class_names=None,
    train_split=None,
    eval_split=None,
    seed=0,
    whole=False,
):
    """A `Source` of arrays, with the argument names of `keras.datasets`.

    Args:
        x_train: [N, H, W], or [N, H, W, C] with 1 (grey), 3 (RGB) or 4 (RGBA,
            blended over white) channels. Integers in 0..255; or floats in
            [0, 1], or in 0..255 if the largest of both arrays is 2 or more.
        y_train: [N] or [N, 1] integers from 0, -1 for an image without a
            label; or one-hot [N, K]; or None.
        x_test, y_test: the same for testing, or None. Without them a fifth of
            each class of `x_train` is put aside if there are labels.
        name, origin: what `describe` says.
        class_names: K str, or None.
        train_split, eval_split: "train", "test", or None.
        seed: int, of what is put aside.
        whole: bool, as for `open_source`.

    Raises:
        ValueError: if an array has another shape, dtype or range.
    """
    scale = _scale(x_train, x_test)
    named = {"train": _split("train", x_train, y_train, scale)}
    if x_test is not None:
        named["test"] = _split("test", x_test, y_test, scale)
    elif y_test is not None:
        raise ValueError("`y_test` needs `x_test`. Received: x_test=None")
    parts = source.assemble(
        named,
        train_split=train_split,
        eval_split=eval_split,
        seed=seed,
        whole=whole,
    )
    del parts["names"]
    num_classes = None
    if parts["train"] is not None:
        labelled = [split for split in named.values() if split.has_labels]
        num_classes, note = _num_classes(labelled)
        parts["notes"] += note
    shape = named["train"].images.shape
    return source.Source(
        name=name,
        origin=origin,
        num_classes=num_classes,
        class_names=tuple(class_names) if class_names else None,
        image_size=min(shape[1:3]),
        sizes=source.by(*shape[1:3]),
        fingerprint=_fingerprint(named),
        **parts,
    )


def from_npz(path, **kwargs):
    """A `Source` of a `.npz` file with `x_train` and perhaps `y_train`,
    `x_test`, `y_test`, as `keras.datasets` ships them.

    Args:
        path: str.
        **kwargs: `train_split`, `eval_split`, `seed`, `whole` of
            `from_arrays`.

    Raises:
        ValueError: if the file cannot be read or its arrays cannot be used.
    """
    try:
        # NumPy would take other files too, and leave damaged ones open.
        if not zipfile.is_zipfile(path):
            raise ValueError("not a .npz file, or cut off")
        with np.load(path, allow_pickle=False) as file:
            found = list(file)
            arrays = {key: file[key] for key in _KEYS if key in found}
    except _UNREADABLE as error:
        raise ValueError(
            f"`dataset` must be a .npz file of plain arrays. Received: {path},"
            f" which cannot be read ({error})"
        ) from error
    if "x_train" not in arrays:
        raise ValueError(
            "`dataset` must be a .npz file with the array x_train, and "
            "perhaps y_train, x_test and y_test. "
            f"Received: {path} with {', '.join(found) or 'no arrays'}"
        )
    unused = sorted(set(found) - set(arrays))
    origin = f"arrays of {path}"
    if unused:
        origin += f" (not used: {', '.join(unused)})"
    return from_arrays(
        **arrays, name=pathlib.Path(path).name, origin=origin, **kwargs
    )


def _split(name, x, y, scale):
    images = _rgb(f"x_{name}", np.asarray(x), scale)
    if y is None:
        return splits.ArraySplit(images)
    labels = _labels(f"y_{name}", np.asarray(y))
    if len(labels) != len(images):
        raise ValueError(
            f"`y_{name}` must have one label for each image of `x_{name}`. "
            f"Received: {len(labels)} labels and {len(images)} images"
        )
    return splits.ArraySplit(images, labels if labels.max() >= 0 else None)


def _num_classes(labelled):
    """(one more than the largest label, a note on numbers without images)."""
    present = np.unique(np.concatenate([split.labels for split in labelled]))
    present = present[present >= 0]
    num_classes = int(present[-1]) + 1
    num_absent = num_classes - len(present)
    if num_absent > _LARGEST_GAP:
        raise ValueError(
            "labels must number the classes from 0: "
            "np.unique(labels, return_inverse=True)[1]. Received: "
            f"{len(present)} different labels up to {num_classes - 1}"
        )
    if not num_absent:
        return num_classes, ()
    first = np.setdiff1d(np.arange(num_classes), present)[0]
    note = f"{num_absent:,} of the {num_classes:,} classes have no image, "
    return num_classes, (f"{note}class {first} first; do labels begin at 0?",)


def _scale(*arrays):
    """What floats are multiplied by to be in 0..255; one for all arrays."""
    floats = [
        np.asarray(array)
        for array in arrays
        if array is not None
        and np.asarray(array).dtype.kind == "f"
        and np.size(array)
    ]
    largest = max((array.max() for array in floats), default=0.0)
    if largest <= 1.0 + _UNIT_SLACK:
        return 255.0
    if largest < 2.0:
        raise ValueError(
            "images of floats must be in [0, 1] or in 0..255. Received: "
            f"a largest value of {largest}; is it normalised by mean and "
            "standard deviation?"
        )
    return 1.0


def _rgb(name, images, scale):
    """[N, H, W, 3] uint8 from what `from_arrays` takes."""
    _check_shape(name, images.shape)
    images = _bytes(name, images, scale)
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] == 4:
        images = _over_white(images)
    elif images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return np.ascontiguousarray(images)


def _check_shape(name, shape):
    if len(shape) == 4 and shape[1] in _CHANNELS and shape[3] not in _CHANNELS:
        raise ValueError(
            f"`{name}` must have its channels last: "
            f"np.moveaxis({name}, 1, -1). Received: shape {shape}"
        )
    if len(shape) == 3 and shape[2] in _CHANNELS[1:] and shape[1] > shape[2]:
        raise ValueError(
            f"`{name}` must be images [N, H, W], or [N, H, W, C]; a single "
            f"one is {name}[None]. Received: shape {shape}"
        )
    fits = len(shape) == 3 or (len(shape) == 4 and shape[3] in _CHANNELS)
    if not fits or 0 in shape:
        raise ValueError(
            f"`{name}` must be images [N, H, W], or [N, H, W, C] with 1, 3 "
            f"or 4 channels. Received: shape {shape}"
        )


def _bytes(name, images, scale):
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind == "b":
        return images * np.uint8(255)
    if images.dtype.kind not in "iuf":
        raise ValueError(
            f"`{name}` must be integers or floats. "
            f"Received: dtype {images.dtype}"
        )
    low, high = images.min(), images.max()
    if np.isnan(low):
        where = np.isnan(images).reshape(len(images), -1).any(axis=1)
        raise ValueError(
            f"`{name}` must be in 0..255, or floats in [0, 1]. Received: nan "
            f"in {where.sum():,} of {len(images):,} images, first in number "
            f"{where.argmax()}"
        )
    if not (low >= 0 and high <= 255):
        raise ValueError(
            f"`{name}` must be in 0..255, or floats in [0, 1]. Received: "
            f"{images.dtype} from {low} to {high}"
        )
    if images.dtype.kind != "f":
        return images.astype(np.uint8)
    scaled = np.multiply(images, scale, dtype=np.float32)
    return np.rint(np.minimum(scaled, 255.0, out=scaled)).astype(np.uint8)


def _over_white(rgba):
    """Blended in integers, as `preprocessing.decode` does."""
    alpha = rgba[..., 3:].astype(np.uint32)
    blended = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)


def _labels(name, labels):
    """[N] int64 from integers [N] or [N, 1], or one-hot [N, K]."""
    one_hot = labels.ndim == 2 and labels.shape[1] > 1
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    numbers = labels.dtype.kind in "iufb" and labels.ndim == 1 + one_hot
    if one_hot and numbers and (np.sort(labels)[:, -2:] == (0, 1)).all():
        return labels.argmax(axis=1).astype(np.int64)
    if one_hot or not numbers or (labels % 1 != 0).any() or (labels < -1).any():
        raise ValueError(
            f"`{name}` must be whole numbers from 0 (-1: no label), [N] "
            f"or [N, 1], or one-hot [N, K]. Received: {labels.dtype} of "
            f"shape {labels.shape}, first {labels[:1].tolist()}"
        )
    return np.ascontiguousarray(labels, np.int64)


def _fingerprint(named):
    digest = hashlib.sha256()
    for name, split in named.items():
        digest.update(f"{name} {split.images.shape}".encode())
        digest.update(split.images.data)
        if split.has_labels:
            digest.update(split.labels.data)
    return digest.hexdigest()[:16]
