"""One split of a prepared data set of TensorFlow Datasets."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from simclr_keras.data import order
from simclr_keras.data import splits

# Encoded images that are shuffled at a time when a data set is streamed; at
# ImageNet's 110 kB each about 230 MB, twice because the next are read ahead.
_SHUFFLE_WINDOW = 2048
_FILES_AT_ONCE = 16


class RecordSplit(splits.StreamedSplit):
    """A split of a prepared data set. Its keys are serialised examples.

    Streaming shuffles in two steps that depend on (seed, epoch) alone: the
    files, of which some are read in turns, and windows of what they hold.

    Args:
        builder: `tfds.core.DatasetBuilder`, prepared.
        name: of the split, also a slice like "train[:10%]".
        image_key: name of the feature that is an image.
        label_key: name of the feature that is a class, or None if the images
            of this split have none.
    """

    def __init__(self, builder, name, image_key, label_key):
        shape = builder.info.features[image_key].shape
        size = shape[:2] if None not in shape[:2] else None
        self._split = builder.info.splits[name]
        super().__init__(self._split.num_examples, label_key is not None, size)
        self._builder = builder
        self._name = name
        self._image_key = image_key
        self._label_key = label_key

    @property
    def labels(self):
        if self._labels is None and self.has_labels and self.in_memory:
            self._load()
        return self._labels

    def keys(self, batch_size, seed, first_step, num_steps):
        steps = order.steps_per_epoch(self.num_examples, batch_size)

        def build(epoch, start):
            examples = self._shuffled(seed, epoch)
            return examples.take(steps * batch_size).skip(start * batch_size)

        return order.by_epoch(
            build, steps, first_step=first_step, num_steps=num_steps
        ).take(num_steps * batch_size)

    def keys_in_order(self):
        num_parts, records = self._parts()
        return tf.data.Dataset.range(num_parts).flat_map(records)

    def numbered_keys(self):
        """(number, key) of all images, in order.

        A file that is damaged in its middle gives an error and ends; those
        behind it have the right numbers.

        Raises:
            OSError: if a file cannot be opened.
        """
        parts = self._split.file_instructions
        for part in parts:
            # TensorFlow would try again without end.
            open(part.filename, "rb").close()
        num_parts, records = self._parts()
        counts = [part.examples_in_shard for part in parts]
        starts = tf.constant(np.cumsum([0, *counts]), tf.int64)
        return tf.data.Dataset.range(num_parts).flat_map(
            lambda part: records(part).enumerate(starts[part])
        )

    def encoded(self, key):
        example = self._builder.info.features.deserialize_example(
            key, decoders={self._image_key: tfds.decode.SkipDecoding()}
        )
        label = tf.constant(splits.UNLABELLED, tf.int64)
        if self.has_labels:
            label = tf.cast(example[self._label_key], tf.int64)
        return example[self._image_key], label

    def _parts(self):
        """How many parts of files there are, and how to open one."""
        parts = self._split.file_instructions
        names = tf.constant([str(part.filename) for part in parts])
        skips = tf.constant([part.skip for part in parts], tf.int64)
        takes = tf.constant([part.take for part in parts], tf.int64)

        def records(part):
            file = tf.data.TFRecordDataset(names[part])
            return file.skip(skips[part]).take(takes[part])

        return len(parts), records

    def _shuffled(self, seed, epoch):
        """Keys in the order of an epoch."""

        def shuffled(number, window):
            length = tf.size(window)
            return tf.gather(
                window, order.permutation(length, seed, epoch, number)
            )

        num_parts, records = self._parts()
        parts = order.permutation(num_parts, seed, epoch)
        examples = tf.data.Dataset.from_tensor_slices(parts).interleave(
            records,
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # Not Dataset.shuffle: its order also hangs on TensorFlow's global
        # seed, and with that at 0 it takes no seed made from the epoch.
        windows = examples.batch(_SHUFFLE_WINDOW).enumerate().map(shuffled)
        return windows.prefetch(1).unbatch()
