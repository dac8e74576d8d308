"""The gradient of a large batch's loss in the memory of a small one."""

import tensorflow as tf

from simclr_keras import distribution
from simclr_keras import normalization


def gradients(inputs, forward, signature, loss, variables, num_parts):
    """Gradient of a loss that needs all rows of a batch at once.

    Gradient caching (Gao et al. 2021, arXiv:2101.06983, section 3): encode
    part by part without a tape; take the loss and its gradient with respect
    to the outputs of all rows; encode each part again, now with a tape, and
    send its share of that gradient through it. By the chain rule the sum is
    the gradient of the loss of the whole batch, whereas accumulating the
    losses of the parts would contrast each part with itself only.

    Whatever `forward` computes from several rows, such as the statistics of
    batch norm, it computes from those of a part, the same in both passes.
    Moving statistics of this package's batch norm follow the second pass.

    Args:
        inputs: function from the number of a part, int32 scalar, to its
            inputs; must give the same each time.
        forward: function from the inputs of a part to a list of outputs,
            each [2m, ...]: first views of m images, then their second views.
        signature: list of `tf.TensorSpec`, one for each of these outputs.
        loss: function from the outputs of all parts, each [2B, ...], to a
            scalar.
        variables: list of variables that `forward` and `loss` read.
        num_parts: int, B / m.

    Returns:
        List of gradients, one for each of `variables`.
    """
    with normalization.hold_moving_statistics():
        outputs = _outputs(inputs, forward, signature, num_parts)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = loss(outputs)
    own, upstream = tape.gradient(value, (variables, outputs))
    total = [
        tf.zeros_like(v) if g is None else tf.convert_to_tensor(g)
        for g, v in zip(own, variables, strict=True)
    ]
    needed = [n for n, g in enumerate(upstream) if g is not None]
    parts = [_parts(upstream[n], num_parts) for n in needed]

    def add(part, *total):
        with tf.GradientTape() as tape:
            outputs = forward(inputs(part))
            outputs = [outputs[n] for n in needed]
        found = tape.gradient(
            outputs,
            variables,
            output_gradients=[gradient[part] for gradient in parts],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [a + b for a, b in zip(total, found, strict=True)]

    return distribution.repeat(add, num_parts, total)


def _outputs(inputs, forward, signature, num_parts):
    """`forward` of all parts, each output [2B, ...]."""

    def write(part, *arrays):
        outputs = forward(inputs(part))
        return [a.write(part, x) for a, x in zip(arrays, outputs, strict=True)]

    arrays = [
        tf.TensorArray(spec.dtype, num_parts, element_shape=spec.shape)
        for spec in signature
    ]
    arrays = distribution.repeat(write, num_parts, arrays)
    return [_whole(array.stack()) for array in arrays]


def _parts(x, num_parts):
    """[2B, ...] -> [B / m, 2m, ...]: the rows of each part."""
    shape = x.shape[1:]
    x = tf.reshape(x, [2, num_parts, -1, *shape])
    return tf.reshape(_swap(x), [num_parts, -1, *shape])


def _whole(parts):
    """[B / m, 2m, ...] -> [2B, ...], first views before second views."""
    num_parts, _, *shape = parts.shape
    parts = tf.reshape(parts, [num_parts, 2, -1, *shape])
    return tf.reshape(_swap(parts), [-1, *shape])


def _swap(x):
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
