"""From splits to the `tf.data` pipelines of training and evaluation."""

import contextlib

import tensorflow as tf

from simclr_keras import augment
from simclr_keras import preprocessing
from simclr_keras.data import order

# Keeps the seeds of crops made here apart from those of the train step.
_HOST_CROP = 1
_SHOWN = 5


def steps_per_epoch(split, batch_size):
    """Whole batches in one pass over a split.

    Raises:
        ValueError: if there is not one.
    """
    return order.steps_per_epoch(split.num_examples, batch_size)


def pretraining(
    split,
    batch_size,
    *,
    image_size,
    seed,
    first_step=0,
    num_steps,
    replicas=(1, 0, 1),
    crop="google",
    flip_probability=0.5,
    num_views=2,
):
    """Shuffled batches: exactly `num_steps`, from step `first_step` on.

    The batch of a step depends on (`seed`, step) alone, so a run that is
    continued sees what the uninterrupted run would have seen. In an epoch of
    N // B steps every image comes at most once; the order, and with it which
    N % B images rest, changes with the epoch.

    Args:
        split: `Split`.
        batch_size: B, over all replicas.
        image_size: int, of the views that are cropped here.
        seed: int.
        first_step, num_steps: int >= 0.
        replicas: three ints: how many share the batches, the first of them
            that this dataset is for, and for how many it is. Elements are
            then the B // replicas rows of each in turn; what is read, decoded
            and cropped are these rows alone.
        crop: "google", "torchvision" or "none", as for `augmenter`.
        flip_probability: share of the views made here that are mirrored.
        num_views: int V, how many of each image are made here.

    Returns:
        dataset of images, or of (images, labels [B] int64) if the split has
        labels. Images held in memory come as they are, [B, H, W, 3] uint8, to
        be cropped on the device. Streamed ones have any size and are cropped
        here, on the host: V views [B, V, S, S, 3] float32, unclipped.

    Raises:
        ValueError: if a number is out of range.
    """
    for name, value in (("first_step", first_step), ("num_steps", num_steps)):
        if value < 0:
            raise ValueError(
                f"`{name}` must be at least 0. Received: {name}={value}"
            )
    if batch_size % replicas[0]:
        raise ValueError(
            "`batch_size` must be a multiple of the number of replicas. "
            f"Received: batch_size={batch_size} for {replicas[0]} replicas"
        )
    steps = {"seed": seed, "first_step": first_step, "num_steps": num_steps}
    rows = _Rows(batch_size, *replicas)
    if split.in_memory:
        indices = order.index_batches(split.num_examples, batch_size, **steps)
        dataset = _gathered(split, rows.of_index_batches(indices))
    else:
        geometry = {"crop": crop, "flip_probability": flip_probability}
        dataset = _views(split, rows, image_size, num_views, geometry, **steps)
    return dataset.prefetch(tf.data.AUTOTUNE)


def evaluation(split, batch_size, image_size):
    """All images once, in order, as evaluation and serving see them.

    Args:
        split: `Split`.
        batch_size: B; the last batch may be smaller.
        image_size: int.

    Returns:
        dataset of images [B, S, S, 3] float32 in [0, 1], or of (images,
        labels [B] int64) if the split has labels.
    """
    if split.in_memory:
        indices = tf.data.Dataset.range(split.num_examples).batch(batch_size)
        dataset = _gathered(
            split,
            indices,
            lambda images: preprocessing.preprocess(images, image_size),
        )
    else:
        dataset = _prepared(split, image_size).batch(batch_size)
    return dataset.prefetch(tf.data.AUTOTUNE)


@contextlib.contextmanager
def damaged_files_named(split):
    """Turns TensorFlow's error about an image into one that names the files.

    A file that is damaged in its middle is found when it is read.

    Raises:
        OSError: if files of `split` cannot be decoded.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        damaged = split.damaged() if hasattr(split, "damaged") else []
        if not damaged:
            raise
        more = f" and {len(damaged) - _SHOWN} more" * (len(damaged) > _SHOWN)
        raise OSError(
            f"image files are damaged: {', '.join(damaged[:_SHOWN])}{more}; "
            "put whole copies in their place, or remove them and start a new "
            "run from this one's weights (--init_from)"
        ) from error


class WaitClock:
    """Adds up the time in which a consumer of `timed` waited for elements.

    Attributes:
        seconds: float, waited so far.
    """

    def __init__(self):
        # Counted in the graph: a call of Python for each element would cost
        # several times as much and wait for the interpreter's lock.
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, False, dtype=tf.float64)

    @property
    def seconds(self):
        return float(self._seconds.numpy())

    def reset(self):
        self._seconds.assign(0.0)

    def add(self, seconds):
        """Counts a float64 scalar; returns the op, in a graph."""
        return self._seconds.assign_add(seconds)


def timed(dataset, clock):
    """`dataset`, with the time each element takes to come added to `clock`.

    Must be the last stage: behind a prefetch it would see the prefetching
    thread wait, not the training loop. So with one device it measures what
    the training loop waits for; under a distribution strategy, which
    prefetches by itself, only how long the host takes.

    Args:
        dataset: `tf.data.Dataset` of any elements; should end in a prefetch.
        clock: `WaitClock`.

    Returns:
        `tf.data.Dataset` of the same elements, their number too.
    """

    def measure(start, element):
        # Stateful, so that it runs once for each element and in order.
        added = clock.add(tf.timestamp() - start)
        with tf.control_dependencies([added]):
            return tf.nest.map_structure(tf.identity, element)

    starts = tf.data.Dataset.from_tensors(0).repeat()
    starts = starts.map(lambda _: tf.timestamp())
    dataset = tf.data.Dataset.zip(starts, dataset).map(measure)
    options = tf.data.Options()
    # Would put a prefetch behind the measurement.
    options.experimental_optimization.inject_prefetch = False
    return dataset.with_options(options)


def _gathered(split, indices, prepare=tf.identity):
    """Batches of a split in memory, which all datasets share."""
    images = split.tensor
    with tf.device("CPU:0"):
        labels = tf.constant(split.labels) if split.has_labels else None

    def gather(batch):
        gathered = prepare(tf.gather(images, batch))
        if labels is None:
            return gathered
        return gathered, tf.gather(labels, batch)

    return indices.map(
        gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _prepared(split, image_size):
    """Single images of a streamed split, in order, for evaluation."""
    proportion = preprocessing.crop_proportion(image_size)

    def prepare(key):
        image, label = split.read(key)
        image = preprocessing.center_crop_and_resize(
            image, image_size, proportion
        )
        return (image, label) if split.has_labels else image

    keys = split.keys_in_order().apply(
        tf.data.experimental.assert_cardinality(split.num_examples)
    )
    return keys.map(
        prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


class _Rows:
    """Which rows of each batch are made here, and in which parts."""

    def __init__(self, batch_size, num_replicas, first, count):
        self.batch_size = batch_size
        self.per_replica = batch_size // num_replicas
        self.parts = count
        self.are_all = count == num_replicas
        self.first = first * self.per_replica
        self.end = self.first + count * self.per_replica

    def of_index_batches(self, indices):
        if self.are_all and self.parts == 1:
            return indices
        parts = indices.flat_map(
            lambda batch: tf.data.Dataset.from_tensor_slices(
                tf.reshape(
                    batch[self.first : self.end],
                    [self.parts, self.per_replica],
                )
            )
        )
        return parts.apply(
            tf.data.experimental.assert_cardinality(len(indices) * self.parts)
        )

    def of_positions(self, keys):
        """Those of (position, key) that are made here."""
        if self.are_all:
            return keys

        def is_here(position, key):
            place = position % self.batch_size
            return (place >= self.first) & (place < self.end)

        return keys.filter(is_here)


def _views(
    split,
    rows,
    image_size,
    num_views,
    geometry,
    *,
    seed,
    first_step,
    num_steps,
):
    """Batches of crops of each image, decoded and cropped in parallel."""

    def views(position, key):
        image, label = split.read(key)
        step, place = position // batch_size, position % batch_size
        crops = tf.stack(
            [
                augment.host_crop(
                    image,
                    augment.fold_seed(seed, _HOST_CROP, step, place, view),
                    image_size,
                    **geometry,
                )
                for view in range(num_views)
            ]
        )
        return (crops, label) if split.has_labels else crops

    batch_size = rows.batch_size
    keys = split.keys(batch_size, seed, first_step, num_steps)
    positions = tf.data.Dataset.range(
        first_step * batch_size, (first_step + num_steps) * batch_size
    )
    keys = rows.of_positions(tf.data.Dataset.zip(positions, keys))
    dataset = keys.map(
        views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    dataset = dataset.batch(rows.per_replica, drop_remainder=True)
    return dataset.apply(
        tf.data.experimental.assert_cardinality(num_steps * rows.parts)
    )
