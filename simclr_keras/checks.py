"""What `SimCLR` takes, and what it answers to anything else."""

import keras
import tensorflow as tf

from simclr_keras import distribution

# What `compile` of other models takes and this one brings along.
_BROUGHT = ("loss", "loss_weights", "metrics", "weighted_metrics")

# Bicubic crops made beforehand overshoot [0, 1] a little; images in 0..255
# are far above.
_LARGEST_FLOAT = 2.0


def models(encoder, projection_head, num_classes, temperature):
    """Refuses what does not fit together, or is out of range."""
    shape = _flat_output(encoder)
    if projection_head.input_shape[-1] != shape[-1]:
        raise ValueError(
            "`projection_head` must take as many features as `encoder` gives. "
            f"Received: {projection_head.input_shape[-1]} and {shape[-1]}"
        )
    if num_classes is not None and num_classes < 2:
        raise ValueError(
            "`num_classes` must be at least 2, or None for no probe. "
            f"Received: num_classes={num_classes}"
        )
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be greater than 0. "
            f"Received: temperature={temperature}"
        )


def _flat_output(encoder):
    outputs = getattr(encoder, "outputs", None) or ()
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        found = ", ".join(str(output.shape) for output in outputs)
        raise ValueError(
            "`encoder` must be a built functional or sequential model with "
            "one flat output [B, F]; keras.applications give it with "
            'include_top=False, pooling="avg". '
            f"Received: {getattr(encoder, 'name', encoder)} with output "
            f"{found or '(not known before it is called)'}"
        )
    return outputs[0].shape


def micro_batch(micro_batch_size, encoder):
    """Refuses sizes below 1, and encoders that are not the same twice."""
    if micro_batch_size is None:
        return
    if micro_batch_size < 1:
        raise ValueError(
            "`micro_batch_size` must be at least 1, or None. "
            f"Received: micro_batch_size={micro_batch_size}"
        )
    # pylint: disable=protected-access
    for layer in encoder._flatten_layers():
        if isinstance(
            getattr(layer, "seed_generator", None), keras.random.SeedGenerator
        ):
            raise ValueError(
                "`micro_batch_size` encodes twice, so that no layer may draw "
                f"random numbers. Received: layer {layer.name}, a "
                f"{type(layer).__name__}"
            )


def compiled_with(arguments):
    """Refuses losses and metrics, which would have no effect."""
    for name in _BROUGHT:
        if arguments.get(name) is not None:
            raise ValueError(
                f"`{name}` must be None: SimCLR has its loss and its metrics. "
                f"Received: {name}={arguments[name]}"
            )


def images(batch):
    """Refuses what is no batch of images, when a step is traced."""
    shape = getattr(batch, "shape", None)
    if shape is None or shape.rank not in (4, 5):
        received = shape
        if shape is None:
            received = f"a {type(batch).__name__}"
            if isinstance(batch, dict):
                received += f" of {', '.join(sorted(batch))}"
        raise ValueError(
            "`fit` takes batches of images [B, H, W, 3], or of finished views "
            "[B, 2, S, S, 3], alone or in pairs with labels; a tf.data set "
            f"needs `.batch()`. Received: {received}"
        )


def in_range(batch):
    """`batch`, once it is known to be in [0, 1] if it is of floats.

    Raises:
        tf.errors.InvalidArgumentError: if not, when the batch is there.
            Nothing under XLA, which has no such check.
    """
    batch = tf.convert_to_tensor(batch)
    if not batch.dtype.is_floating:
        return batch
    check = tf.debugging.assert_less(
        tf.reduce_max(batch),
        tf.constant(_LARGEST_FLOAT, batch.dtype),
        "Float images must be in [0, 1]: divide them by 255, or give uint8. "
        "Largest value of the batch:",
    )
    with tf.control_dependencies([check]):
        return tf.identity(batch)


def labels_in_range(labels, num_classes):
    """`labels` [B] int32, once they are known to be less than `num_classes`.

    Raises:
        tf.errors.InvalidArgumentError: as `in_range`.
    """
    check = tf.debugging.assert_less(
        labels,
        num_classes,
        f"Labels must be less than `num_classes`, {num_classes}, or -1 for "
        "none. Labels of the batch:",
    )
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def unpacked(data, labels_needed=False):
    """(images, labels [B] int32 or None) of what `fit` gives to a step."""
    batch, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise ValueError(
            "SimCLR takes images or (images, labels), without sample weights."
        )
    images(batch)
    if labels is not None:
        labels = _flat_labels(labels)
    elif labels_needed:
        raise ValueError(
            "`num_classes` asks for a linear probe, which needs labels: give "
            "(images, labels), or num_classes=None. Received: images alone"
        )
    return distribution.equal_rows(batch), labels


def _flat_labels(labels):
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape.rank != 1:
        raise ValueError(
            "Labels must be integers [B] or [B, 1]. "
            f"Received: shape {labels.shape}"
        )
    return tf.cast(labels, tf.int32)
