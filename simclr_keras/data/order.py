"""The order of training: a permutation for each epoch, found without state.

The images of step s depend on (seed, s) alone, so that a run continued at
step s sees what the uninterrupted run would have seen.
"""

import tensorflow as tf


def steps_per_epoch(num_examples, batch_size):
    """Whole batches in one pass; the remainder, another one each epoch, rests.

    Batches never straddle epochs, so no image is twice in a batch, where it
    would be its own negative. (In Google's code they do.)

    Raises:
        ValueError: if there is not one whole batch.
    """
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            "`batch_size` must be between 1 and the number of images. "
            f"Received: batch_size={batch_size} for {num_examples} images"
        )
    return num_examples // batch_size


def permutation(num, seed, epoch, *more):
    """[num] int64, 0..num-1 in an order given by the other arguments alone.

    Sorts random keys. `tf.random.experimental.index_shuffle` would need no
    memory, but its four rounds of mixing are too few: with 50,000 indices the
    orders of consecutive epochs are correlated, and neighbours share a batch
    far more, or less, often than by chance.

    Args:
        num: int, or int scalar tensor.
        seed: int.
        epoch, *more: ints, or int scalar tensors.
    """
    key = tf.stack([tf.cast(seed, tf.int32), tf.cast(epoch, tf.int32)])
    for number in more:
        key = tf.random.experimental.stateless_fold_in(
            key, tf.cast(number, tf.int32), alg="philox"
        )
    return tf.random.experimental.stateless_shuffle(
        tf.range(num, dtype=tf.int64), seed=key, alg="philox"
    )


def by_epoch(build, steps_per_epoch, *, first_step, num_steps):
    """Joins what `build` gives for each epoch, from `first_step` on.

    Args:
        build: (epoch, start) -> dataset of the epoch's batches (or of the
            elements of one) from its batch number `start` on; int64 scalars.
        steps_per_epoch: int.
        first_step, num_steps: int >= 0.

    Returns:
        dataset that is not limited to `num_steps`.
    """
    first_epoch, start = divmod(first_step, steps_per_epoch)
    end = -(-(first_step + num_steps) // steps_per_epoch)
    return tf.data.Dataset.range(first_epoch, max(end, first_epoch)).flat_map(
        lambda epoch: build(
            epoch, tf.where(epoch == first_epoch, tf.cast(start, tf.int64), 0)
        )
    )


def index_batches(num, batch_size, *, seed, first_step, num_steps):
    """Dataset of `num_steps` batches of indices: [batch_size] int64."""
    steps = steps_per_epoch(num, batch_size)

    def build(epoch, start):
        indices = permutation(num, seed, epoch)[: steps * batch_size]
        batches = tf.reshape(indices, [steps, batch_size])
        return tf.data.Dataset.from_tensor_slices(batches[start:])

    batches = by_epoch(
        build, steps, first_step=first_step, num_steps=num_steps
    ).take(num_steps)
    return batches.apply(tf.data.experimental.assert_cardinality(num_steps))
