"""The gradient of a large batch's loss in the memory of a small one."""

import tensorflow as tf

from simclr_keras import distribution
from simclr_keras import normalization


def gradients(views, encode, output, loss, variables, num_parts):
    """Gradient of a loss that needs the embeddings of a whole batch at once.

    Gradient caching (Gao et al. 2021, arXiv:2101.06983, section 3): embed
    part by part without a tape; take the loss and its gradient with respect
    to all embeddings; embed each part again, now with a tape, and send its
    share of that gradient through it. By the chain rule the sum is the
    gradient of the loss of the whole batch, whereas accumulating the losses
    of the parts would contrast each part with itself only.

    Whatever `encode` computes from several rows, such as the statistics of
    batch norm, it computes from those of a part, the same in both passes.
    Moving statistics of this package's batch norm follow the second pass.

    Args:
        views: function from the number of a part, int32 scalar, to [2m, ...]:
            first views of m images, then their second views; the same each
            time.
        encode: function from these to embeddings [2m, F].
        output: `tf.TensorSpec` of what `encode` returns.
        loss: function from all embeddings [2B, F], first views before second
            views, to a scalar.
        variables: list of `tf.Variable` that `encode` and `loss` read.
        num_parts: int, B / m.

    Returns:
        List of gradients, one for each of `variables`.
    """

    def embed(part, array):
        return [array.write(part, encode(views(part)))]

    with normalization.hold_moving_statistics():
        array = tf.TensorArray(
            output.dtype, num_parts, element_shape=output.shape
        )
        (array,) = distribution.repeat(embed, num_parts, [array])
    h = _whole(array.stack())
    with tf.GradientTape() as tape:
        tape.watch(h)
        value = loss(h)
    own, upstream = tape.gradient(
        value, (variables, h), unconnected_gradients=_ZERO
    )
    upstream = _parts(upstream, num_parts)

    def add(part, *total):
        with tf.GradientTape() as tape:
            h = encode(views(part))
        found = tape.gradient(
            h,
            variables,
            output_gradients=upstream[part],
            unconnected_gradients=_ZERO,
        )
        return [a + b for a, b in zip(total, found, strict=True)]

    return distribution.repeat(add, num_parts, own)


_ZERO = tf.UnconnectedGradients.ZERO


def _parts(h, num_parts):
    """[2B, F] -> [B / m, 2m, F]: the rows of each part."""
    width = h.shape[-1]
    h = tf.reshape(h, [2, num_parts, -1, width])
    return tf.reshape(tf.transpose(h, [1, 0, 2, 3]), [num_parts, -1, width])


def _whole(parts):
    """[B / m, 2m, F] -> [2B, F], first views before second views."""
    num_parts, _, width = parts.shape
    parts = tf.reshape(parts, [num_parts, 2, -1, width])
    return tf.reshape(tf.transpose(parts, [1, 0, 2, 3]), [-1, width])
