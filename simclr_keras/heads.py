"""What stands on an encoder: the projection head and the linear probe."""

import random

import keras

from simclr_keras.normalization import BatchNormalization

MODES = ("nonlinear", "linear", "none")

_KERNEL_STDDEV = 0.01


def projection_head(
    features,
    layers=3,
    out_dim=128,
    mode="nonlinear",
    *,
    global_bn=True,
    batch_norm_momentum=0.9,
    seed=None,
):
    """The head g of SimCLR: features [B, F] -> projections z [B, D] float32.

    Each layer is a dense one without bias, then batch normalisation; all but
    the last also have a ReLU and keep the width F, and only the last has no
    beta. Batch normalisation in every layer is what Google's code does; the
    paper (section 4.2) draws two dense layers and a ReLU.

    `head_outputs` gives the layers in between.

    Args:
        features: F, width of the encoder's embedding.
        layers: how many, for "nonlinear". SimCLRv2 has 3, SimCLR 2.
        out_dim: D; ignored by "none".
        mode: "nonlinear"; "linear", a single layer; or "none", where z is the
            embedding itself.
        global_bn: whether batch statistics span all replicas.
        batch_norm_momentum: weight of the old moving statistics.
        seed: int, for initial weights that depend on nothing else; None
            draws from Keras' global generator.

    Raises:
        ValueError: for a size below 1 or an unknown mode.
    """
    _check(features=features, layers=layers, out_dim=out_dim)
    if mode not in MODES:
        raise ValueError(
            f"`mode` must be one of {MODES}. Received: mode={mode!r}"
        )
    seeds = None if seed is None else random.Random(seed)
    count = {"nonlinear": layers, "linear": 1, "none": 0}[mode]
    h = x = keras.Input((features,), name="h")
    for i in range(1, count + 1):
        last = i == count
        x = keras.layers.Dense(
            out_dim if last else features,
            use_bias=False,
            kernel_initializer=_normal(seeds),
            name=f"projection{i}_dense",
        )(x)
        x = BatchNormalization(
            batch_norm_momentum,
            synchronized=global_bn,
            center=not last,
            name=f"projection{i}_bn",
        )(x)
        if not last:
            x = keras.layers.ReLU(name=f"projection{i}")(x)
    # The loss needs float32, whatever the layers before compute in.
    z = keras.layers.Identity(dtype="float32", name="z")(x)
    return keras.Model(h, z, name="projection_head")


def head_outputs(head):
    """A model of `head`'s layers with all their outputs: [h, ..., z].

    Its list of outputs is what Google's --ft_proj_selector counts: 0 is the
    embedding h that enters, k the output of the k-th layer after its ReLU,
    -1 the projection z. It shares all weights with `head`.

    Args:
        head: a model from `projection_head`, or a loaded one.
    """
    names = [layer.name for layer in head.layers]
    hidden = []
    while (name := f"projection{len(hidden) + 1}") in names:
        hidden.append(head.get_layer(name).output)
    outputs = [head.input, *hidden, head.output]
    return keras.Model(head.input, outputs, name="projection_head_outputs")


def linear_probe(features, num_classes, *, seed=None):
    """A linear classifier: features [B, F] -> logits [B, K], in float32.

    Args:
        features: F.
        num_classes: K.
        seed: int, for initial weights that depend on nothing else; None
            draws from Keras' global generator.

    Raises:
        ValueError: for a size below 1.
    """
    _check(features=features, num_classes=num_classes)
    inputs = keras.Input((features,), name="features")
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=_normal(
            None if seed is None else random.Random(seed)
        ),
        dtype="float32",
        name="linear_probe",
    )(inputs)
    return keras.Model(inputs, logits, name="linear_probe")


def _normal(seeds):
    return keras.initializers.RandomNormal(
        stddev=_KERNEL_STDDEV,
        seed=None if seeds is None else seeds.randrange(2**31),
    )


def _check(**sizes):
    for name, size in sizes.items():
        if not size >= 1:
            raise ValueError(
                f"`{name}` must be at least 1. Received: {name}={size}"
            )
