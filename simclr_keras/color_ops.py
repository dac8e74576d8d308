"""The colour operations of SimCLR, each with its own amount for every image.

The public functions take and return images [B, H, W, 3] in float32 (uint8 is
scaled to [0, 1] first) and do not clip; amounts are float32 [B]. Inside, a
batch is held as planes [3, B, H, W]: on a CPU, arithmetic between whole
channels is several times faster than along a last axis of three.

Hue and saturation need no way to HSV and back. Between the largest and the
smallest channel of a pixel, saturation moves all channels towards the largest,
and hue walks along the hexagon on which the two stay what they are.
"""

import tensorflow as tf

# The ITU-R BT.601 weights, with the digits TensorFlow's rgb_to_grayscale has.
_LUMA = (0.2989, 0.587, 0.114)
_TINY = 1e-30


def adjust_brightness(images, amounts, mode="multiplicative"):
    """Images times `amounts`, or plus `amounts` if `mode` is "additive".

    SimCLRv2's code multiplies, the first SimCLR's added.
    """
    zeros = tf.zeros_like(amounts)
    if mode == "additive":
        terms = (zeros + 1.0, zeros, amounts)
    else:
        terms = (amounts, zeros, zeros)
    return from_planes(affine(to_planes(images), *terms))


def adjust_contrast(images, factors):
    """Distances from the mean of image and channel, times `factors`."""
    terms = (factors, 1.0 - factors, tf.zeros_like(factors))
    return from_planes(affine(to_planes(images), *terms))


def adjust_saturation(images, factors):
    """HSV saturation times `factors` and at most 1, hue and value as before."""
    everywhere = tf.ones_like(factors)
    return from_planes(saturate(to_planes(images), factors, everywhere))


def adjust_hue(images, turns):
    """HSV hue plus `turns`; one turn is once around the colour circle."""
    return from_planes(rotate_hue(to_planes(images), turns))


def to_grayscale(images):
    """The luma of each pixel in three equal channels."""
    return from_planes(tf.concat([luma(to_planes(images))] * 3, 0))


def gaussian_blur(images, sigmas, size):
    """Gaussian blur of standard deviations `sigmas` [B], in pixels.

    `size` is what Google's code calls kernel size: the kernel has
    2 * int(size / 2) + 1 taps, an odd number, and sums to 1. Outside the image
    all is zero, as in Google's code, so borders darken.
    """
    return from_planes(blur(to_planes(images), sigmas, size))


def solarize(images, threshold=0.5):
    """Values from `threshold` up turned to 1 - value (BYOL, appendix B)."""
    return from_planes(invert_above(to_planes(images), threshold))


def to_planes(images):
    """[B, H, W, 3] uint8 or float to [3, B, H, W] float32; uint8 by 1/255."""
    planes = tf.stack(tf.unstack(images, axis=-1))
    if images.dtype == tf.uint8:
        return tf.cast(planes, tf.float32) * (1 / 255)
    return tf.cast(planes, tf.float32)


def from_planes(planes):
    """[3, B, H, W] to [B, H, W, 3]."""
    # A transpose of rank 2 is the fastest way to interleave on a CPU.
    pixels = tf.transpose(tf.reshape(planes, [3, -1]))
    return tf.reshape(pixels, tf.concat([tf.shape(planes)[1:], [3]], 0))


def clip(x, low=0.0, high=1.0):
    # The raw op is one pass over memory, tf.clip_by_value makes two.
    return tf.raw_ops.ClipByValue(t=x, clip_value_min=low, clip_value_max=high)


def affine(planes, scales, mean_shares, shifts):
    """planes * scales + means * mean_shares + shifts, means per channel."""
    means = tf.reduce_mean(planes, [2, 3], keepdims=True)
    return planes * per_image(scales) + (
        means * per_image(mean_shares) + per_image(shifts)
    )


def saturate(planes, factors, amounts):
    """Saturation times `factors` to the share `amounts`; 0 changes no bit."""
    largest, smallest = _extremes(planes)
    # The factor that brings a pixel to full saturation bounds all others. It
    # is below 1 only outside [0, 1], where overshoot of the crop leads.
    full = largest / tf.maximum(largest - smallest, _TINY)
    factor = tf.minimum(tf.nn.relu(full), per_image(factors))
    return planes + (largest - planes) * ((1.0 - factor) * per_image(amounts))


def rotate_hue(planes, turns):
    red, green, blue = tf.unstack(planes)
    largest, smallest = _extremes(planes)
    spread = largest - smallest
    # The hue in sixths of a turn, from -3 to 3 with red at 0: its size grows
    # along the hexagon on both sides of red, and is negative beyond blue.
    rise = (green + blue - red - smallest) / tf.maximum(spread, _TINY)
    size = 1.0 + rise
    hue = tf.where(green < blue, -size, size)  # [B, H, W]
    # Turning the hue forward is turning each channel's own hue back.
    own = tf.constant([0.0, 2.0, -2.0])[:, None] - 6.0 * turns
    own = own - 6.0 * tf.round(own / 6.0)  # [3, B] in [-3, 3]
    distance = tf.abs(tf.stack([hue - per_image(c) for c in tf.unstack(own)]))
    # The short way around, d, gives a channel clip(2 - d, 0, 1) of the spread.
    height = clip(tf.abs(3.0 - distance), 1.0, 2.0)
    return (smallest - spread) + spread * height


def luma(planes):
    """Planes [3, B, H, W] to their weighted sum [1, B, H, W]."""
    red, green, blue = _LUMA
    return planes[0:1] * red + planes[1:2] * green + planes[2:3] * blue


def blur(planes, sigmas, size):
    """Two products with the banded matrix of the kernel, by rows and columns.

    On a CPU faster than the shifted sums of a depthwise convolution, and a
    convolution has one kernel for all images of a batch.
    """
    radius = int(size / 2)
    rows = _convolution(sigmas, radius, tf.shape(planes)[2])
    columns = _convolution(sigmas, radius, tf.shape(planes)[3])
    return separable(rows, planes, columns)


def separable(rows, planes, columns):
    """Products [B, s, h] x [3, B, h, w] x [B, w, t] -> [3, B, s, t]."""
    if planes.shape[1] in (1, None):
        # TensorFlow 2.21 with oneDNN on AVX-512 writes past the end of its
        # buffers where a batch of one matrix is broadcast over the planes.
        rows, columns = (
            tf.tile(matrix[None], [planes.shape[0], 1, 1, 1])
            for matrix in (rows, columns)
        )
    return tf.matmul(tf.matmul(rows, planes), columns)


def invert_above(planes, threshold):
    return tf.where(planes < threshold, planes, 1.0 - planes)


def run_if_any(mask, function, planes):
    """`function(planes)` unless `mask` [B] is empty: then `planes`."""
    return tf.cond(
        tf.reduce_any(mask), lambda: function(planes), lambda: planes
    )


def apply_where(mask, function, planes):
    """`function(planes)` for the images in `mask` [B], `planes` for others."""
    return run_if_any(
        mask,
        lambda x: tf.where(per_image(mask), function(x), x),
        planes,
    )


def per_image(amounts):
    return amounts[:, None, None]


def _extremes(planes):
    red, green, blue = tf.unstack(planes)
    return (
        tf.maximum(tf.maximum(red, green), blue),
        tf.minimum(tf.minimum(red, green), blue),
    )


def _convolution(sigmas, radius, length):
    """Symmetric matrices [B, length, length] of 1-D blurs, zero outside."""
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernels = tf.exp(-(offsets**2) / (2.0 * sigmas[:, None] ** 2))
    kernels = kernels / tf.reduce_sum(kernels, 1, keepdims=True)
    places = tf.range(length)
    tap = tf.reshape(places[:, None] - places + radius, [-1])
    # A one-hot row is zero for every offset beyond the kernel.
    bands = tf.one_hot(tap, 2 * radius + 1, axis=0)
    return tf.reshape(tf.matmul(kernels, bands), [-1, length, length])
