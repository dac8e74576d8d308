"""What a run keeps for its report: pictures, and embeddings of some images.

Small files in the run's directory, so that the report can be written later,
elsewhere, and without TensorFlow.
"""

import pathlib

import numpy as np
import tensorflow as tf

from simclr_keras import run_files
from simclr_keras.data import sampling
from simclr_keras.evaluation import features
from simclr_keras.evaluation import sphere
from simclr_keras.report import measures

SAMPLES = "samples.npz"
EMBEDDINGS = "embeddings.npz"

_NUM_SAMPLES = 24
_NUM_PAIRS = 12
# As many predictions fill the confusion matrix of a usual test set, and take
# seconds where the run took hours.
_MOST_PREDICTED = 10_000
# t-SNE of so many takes seconds, and more dots would hide each other.
_MOST_MAPPED = 1000
_NUM_MAP_PICTURES = 64
_PICTURE_SIDE = 64


def samples(model_dir, model, source, batch, step):
    """Keeps sample images and augmented pairs in `samples.npz`.

    The pairs go to TensorBoard as well. Does nothing if the file is there.

    Args:
        model_dir: path of the run's directory.
        model: `SimCLR`.
        source: `data.Source`.
        batch: the first batch of images, as `fit` takes it.
        step: int, of that batch.
    """
    path = pathlib.Path(model_dir) / SAMPLES
    if path.exists():
        return
    batch = batch[:_NUM_PAIRS]
    views = np.asarray(model.views(batch, step))
    pairs = np.stack(np.split(views, 2), axis=1)
    dataset = sampling.some(
        source.pretrain, _NUM_SAMPLES, _NUM_SAMPLES, views.shape[1]
    )
    first = next(iter(dataset))
    images, labels = first if source.pretrain.has_labels else (first, None)
    run_files.write_npz(
        path,
        images=pictures(images),
        labels=labels,
        # Those of a batch that was cropped beforehand are not known.
        originals=pictures(batch) if len(batch.shape) == 4 else None,
        pairs=np.stack([pictures(pair) for pair in pairs]),
        class_names=source.class_names,
    )
    board = tf.summary.create_file_writer(
        str(pathlib.Path(model_dir) / "tensorboard")
    )
    with board.as_default(step):
        tf.summary.image(
            "augmented_pairs", np.concatenate(list(pairs.swapaxes(0, 1)), 2)
        )
    board.close()


def embeddings(model_dir, model, source, probe, *, batch_size, image_size):
    """Keeps embeddings of some images in `embeddings.npz`, and their picture.

    The images are test images, or, where there are none, pretraining images:
    n <= 1,000, spread evenly over the split. The file has `embeddings` [n, F]
    float16; `labels` [n] int64 if they are known; `map` [n, 2], `queries`,
    `neighbours`, `similarities` as from `measures`; the scalars of
    `sphere.run`; `shown` [m], which of the n have their picture in
    `pictures` [m, h, w, 3] uint8. With a probe `confusion` [K, K] int64, of
    at most 10,000 images.

    Args:
        model_dir: path of the run's directory.
        model: `SimCLR` on one device; left as it is.
        source: `data.Source`.
        probe: classifier of embeddings with a method `logits`, or None.
        batch_size, image_size: ints, of the images to embed.
    """
    split = source.pretrain if source.test is None else source.test
    predicts = probe is not None and source.test is not None
    limit = _MOST_PREDICTED if predicts else _MOST_MAPPED
    dataset = sampling.some(split, limit, batch_size, image_size)
    x, labels = features.extract(model.encoder, dataset)
    arrays = {}
    if predicts:
        arrays["confusion"] = measures.confusion(
            labels, np.argmax(probe.logits(x), axis=1), source.num_classes
        )
    places = sampling.spread(len(x), _MOST_MAPPED)
    images = _rows(dataset, places)
    x = x[places]
    labels = None if labels is None else labels[places]
    arrays |= measures.neighbours(x, labels)
    shown = np.unique(
        np.concatenate(
            [
                arrays["queries"],
                arrays["neighbours"].ravel(),
                sampling.spread(len(x), _NUM_MAP_PICTURES),
            ]
        )
    )
    run_files.write_npz(
        pathlib.Path(model_dir) / EMBEDDINGS,
        of="pretraining" if source.test is None else "test",
        embeddings=x.astype(np.float16),
        labels=labels,
        map=measures.map_of(x),
        shown=shown,
        pictures=pictures(images[shown]),
        class_names=source.class_names,
        **arrays,
        **sphere.run(model, images),
    )


def pictures(images):
    """`images` [n, H, W, 3], uint8 or float in [0, 1], as uint8 of at most
    64 px."""
    images = tf.image.convert_image_dtype(images, tf.float32)
    if max(images.shape[1:3]) > _PICTURE_SIDE:
        images = tf.image.resize(
            images,
            [_PICTURE_SIDE, _PICTURE_SIDE],
            preserve_aspect_ratio=True,
            antialias=True,
        )
    return _as_bytes(images)


def _rows(dataset, places):
    """The images of a dataset of batches that have these places: uint8."""
    rows, start = [], 0
    for element in dataset:
        images = element[0] if isinstance(element, tuple) else element
        here = places[(places >= start) & (places < start + len(images))]
        rows.append(_as_bytes(images.numpy()[here - start]))
        start += len(images)
    return np.concatenate(rows)


def _as_bytes(images):
    return np.uint8(np.rint(np.clip(images, 0.0, 1.0) * 255.0))
