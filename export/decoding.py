"""A batch of image files as model input; one bad file spoils only its row."""

import tensorflow as tf

from simclr_keras import preprocessing

# 201 MB of RGB pixels; the largest that phones and cameras make as JPEG are
# around 50 million. A small file may declare far more than it holds.
MAX_PIXELS = 2**26


def decode_batch(image_bytes, image_size):
    """Image files, decoded and preprocessed as evaluation does it.

    Files are decoded in parallel by a `tf.data` pipeline inside the graph,
    because that is what can drop an element whose decoding fails: ordinary
    operations that fail take the whole batch with them.

    Args:
        image_bytes: [B] string, each the content of an image file.
        image_size: int, or (height, width).

    Returns:
        images: [B, S, S, 3] float32 in [0, 1], zeros where not valid.
        valid: [B] bool, False for what `preprocessing.decode` cannot read
            and for images that declare more than `MAX_PIXELS`.
    """
    crop = preprocessing.crop_proportion(image_size)

    def decoded(row, content):
        image = preprocessing.decode(content, max_pixels=MAX_PIXELS)
        return row, preprocessing.center_crop_and_resize(
            image, image_size, crop
        )

    size = tf.size(image_bytes)
    rows = tf.data.Dataset.from_tensor_slices((tf.range(size), image_bytes))
    rows = rows.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    rows = rows.ignore_errors()
    # The last row stands for all that failed, and for an empty batch.
    blank = tf.zeros(rows.element_spec[1].shape)
    rows = rows.concatenate(tf.data.Dataset.from_tensors((size, blank)))
    rows = rows.batch(tf.cast(size, tf.int64) + 1).with_options(_options())
    numbers, images = rows.get_single_element()

    def with_blanks():
        found = tf.range(tf.size(numbers) - 1)
        source = tf.tensor_scatter_nd_update(
            tf.fill([size], tf.size(found)), numbers[:-1, None], found
        )
        return tf.gather(images, source), source < tf.size(found)

    return tf.cond(
        tf.size(numbers) > size,
        lambda: (images[:-1], tf.ones([size], tf.bool)),
        with_blanks,
    )


def _options():
    """Without what pays off only over many batches: 1 ms of every call."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options
