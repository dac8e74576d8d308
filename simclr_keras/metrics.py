"""Means over the global batch, equal on all replicas."""

import keras
import tensorflow as tf

from simclr_keras import distribution


class GlobalMean(keras.metrics.Metric):
    """The mean of values that are equal on all replicas of `tf.distribute`.

    Keras' metrics keep the sums of each replica apart and add them up when
    they are read. That is another mean where replicas count unequally many
    values, a meeting of all workers for every look at it, and not known to
    work on TPUs (keras-team/keras#20601). Here each replica keeps the same
    sums, so that reading is local and checkpoints do not know how many
    replicas wrote them.
    """

    def __init__(self, name):
        super().__init__(name=name)
        # Assigned variables are tracked; `add_variable` knows sums only.
        self.total, self.count = (
            keras.Variable(
                0.0, trainable=False, aggregation="none", name=variable
            )
            for variable in ("total", "count")
        )

    def update_state(self, value, sample_weight=1.0):
        """Adds the scalar `value`, as the mean of so many ones."""
        weight = tf.cast(sample_weight, tf.float32)
        self.total.assign_add(weight * tf.cast(value, tf.float32))
        self.count.assign_add(weight)

    def result(self):
        return tf.math.divide_no_nan(
            tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
        )


def update(trackers, values, sample_weight=None, *, skip_overflow=False):
    """Adds means over all replicas to `GlobalMean`s.

    Args:
        trackers: dict of `GlobalMean` by name.
        values: dict by name, of scalars, which count once, or of [n] values.
        sample_weight: [n] float32, how much each of the values counts.
        skip_overflow: whether values that are not finite are left out, as
            the loss scaler of float16 skips their step.
    """
    weight = tf.ones([1]) if sample_weight is None else sample_weight
    sums = [tf.reduce_sum(value * weight) for value in values.values()]
    *sums, count = tf.unstack(
        distribution.total(tf.stack([*sums, tf.reduce_sum(weight)]))
    )
    for name, value in zip(values, sums, strict=True):
        value = tf.math.divide_no_nan(value, count)
        weight = 1.0 if sample_weight is None else count
        if skip_overflow:
            finite = tf.math.is_finite(value)
            value = tf.where(finite, value, 0.0)
            weight = tf.where(finite, weight, 0.0)
        trackers[name].update_state(value, sample_weight=weight)
