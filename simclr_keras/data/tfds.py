"""Data sets of TensorFlow Datasets (https://www.tensorflow.org/datasets)."""

import difflib
import functools
import hashlib
import os

import numpy as np

from simclr_keras.data import source

_PARTS = ("pretrain", "train", "test")
_TRAIN_PERCENT = round(100 * (1 - source.HOLD_OUT_SHARE))
_NAMES_SHOWN = 8


def from_tfds(
    name,
    *,
    data_dir=None,
    train_split=None,
    eval_split=None,
    download=False,
    whole=False,
):
    """A `Source` of a data set of TensorFlow Datasets.

    Args:
        name: `name`, or `name/config`; either with `:version`.
        data_dir: folder of prepared data sets, or None for the default.
        train_split, eval_split: names of splits, slices like "train[:10%]" or
            sums like "train+unlabelled"; or None. Without a test split that
            has labels, the last fifth of the train split is for testing.
        download: whether to prepare the data set if it is not there.
        whole: bool, as for `open_source`.

    Raises:
        ValueError: if the data set is unknown, not prepared, or not usable.
        RuntimeError: if it cannot be downloaded and prepared.
    """
    builder = _builder(name, data_dir)
    image_key, label_key = _keys(builder)
    if not builder.info.splits:
        if not download:
            raise ValueError(_how_to_prepare(builder, name))
        _download(builder, name)
    _check_prepared(builder, train_split, eval_split)
    labelled = functools.cache(
        functools.partial(_starts_labelled, builder, label_key)
    )

    def opened(names):
        return {
            split: _open_split(builder, split, image_key, label_key, labelled)
            for split in dict.fromkeys(names)
            if split
        }

    if whole:
        names = tuple(builder.info.splits)
        parts = source.whole_fields(opened(names))
    else:
        *names, notes = _chosen(builder, labelled, train_split, eval_split)
        found = opened(names)
        parts = {
            part: found.get(split)
            for part, split in zip(_PARTS, names, strict=True)
        }
        parts["notes"] = notes
    classes = builder.info.features[label_key] if parts["train"] else None
    size = parts["pretrain"].size
    return source.Source(
        name=name,
        origin=f"TensorFlow data set in {builder.data_dir}",
        num_classes=classes and classes.num_classes,
        class_names=classes and tuple(classes.names),
        image_size=size and min(size),
        sizes=source.by(*size) if size else "of any size",
        fingerprint=_fingerprint(builder, tuple(names)),
        **parts,
    )


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    base = name.partition(":")[0].partition("/")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = difflib.get_close_matches(base, known, n=_NAMES_SHOWN)
        nearest = f", nearest: {', '.join(near)}" if near else ""
        raise ValueError(
            "`dataset` must be a file or folder that exists, or a name of "
            f"TensorFlow Datasets{nearest}. Received: dataset={name!r}"
        )
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:
        configs = list(tfds.builder_cls(base).builder_configs)
        raise ValueError(
            "`dataset` must name a config and a version that exist"
            + (f"; configs are {', '.join(configs)}" if configs else "")
            + f". Received: dataset={name!r} ({error})"
        ) from error


def _keys(builder):
    """(name of the image feature, name of the class feature or None)."""
    import tensorflow_datasets as tfds

    features = builder.info.features or {}
    supervised = builder.info.supervised_keys or ()
    images = _of_kind(features, tfds.features.Image, supervised)
    labels = _of_kind(features, tfds.features.ClassLabel, supervised)
    if len(images) != 1:
        kinds = ", ".join(
            f"{key} ({type(feature).__name__})"
            for key, feature in features.items()
        )
        raise ValueError(
            "`dataset` must have one image in each example. Received: "
            f"{builder.info.full_name} with {kinds}"
        )
    image = features[images[0]]
    # Not `dtype`, which imports TensorFlow.
    if image.np_dtype != np.uint8 or image.shape[-1] not in (None, 1, 3, 4):
        raise ValueError(
            "`dataset` must have images of 8 bits with 1, 3 or 4 channels. "
            f"Received: {builder.info.full_name} with {image}"
        )
    return images[0], labels[0] if len(labels) == 1 else None


def _of_kind(features, kind, supervised):
    """The features of a kind; those of the supervised pair come first."""
    found = [key for key in features if type(features[key]) is kind]
    return [key for key in found if key in supervised] or found


def _how_to_prepare(builder, name):
    root = str(builder.data_dir).removesuffix(builder.info.full_name)
    found = []
    if os.path.isdir(root):
        found = [entry for entry in os.listdir(root) if entry[0] != "."]
    contents = ", ".join(sorted(found)[:_NAMES_SHOWN]) or "nothing"
    call = f"tfds.builder('{name}', data_dir='{root}').download_and_prepare"
    lines = [
        f"`dataset` {name} must be prepared in `data_dir`. "
        f"Received: data_dir={root}, where there is {contents}",
        "It is prepared by one of",
        "  download=True (--download)",
        f'  python -c "import tensorflow_datasets as tfds; {call}()"',
        "  the same without a network, its archives lying in FOLDER: "
        f"{call}(download_config="
        "tfds.download.DownloadConfig(manual_dir='FOLDER'))",
    ]
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions:
        lines.append(
            f"Its archives must be fetched by hand: {instructions.strip()}"
        )
    return "\n".join(lines)


def _download(builder, name):
    # tfds raises what its downloaders raise, and AssertionError for archives
    # that have to be fetched by hand.
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise RuntimeError(
            f"{name} could not be downloaded and prepared: {error}. "
            + _how_to_prepare(builder, name)
        ) from error


def _check_prepared(builder, train_split, eval_split):
    import tensorflow_datasets as tfds

    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            "`dataset` must be prepared with file_format=tfrecord. Received: "
            f"{builder.info.full_name} as {builder.info.file_format.value} in "
            f"{builder.data_dir}"
        )
    for argument, value in (
        ("train_split", train_split),
        ("eval_split", eval_split),
    ):
        try:
            empty = value and not builder.info.splits[value].num_examples
        except (KeyError, ValueError):
            empty = True
        if empty:
            raise ValueError(
                f"`{argument}` must be one of "
                f"{', '.join(builder.info.splits)}, or a slice like "
                f'"train[:10%]", with images. Received: {argument}="{value}"'
            )


def _starts_labelled(builder, label_key, split):
    """Whether a split's first image has a label; none is -1 there."""
    if label_key is None:
        return False
    import tensorflow as tf
    import tensorflow_datasets as tfds

    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({label_key: True}),
    )
    try:
        first = next(examples.take(1).as_numpy_iterator())
    except tf.errors.OpError as error:
        raise ValueError(
            f"`dataset` must be readable. Received: {split} of "
            f"{builder.info.full_name} in {builder.data_dir}, {error.message}"
        ) from error
    return first[label_key] >= 0


def _chosen(builder, labelled, train_split, eval_split):
    """(pretrain, train, test, notes): names, and what was decided."""
    names = source.split_names(
        list(builder.info.splits),
        lambda split: all(map(labelled, split.split("+"))),
        train_split,
        eval_split,
    )
    return _with_slices(builder, *names)


def _with_slices(builder, pretrain, train, test):
    """Cuts a test split off the train split if there is none."""
    if train is None or test is not None:
        return pretrain, train, test, ()
    if train not in builder.info.splits:
        return pretrain, train, None, ("no test split; name an `eval_split`",)
    rest = f"{train}[:{_TRAIN_PERCENT}%]"
    test = f"{train}[{_TRAIN_PERCENT}%:]"
    note = f"no test split: {test} is put aside and not trained on"
    return rest if pretrain == train else pretrain, rest, test, (note,)


def _open_split(builder, split, image_key, label_key, labelled):
    from simclr_keras.data import records

    if not any(map(labelled, split.split("+"))):
        label_key = None
    return records.RecordSplit(builder, split, image_key, label_key)


def _fingerprint(builder, names):
    digest = hashlib.sha256(builder.info.full_name.encode())
    for split in builder.info.splits.values():
        digest.update(
            f" {split.name} {split.num_examples} {split.num_bytes}".encode()
        )
    digest.update(str(names).encode())
    return digest.hexdigest()[:16]
