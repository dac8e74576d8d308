"""Batch normalisation that costs one fused op instead of a dozen."""

import contextlib
import contextvars

import keras
import tensorflow as tf

from simclr_keras import distribution

# One value per thread: each replica of `tf.distribute` is traced in its own.
_HELD = contextvars.ContextVar("moving_statistics_held", default=False)


@contextlib.contextmanager
def hold_moving_statistics():
    """Within it, training mode leaves moving means and variances alone.

    For a second forward pass over a batch that was already counted: batch
    statistics and gradients are those of training mode. It acts while a
    `tf.function` is traced.
    """
    token = _HELD.set(True)
    try:
        yield
    finally:
        _HELD.reset(token)


@keras.saving.register_keras_serializable("simclr_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis, made fast.

    Keras normalises by elementary ops in float32, which is up to 40 % of a
    ResNet's training step on a CPU. This layer has the same weights,
    configuration, values and gradients, but runs TensorFlow's fused op, which
    reads bfloat16 and float16 as they are and keeps statistics in float32.
    Where statistics span several replicas there is no fused op, and Keras'
    moments across replicas are used.

    The moving variance follows the biased variance of the batch, as in Keras
    and as in Google's code. Defaults are those of SimCLR's encoders.

    Args:
        momentum: float in [0, 1], weight of the old moving statistics.
        epsilon: float > 0, added to the variance.
        synchronized: whether batch statistics span all replicas of
            `tf.distribute` (Google's --global_bn) or each replica's own rows.
        **kwargs: as for `keras.layers.BatchNormalization`, except that
            `axis` must be the last one and `renorm` is not offered.

    Raises:
        ValueError: for another `axis`, for `renorm`, or for a mask.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, synchronized=True, **kwargs):
        super().__init__(
            momentum=momentum,
            epsilon=epsilon,
            synchronized=synchronized,
            **kwargs,
        )
        if self.axis != -1 or self.renorm:
            raise ValueError(
                "`axis` must be -1 and `renorm` must be False. "
                f"Received: axis={self.axis}, renorm={self.renorm}"
            )

    def call(self, inputs, training=None, mask=None):
        if mask is not None:
            raise ValueError(
                "`mask` must be None: every row counts in the statistics. "
                f"Received: mask={mask}"
            )
        if not (training and self.trainable):
            statistics = self.moving_mean, self.moving_variance
            return self._fused(inputs, *statistics)[0]
        if self.synchronized and distribution.num_replicas() > 1:
            outputs, mean, variance = self._across_replicas(inputs)
        else:
            outputs, mean, variance = self._fused(inputs)
        if not _HELD.get():
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        return outputs

    def _fused(self, inputs, *statistics):
        """Normalises by `statistics`, or by the batch's own without them.

        Returns the outputs and the statistics used, the variance biased.
        """
        x = inputs
        if inputs.shape.rank != 4:
            x = tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]])
        gamma, beta = self._gamma_and_beta()
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=statistics[0] if statistics else [],
            variance=statistics[1] if statistics else [],
            epsilon=self.epsilon,
            is_training=not statistics,
        )
        if inputs.shape.rank != 4:
            y = tf.reshape(y, tf.shape(inputs))
            y.set_shape(inputs.shape)
        if not statistics:
            variance *= _bessel(x)
        return y, mean, variance

    def _across_replicas(self, inputs):
        x = tf.cast(inputs, tf.float32)
        axes = list(range(inputs.shape.rank - 1))
        mean, variance = keras.ops.moments(x, axes, synchronized=True)
        gamma, beta = self._gamma_and_beta()
        y = tf.nn.batch_normalization(
            x, mean, variance, beta, gamma, self.epsilon
        )
        return tf.cast(y, inputs.dtype), mean, variance

    def _gamma_and_beta(self):
        shape = self.moving_mean.shape
        gamma = tf.ones(shape) if self.gamma is None else self.gamma
        beta = tf.zeros(shape) if self.beta is None else self.beta
        return tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)

    def _move(self, average, value):
        if self.compute_dtype == "float16":
            # A step that overflows is skipped; so are its statistics.
            finite = tf.reduce_all(tf.math.is_finite(value))
            value = tf.where(finite, value, tf.convert_to_tensor(average))
        average.assign(average * self.momentum + value * (1.0 - self.momentum))


def _bessel(x):
    """(n - 1) / n for n values per channel: the fused op divides by n - 1."""
    rows = x.shape[:3]
    if rows.is_fully_defined():
        n = float(rows.num_elements())
    else:
        n = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
    return (n - 1.0) / n


def plain_batch_norm(model, **overrides):
    """A copy of `model` that needs nothing but Keras.

    Every `BatchNormalization` of this package, also inside nested models,
    becomes a `keras.layers.BatchNormalization` of the same name; all weights
    are copied. The copies are not synchronised across replicas, because only
    Keras' TensorFlow backend could load them if they were.

    Args:
        model: functional or sequential `keras.Model`.
        **overrides: entries to replace in the configuration of every layer
            that has them, such as `dtype="float32"` or `trainable=True`.

    Raises:
        ValueError: if `model` is neither functional nor sequential.
    """

    def plain(config):
        return keras.layers.BatchNormalization.from_config(
            config | {"synchronized": False}
        )

    return _with_norms(model, BatchNormalization, plain, overrides)


def fused_batch_norm(model, **overrides):
    """The inverse of `plain_batch_norm`: a copy of `model` that trains fast.

    Every `keras.layers.BatchNormalization` over the last axis becomes a
    synchronised `BatchNormalization` of this package.

    Args:
        model: functional or sequential `keras.Model`.
        **overrides: as for `plain_batch_norm`.

    Raises:
        ValueError: if `model` is neither functional nor sequential.
    """

    def fused(config):
        return BatchNormalization.from_config(config | {"synchronized": True})

    return _with_norms(model, keras.layers.BatchNormalization, fused, overrides)


def _with_norms(model, old_class, new_layer, overrides):
    if getattr(model, "inputs", None) is None:
        raise ValueError(
            "`model` must be a functional or sequential keras.Model with "
            f"known inputs. Received: model={model!r}"
        )

    def clone(layer):
        config = layer.get_config()
        config |= {k: v for k, v in overrides.items() if k in config}
        if type(layer) is old_class and layer.axis == -1:
            return new_layer(config)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    for target, source in zip(copy.weights, model.weights, strict=True):
        target.assign(source)
    return copy
