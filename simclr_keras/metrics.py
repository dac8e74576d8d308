"""Means over the global batch, equal on all replicas."""

import keras
import tensorflow as tf


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
