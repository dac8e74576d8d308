"""ResNets of SimCLR and SimCLRv2 as functional Keras models."""

import random

import keras
from keras import layers

from simclr_keras.normalization import BatchNormalization

# Blocks in each of the four groups, and whether they are bottlenecks.
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
    200: ((3, 24, 36, 3), True),
}
STEMS = ("cifar", "imagenet")

# Layers whose outputs are the places where features are commonly read or
# weights frozen, from image to embedding.
ENDPOINTS = ("stem", "pool", "group1", "group2", "group3", "group4")

# A selective kernel's attention is never narrower than this.
_SELECTIVE_KERNEL_MIN_CHANNELS = 32


def resnet(
    depth=50,
    width=1,
    *,
    sk_ratio=0.0,
    se_ratio=0.0,
    stem="imagenet",
    image_size=224,
    global_bn=True,
    batch_norm_momentum=0.9,
    seed=None,
):
    """An encoder: images [B, H, W, 3] float in [0, 1] -> [B, F] float32.

    The networks are those of Google's TF2 code, whose strides sit on the 3x3
    convolution of a bottleneck, whose every group opens with a projection
    shortcut, and whose residual branches start at zero (last gamma 0). All
    layers but the batch normalisation are Keras' own, and
    `simclr_keras.save_encoder` replaces that one.

    Layers are named by their place: `stem_conv`, `group2_block1_conv1`,
    `group2_block1_shortcut_bn`. Feature maps are the outputs of the layers
    in `ENDPOINTS`, the embedding that of `embedding`. Google's
    `initial_conv` endpoint is the output of `stem_conv`.

    The dtype policy in force at the call rules convolutions; batch statistics
    and the embedding are float32 under every policy.

    Args:
        depth: 18, 34, 50, 101, 152 or 200. F is 512 * width for 18 and 34,
            2048 * width for the others.
        width: multiplies all channel counts; also a fraction, such as 0.25.
            The stem has round(64 * width) channels, at least one, and each
            later group twice as many as the one before.
        sk_ratio: above 0, bottlenecks get selective kernels
            (arXiv:1903.06586) with attention of this share of their width,
            and stem and shortcuts are those of ResNet-D (arXiv:1812.01187);
            blocks of depth 18 and 34 only get the latter. SimCLRv2: 0.0625.
        se_ratio: above 0, residual branches end in squeeze-and-excitation
            (arXiv:1709.01507) of this share of the block's inner width.
        stem: "imagenet", 7x7 convolution and max pooling, each of stride 2,
            or "cifar", 3x3 convolution of stride 1 for images of about 32
            pixels (SimCLR, appendix B.9).
        image_size: side of the square images in pixels, kept as the model's
            input shape; None accepts any height and width.
        global_bn: whether batch statistics span all replicas.
        batch_norm_momentum: weight of the old moving statistics.
        seed: int, for initial weights that depend on nothing else; None
            draws from Keras' global generator.

    Raises:
        ValueError: for a value outside the ranges above.
    """
    _check(depth, width, sk_ratio, se_ratio, stem, image_size)
    net = _Blocks(sk_ratio, se_ratio, global_bn, batch_norm_momentum, seed)
    counts, bottleneck = DEPTHS[depth]
    channels = max(1, round(64 * width))
    images = keras.Input((image_size, image_size, 3), name="images")
    if stem == "cifar":
        x = net.cifar_stem(images, channels)
    else:
        x = net.imagenet_stem(images, channels)
    branch = net.bottleneck if bottleneck else net.basic
    for number, count in enumerate(counts, start=1):
        x = net.group(x, branch, channels * 2 ** (number - 1), number, count)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(x)
    return keras.Model(images, x, name=f"resnet{depth}")


class _Blocks:
    """Pieces of the network, which share its settings."""

    def __init__(self, sk_ratio, se_ratio, global_bn, momentum, seed):
        self.sk_ratio = sk_ratio
        self.se_ratio = se_ratio
        self.global_bn = global_bn
        self.momentum = momentum
        self.seeds = None if seed is None else random.Random(seed)

    def cifar_stem(self, images, channels):
        x = self.conv(images, channels, 3, name="stem_conv")
        x = layers.ReLU(name="stem")(self.norm(x, "stem_bn"))
        return layers.Identity(name="pool")(x)

    def imagenet_stem(self, images, channels):
        x = images
        if self.sk_ratio > 0:
            half = max(1, channels // 2)
            x = self.conv(x, half, 3, strides=2, name="stem_conv1")
            x = self.norm_relu(x, "stem_bn1")
            x = self.conv(x, half, 3, name="stem_conv2")
            x = self.norm_relu(x, "stem_bn2")
            x = self.conv(x, channels, 3, name="stem_conv")
        else:
            x = self.conv(x, channels, 7, strides=2, name="stem_conv")
        x = layers.ReLU(name="stem")(self.norm(x, "stem_bn"))
        return layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)

    def group(self, x, branch, channels, number, count):
        strides = 1 if number == 1 else 2
        for block in range(1, count + 1):
            name = f"group{number}_block{block}"
            y = branch(x, channels, strides, name)
            if self.se_ratio > 0:
                y = self.squeeze_and_excite(y, channels, name)
            if block == 1:
                x = self.shortcut(x, y.shape[-1], strides, name)
            x = layers.Add(name=f"{name}_add")([y, x])
            last = block == count
            x = layers.ReLU(name=f"group{number}" if last else f"{name}_relu")(
                x
            )
            strides = 1
        return x

    def shortcut(self, x, channels, strides, name):
        name = f"{name}_shortcut"
        if self.sk_ratio > 0:
            x = self.average(x, strides, name)
        elif strides > 1:
            # A strided 1x1 convolution reads these pixels only. oneDNN's
            # gradient for it is wrong on AVX2 below 8 channels.
            x = layers.AveragePooling2D(1, strides, name=f"{name}_pool")(x)
        x = self.conv(x, channels, 1, name=f"{name}_conv")
        return self.norm(x, f"{name}_bn")

    def average(self, x, strides, name):
        padding = "same"
        if strides > 1:
            # Unlike the padding of "same", these zeros count in the average.
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
            padding = "valid"
        return layers.AveragePooling2D(
            2, strides, padding=padding, name=f"{name}_pool"
        )(x)

    def basic(self, x, channels, strides, name):
        x = self.conv(x, channels, 3, strides=strides, name=f"{name}_conv1")
        x = self.norm_relu(x, f"{name}_bn1")
        x = self.conv(x, channels, 3, name=f"{name}_conv2")
        return self.norm(x, f"{name}_bn2", gamma="zeros")

    def bottleneck(self, x, channels, strides, name):
        x = self.conv(x, channels, 1, name=f"{name}_conv1")
        x = self.norm_relu(x, f"{name}_bn1")
        if self.sk_ratio > 0:
            x = self.selective_kernel(x, channels, strides, name)
        else:
            x = self.conv(x, channels, 3, strides=strides, name=f"{name}_conv2")
            x = self.norm_relu(x, f"{name}_bn2")
        x = self.conv(x, 4 * channels, 1, name=f"{name}_conv3")
        return self.norm(x, f"{name}_bn3", gamma="zeros")

    def selective_kernel(self, x, channels, strides, name):
        """Two 3x3 convolutions in one, mixed by an attention per channel."""
        x = self.conv(x, 2 * channels, 3, strides=strides, name=f"{name}_conv2")
        x = self.norm_relu(x, f"{name}_bn2")
        streams = keras.ops.split(x, 2, axis=-1)
        a = layers.Add(name=f"{name}_sk_sum")(streams)
        a = layers.GlobalAveragePooling2D(
            keepdims=True, name=f"{name}_sk_pool"
        )(a)
        narrow = max(
            int(channels * self.sk_ratio), _SELECTIVE_KERNEL_MIN_CHANNELS
        )
        a = self.conv(a, narrow, 1, name=f"{name}_sk_reduce")
        a = self.norm_relu(a, f"{name}_sk_bn")
        a = self.conv(a, 2 * channels, 1, name=f"{name}_sk_expand")
        a = layers.Reshape((1, 2, channels), name=f"{name}_sk_streams")(a)
        a = layers.Softmax(2, dtype="float32", name=f"{name}_sk_attention")(a)
        mixed = [
            layers.Multiply(name=f"{name}_sk_stream{i}")([stream, weight])
            for i, (stream, weight) in enumerate(
                zip(streams, keras.ops.split(a, 2, axis=2), strict=True),
                start=1,
            )
        ]
        return layers.Add(name=f"{name}_sk_mix")(mixed)

    def squeeze_and_excite(self, x, channels, name):
        narrow = max(1, int(channels * self.se_ratio))
        a = layers.GlobalAveragePooling2D(
            keepdims=True, name=f"{name}_se_pool"
        )(x)
        for channels, activation, part in (
            (narrow, "relu", "reduce"),
            (x.shape[-1], "sigmoid", "expand"),
        ):
            a = layers.Conv2D(
                channels,
                1,
                activation=activation,
                kernel_initializer=self.initializer(),
                name=f"{name}_se_{part}",
            )(a)
        return layers.Multiply(name=f"{name}_se_scale")([x, a])

    def conv(self, x, channels, kernel_size, *, strides=1, name):
        padding = "same"
        if strides > 1:
            # As much on every side; TensorFlow's "same" pads less at the top.
            x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        return layers.Conv2D(
            channels,
            kernel_size,
            strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=self.initializer(),
            name=name,
        )(x)

    def norm(self, x, name, gamma="ones"):
        return BatchNormalization(
            self.momentum,
            synchronized=self.global_bn,
            gamma_initializer=gamma,
            name=name,
        )(x)

    def norm_relu(self, x, name):
        x = self.norm(x, name)
        return layers.ReLU(name=name.replace("bn", "relu"))(x)

    def initializer(self):
        seed = None if self.seeds is None else self.seeds.randrange(2**31)
        return keras.initializers.VarianceScaling(
            scale=1.0, mode="fan_in", distribution="truncated_normal", seed=seed
        )


def _check(depth, width, sk_ratio, se_ratio, stem, image_size):
    if depth not in DEPTHS:
        raise ValueError(
            f"`depth` must be one of {sorted(DEPTHS)}. Received: depth={depth}"
        )
    if not width > 0:
        raise ValueError(
            f"`width` must be greater than 0. Received: width={width}"
        )
    for name, ratio in (("sk_ratio", sk_ratio), ("se_ratio", se_ratio)):
        if not 0 <= ratio <= 1:
            raise ValueError(
                f"`{name}` must lie in [0, 1]. Received: {name}={ratio}"
            )
    if stem not in STEMS:
        raise ValueError(
            f"`stem` must be one of {STEMS}. Received: stem={stem!r}"
        )
    if image_size is not None and not image_size > 0:
        raise ValueError(
            "`image_size` must be greater than 0, or None for any size. "
            f"Received: image_size={image_size}"
        )
