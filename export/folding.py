"""Encoders made fast for inference: batch norms become part of other layers."""

import keras
import numpy as np
from keras import layers

from simclr_keras import normalization

PRECISIONS = ("float32", "bfloat16")

# Layers whose outputs are linear in one weight, and that weight's name.
_KERNELS = {
    layers.Conv1D: "kernel",
    layers.Conv2D: "kernel",
    layers.Conv3D: "kernel",
    layers.Dense: "kernel",
    layers.DepthwiseConv1D: "kernel",
    layers.DepthwiseConv2D: "kernel",
    layers.SeparableConv1D: "pointwise_kernel",
    layers.SeparableConv2D: "pointwise_kernel",
}
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
# Few operations, whose rounding would reach every feature.
_ALWAYS_FLOAT32 = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.InputLayer,
    layers.Normalization,
    layers.Rescaling,
    layers.Softmax,
)


def folded(model, precision="float32"):
    """A copy of `model` for inference, with fewer operations.

    A batch norm right behind a convolution or a dense layer only scales and
    shifts its outputs: y = kernel * x gives gamma * (y - mean) / deviation +
    beta, which is a convolution by a scaled kernel with a bias. Products are
    formed in float64, so that features differ by float32 rounding only. A
    batch norm stays where it is, if what comes before it is something else,
    has an activation, or is also read by another layer.

    Args:
        model: functional or sequential keras.Model; nested ones are folded,
            too. For float32, any other model is returned as it is, with its
            own dtypes.
        precision: "float32", or "bfloat16": kernels and activations in
            bfloat16, means over pixels and softmax in float32.

    Raises:
        ValueError: for another `precision`, or a model that cannot be
            changed to it.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {PRECISIONS}. "
            f"Received: precision={precision!r}"
        )
    if getattr(model, "inputs", None) is None:
        if precision != "float32":
            raise ValueError(
                f"`precision` {precision!r} needs a functional or sequential "
                f"model. Received: model={model!r}"
            )
        return model
    # In the copy, every layer knows only its places in this model.
    plain = normalization.plain_batch_norm(model, dtype="float32")
    return _rebuilt(plain, precision)


def _rebuilt(model, precision):
    if isinstance(model, keras.Sequential):
        model = keras.Model(*model.inputs, *model.outputs, name=model.name)
    norms = _foldable_norms(model)
    dropped = {norm.name for norm in norms.values()}
    pairs = []

    def clone(layer):
        if getattr(layer, "inputs", None) is not None:
            return _rebuilt(layer, precision)
        config = layer.get_config()
        if "dtype" in config:
            config["dtype"] = _dtype(layer, precision)
        if layer.name in norms:
            config["use_bias"] = True
        new = type(layer).from_config(config)
        pairs.append((layer, new))
        return new

    def call(layer, *args, **kwargs):
        if layer.name in dropped:
            return args[0]
        return layer(*args, **kwargs)

    result = keras.models.clone_model(
        model, clone_function=clone, call_function=call
    )
    for old, new in pairs:
        if old.name in norms:
            _set_folded(new, old, norms[old.name])
        elif old.name not in dropped and getattr(old, "weights", None):
            new.set_weights(old.get_weights())
    return result


def _foldable_norms(model):
    """Name of a layer -> the batch norm that can become part of it."""
    kept = {tensor._keras_history.operation for tensor in model.outputs}
    found = {}
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization:
            continue
        node = norm._inbound_nodes[0]
        before = node.parent_nodes[0].operation
        uses_batch = node.arguments.kwargs.get("training")
        if (
            _is_linear(before)
            and before not in kept
            and len(norm._inbound_nodes) == 1
            and len(before._outbound_nodes) == 1
            and norm.axis in (-1, len(before.output.shape) - 1)
            and not uses_batch
        ):
            found[before.name] = norm
    return found


def _is_linear(layer):
    return (
        type(layer) in _KERNELS
        and layer.activation is keras.activations.linear
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _dtype(layer, precision):
    if precision == "float32" or isinstance(layer, _ALWAYS_FLOAT32):
        return "float32"
    if isinstance(layer, layers.BatchNormalization):
        # Its statistics stay in float32.
        return f"mixed_{precision}"
    return precision


def _set_folded(new, old, norm):
    mean, variance = _float64(norm.moving_mean), _float64(norm.moving_variance)
    gamma = 1.0 if norm.gamma is None else _float64(norm.gamma)
    beta = 0.0 if norm.beta is None else _float64(norm.beta)
    bias = 0.0 if old.bias is None else _float64(old.bias)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    new.bias.assign((bias - mean) * scale + beta)
    name = _KERNELS[type(old)]
    if name == "pointwise_kernel":
        new.depthwise_kernel.assign(old.depthwise_kernel)
    kernel = _float64(getattr(old, name))
    if type(old) in _DEPTHWISE:
        # Every input channel has outputs of its own.
        scale = np.reshape(scale, kernel.shape[-2:])
    getattr(new, name).assign(kernel * scale)


def _float64(variable):
    return np.asarray(variable, np.float64)
