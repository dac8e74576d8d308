"""One set of images: in memory, or streamed from files.

TensorFlow is imported only when images are read, so that a wrong `dataset`
is refused quickly.
"""

import copy
import functools
import os

import numpy as np

from simclr_keras.data import contents

# Images of one size are held in memory as uint8 up to this many bytes
# (STL-10's 100,000 unlabelled images take 2.6 GiB); more are streamed.
MEMORY_LIMIT = 4 * 2**30

# The label of an image without one, in a split where others have one.
UNLABELLED = -1

_LOAD_BATCH = 256
_NAMES_SHOWN = 5


class Split:
    """A set of images; the base class of what a `Source` holds.

    Attributes:
        num_examples: N.
        has_labels: whether there are labels, at least for some images.
        in_memory: whether `images` and `tensor` may be asked for.
        images: [N, H, W, 3] uint8 if `in_memory`; read at first use and kept.
        tensor: the same as one tensor on the host.
        labels: [N] int64, -1 for an image without a label. None where there
            are none, or where they are known only while streaming.
        contents: [N] int64, the same for identical images; None if that is
            not known.
    """

    contents = None

    def __init__(self, num_examples, has_labels, in_memory):
        self.num_examples = num_examples
        self.has_labels = has_labels
        self.in_memory = in_memory
        self._images = None
        self._labels = None

    @property
    def known_labels(self):
        """`labels` if they are known without reading images, else None."""
        return self._labels

    @property
    def labels(self):
        return self._labels

    @property
    def images(self):
        if self._images is None:
            self._load()
        return self._images

    @functools.cached_property
    def tensor(self):
        import tensorflow as tf

        with tf.device("CPU:0"):
            tensor = tf.constant(self.images)
        # TensorFlow copied; the view lets go of the first copy.
        self._images = np.asarray(memoryview(tensor))
        return tensor

    def subset(self, indices):
        """Some of the examples, as a split of their own."""
        labels = None if self.labels is None else self.labels[indices]
        return ArraySplit(self.images[indices], labels)

    def with_labels(self, labels):
        """The same images with other labels.

        Args:
            labels: [N] int64, -1 for an image without one; or None.
        """
        if self.in_memory and self._images is None:
            # Later it would read labels too.
            self._load()
        other = copy.copy(self)
        other.has_labels, other._labels = labels is not None, labels
        vars(other).pop("_tensors", None)
        return other

    def _load(self):
        raise NotImplementedError


class ArraySplit(Split):
    """Images held in memory.

    Args:
        images: [N, H, W, 3] uint8.
        labels: [N] int64, or None.
    """

    def __init__(self, images, labels=None):
        super().__init__(len(images), labels is not None, in_memory=True)
        self._images = images
        self._labels = labels

    @functools.cached_property
    def contents(self):
        return contents.of_images(self.images)


class StreamedSplit(Split):
    """Images that are read when needed, in parallel.

    Subclasses give datasets of keys, and say how to read the image and the
    label that belong to a key.

    Args:
        num_examples: N.
        has_labels: bool.
        size: (height, width) if all images have the same, else None. Then,
            if they fit, they are read once and kept.
    """

    def __init__(self, num_examples, has_labels, size):
        fits = (
            size is not None
            and num_examples * size[0] * size[1] * 3 <= MEMORY_LIMIT
        )
        super().__init__(num_examples, has_labels, in_memory=fits)
        self.size = size

    def keys(self, batch_size, seed, first_step, num_steps):
        """`num_steps * batch_size` keys in the order of training."""
        raise NotImplementedError

    def keys_in_order(self):
        """All N keys, once, in the order in which they are stored."""
        raise NotImplementedError

    def encoded(self, key):
        """(an image file's content, int64 label or -1) that belong to a key."""
        raise NotImplementedError

    def read(self, key):
        """([h, w, 3] uint8, int64 label or -1) that belong to a key."""
        from simclr_keras import preprocessing

        content, label = self.encoded(key)
        return preprocessing.decode(content), label

    def _load(self):
        images = np.empty((self.num_examples, *self.size, 3), np.uint8)
        labels = np.empty(self.num_examples, np.int64)
        start = 0
        examples = self.keys_in_order().map(
            self.read, num_parallel_calls=-1, deterministic=True
        )
        for batch in examples.batch(_LOAD_BATCH).as_numpy_iterator():
            stop = start + len(batch[0])
            images[start:stop], labels[start:stop] = batch
            start = stop
        if start != self.num_examples:
            raise ValueError(
                "the images on disk are not those that were counted. "
                f"Received: {start} images instead of {self.num_examples}"
            )
        self._images = images
        self._labels = labels if self.has_labels else None


class FileSplit(StreamedSplit):
    """Image files; those that fit in memory are decoded once.

    Args:
        paths: `paths.Paths` of N files.
        labels: [N] int64, or None.
        sizes: [N, 2] int, height and width of each image.
        contents: [N] int64, the same for identical files; or None.
    """

    def __init__(self, paths, labels, sizes, contents=None):
        same = len(paths) > 0 and (sizes == sizes[0]).all()
        size = tuple(int(side) for side in sizes[0]) if same else None
        super().__init__(len(paths), labels is not None, size)
        self.paths = paths
        self.sizes = sizes
        self.contents = contents
        self._labels = labels

    def subset(self, indices):
        return FileSplit(
            self.paths.take(indices),
            None if self.labels is None else self.labels[indices],
            self.sizes[indices],
            None if self.contents is None else self.contents[indices],
        )

    def keys(self, batch_size, seed, first_step, num_steps):
        from simclr_keras.data import order

        return order.index_batches(
            self.num_examples,
            batch_size,
            seed=seed,
            first_step=first_step,
            num_steps=num_steps,
        ).unbatch()

    def keys_in_order(self):
        import tensorflow as tf

        return tf.data.Dataset.range(self.num_examples)

    def encoded(self, key):
        import tensorflow as tf

        with tf.init_scope():
            labels, root, names, starts, lengths = self._tensors
        name = tf.strings.substr(names, starts[key], lengths[key])
        content = tf.io.read_file(tf.strings.join([root, name]))
        return content, labels[key]

    def read(self, key):
        import tensorflow as tf

        with tf.init_scope():
            labels, decoded = self._tensors[0], self._decoded
        if decoded is None:
            return super().read(key)
        image = _remembered(
            decoded, key, lambda: super(FileSplit, self).read(key)[0]
        )
        return image, labels[key]

    def damaged(self):
        """Paths of the files that cannot be decoded: list of str.

        Decodes all of them. For saying what is wrong when a pipeline failed,
        whose errors do not name the file.
        """
        import tensorflow as tf

        def decoded(key):
            image, _ = self.read(key)
            return key, tf.size(image)

        keys = self.keys_in_order().map(decoded, num_parallel_calls=-1)
        keys = keys.ignore_errors().map(lambda key, _: key)
        sound = set(keys.as_numpy_iterator())
        indices = (i for i in range(self.num_examples) if i not in sound)
        return [self.paths[index] for index in indices]

    @functools.cached_property
    def _decoded(self):
        """A table of images that were decoded before, if all would fit.

        Small images take longer to decode than to crop.
        """
        num_bytes = 3 * int(self.sizes.prod(axis=1, dtype=np.int64).sum())
        if self.in_memory or num_bytes > MEMORY_LIMIT:
            return None
        import tensorflow as tf

        with tf.device("CPU:0"):
            return tf.lookup.experimental.MutableHashTable(
                tf.int64, tf.string, ""
            )

    @functools.cached_property
    def _tensors(self):
        import tensorflow as tf

        labels = self.labels
        if labels is None:
            labels = np.full(self.num_examples, UNLABELLED, np.int64)
        root = os.fsencode(self.paths.root)
        if root:
            root = os.path.join(root, b"")
        with tf.device("CPU:0"):
            # Bytes: a file name need not be valid UTF-8.
            return (
                tf.constant(labels),
                tf.constant(root),
                tf.constant(self.paths.blob),
                tf.constant(self.paths.starts),
                tf.constant(self.paths.lengths, tf.int64),
            )

    def _load(self):
        import tensorflow as tf

        try:
            super()._load()
        except tf.errors.InvalidArgumentError as error:
            raise OSError(
                "an image file cannot be decoded. "
                f"Received: {', '.join(self.damaged()[:_NAMES_SHOWN])}"
            ) from error


def _remembered(table, key, decode):
    """What `decode` gives, from the table if it was there before."""
    import tensorflow as tf

    def first_time():
        image = decode()
        table.insert(key, tf.io.serialize_tensor(image))
        return image

    found = table.lookup(key)
    image = tf.cond(
        tf.strings.length(found) == 0,
        first_time,
        lambda: tf.io.parse_tensor(found, tf.uint8),
    )
    return tf.ensure_shape(image, [None, None, 3])
