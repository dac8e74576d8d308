"""Random resized crops: where they lie, and how they are resampled.

Boxes are `[y, x, height, width]` in whole pixels, held as float32. They are
drawn by rejection and never clipped. `sample_boxes` serves both routes, the
crop of a batch on the device (`crop_and_resize`, XLA-compilable) and that of
one image of any size on the host (`host_crop`): one seed, one box.
"""

import tensorflow as tf

from simclr_keras import seeded_layer
from simclr_keras.color_ops import from_planes
from simclr_keras.color_ops import separable
from simclr_keras.color_ops import to_planes

AREA_RANGE = (0.08, 1.0)  # SimCLR, appendix A
ASPECT_RANGE = (3 / 4, 4 / 3)  # width over height, SimCLR, appendix A
SAMPLERS = ("google", "torchvision", "none")

_ATTEMPTS = {"google": 100, "torchvision": 10}
_BLOCK = 10
# Google leaves TensorFlow's min_object_covered at 0.1 with the whole image as
# the object, so that no crop is smaller than this.
_GOOGLE_MIN_AREA = 0.1
# TensorFlow's bicubic kernel rounds the phase of a pixel to this grid.
_PHASES = 1024.0
_FAR = 1e6


def sample_boxes(
    seed, batch_size, height, width, *, crop="google", flip_probability=0.5
):
    """Boxes [B, 4] float32 and flips [B] bool of a batch of random crops.

    crop="google" is what made the published results, the sampler of
    `tf.image.sample_distorted_bounding_box`: the aspect ratio is uniform, then
    the height is uniform over the whole pixels that fit and cover 8 to 100 %
    of the image; boxes below 10 % are drawn again, up to 100 times, then the
    whole image is taken. Offsets leave out the last position.
    crop="torchvision" is the sampler of SimCLR's appendix A: uniform area,
    log-uniform aspect ratio, 10 attempts, then the largest centred box of
    an allowed aspect ratio.
    crop="none" takes the whole image, for ablations (SimCLR, figure 5).

    Args:
        seed: int32 [2], stateless: the same seed gives the same boxes.
        batch_size, height, width: int or int32 scalars, in pixels.
        crop: "google", "torchvision" or "none".
        flip_probability: share of images mirrored left to right.
    """
    height = tf.cast(height, tf.float32)
    width = tf.cast(width, tf.float32)
    sizes, accepted = _sizes(seed, batch_size, height, width, crop)
    room = tf.stack([height, width]) - sizes
    # The number of places a box may start at, one where it fills the image.
    starts = tf.maximum(room, 1.0) if crop == "google" else room + 1.0
    draws = seeded_layer.uniform(seed, [batch_size, 3])
    offsets = tf.where(
        accepted[:, None],
        # A draw close to one may round up to the position after the last.
        tf.minimum(tf.floor(draws[:, :2] * starts), starts - 1.0),
        tf.floor(room / 2.0),
    )
    return tf.concat([offsets, sizes], 1), draws[:, 2] < flip_probability


def _sizes(seed, batch_size, height, width, crop):
    """The first acceptable of some attempts per image, [B, 2], and if any."""
    if crop == "none":
        whole = tf.broadcast_to(tf.stack([height, width]), [batch_size, 2])
        return whole, tf.ones([batch_size], tf.bool)
    draw = _google_sizes if crop == "google" else _torchvision_sizes

    def ten_attempts(block, sizes, accepted):
        draws = seeded_layer.uniform(
            seeded_layer.fold_seed(seed, block), [batch_size, 2, _BLOCK]
        )
        heights, widths, fits = draw(draws[:, 0], draws[:, 1], height, width)
        first = tf.argmax(tf.cast(fits, tf.int32), 1, output_type=tf.int32)
        drawn = tf.gather(
            tf.stack([heights, widths], 2), first, axis=1, batch_dims=1
        )
        found = tf.reduce_any(fits, 1)
        sizes = tf.where((found & ~accepted)[:, None], drawn, sizes)
        return block + 1, sizes, found | accepted

    blocks = _ATTEMPTS[crop] // _BLOCK
    fallback = tf.stack(_fallback(height, width, crop))
    _, sizes, accepted = tf.while_loop(
        # Of a hundred attempts, ten are nearly always enough for all.
        lambda block, _, accepted: ~tf.reduce_all(accepted),
        ten_attempts,
        (
            0,
            tf.broadcast_to(fallback, [batch_size, 2]),
            tf.zeros([batch_size], tf.bool),
        ),
        maximum_iterations=blocks,
    )
    return sizes, accepted


def _fallback(height, width, crop):
    """The whole image, or what torchvision takes of an oblong one."""
    if crop == "google":
        return height, width
    low, high = ASPECT_RANGE
    return (
        tf.minimum(height, tf.round(width / low)),
        tf.minimum(width, tf.round(height * high)),
    )


def _google_sizes(u_aspect, u_height, height, width):
    low, high = ASPECT_RANGE
    aspect = low + (high - low) * u_aspect
    area = height * width
    min_area, max_area = AREA_RANGE[0] * area, AREA_RANGE[1] * area
    shortest = tf.round(tf.sqrt(min_area / aspect))
    tallest = tf.round(tf.sqrt(max_area / aspect))
    # The last height whose width still rounds to no more than the image's.
    tallest = tf.where(
        tf.round(tallest * aspect) > width,
        tf.floor((width + 0.5) / aspect),
        tallest,
    )
    tallest = tf.minimum(tallest, height)
    shortest = tf.minimum(shortest, tallest)
    count = tallest - shortest + 1.0
    heights = shortest + tf.minimum(tf.floor(u_height * count), count - 1.0)
    widths = tf.round(heights * aspect)
    # Rounding may push the area across a bound: one pixel may push it back.
    for bound, step in ((min_area, 1.0), (max_area, -1.0)):
        outside = (heights * widths - bound) * step < 0.0
        heights = tf.where(outside, heights + step, heights)
        widths = tf.where(outside, tf.round(heights * aspect), widths)
    fits = (
        (heights * widths >= tf.maximum(min_area, 1.0))
        & (heights * widths <= max_area)
        & (heights * widths / area >= _GOOGLE_MIN_AREA)
        & (heights <= height)
        & (widths <= width)
    )
    return heights, widths, fits


def _torchvision_sizes(u_area, u_aspect, height, width):
    low, high = ASPECT_RANGE
    area = (AREA_RANGE[0] + (AREA_RANGE[1] - AREA_RANGE[0]) * u_area) * (
        height * width
    )
    aspect = low * tf.pow(high / low, u_aspect)
    heights = tf.round(tf.sqrt(area / aspect))
    widths = tf.round(tf.sqrt(area * aspect))
    fits = (
        (heights > 0.0)
        & (widths > 0.0)
        & (heights <= height)
        & (widths <= width)
    )
    return heights, widths, fits


def crop_and_resize(images, boxes, size, flip=None):
    """Bicubic resampling of one box per image to [B, height, width, 3] float32.

    The result is what `tf.image.resize(..., "bicubic")` makes of the cut out
    box, within float32 rounding: half-pixel centres, Keys' kernel with
    a = -0.5, no antialiasing, taps outside the box dropped and the others
    renormalised. Overshoot is not clipped: Google's code leaves that to the
    colour jitter. It is made of matrix products and compiles under XLA, where
    TensorFlow's own crop and resize operations do not.

    Args:
        images: [B, h, w, 3], uint8 (scaled to [0, 1]) or float (as it is).
        boxes: float32 [B, 4], `[y, x, height, width]` in whole pixels.
        size: (height, width) of the result in pixels.
        flip: bool [B], mirror left to right; None mirrors none.
    """
    return from_planes(crop_planes(to_planes(images), boxes, size, flip))


def crop_planes(planes, boxes, size, flip=None):
    """`crop_and_resize` from and to planes [3, B, height, width]."""
    y, x, heights, widths = tf.unstack(boxes[:, :, None], axis=1)
    rows = _locations(y, heights, size[0])
    columns = _locations(x, widths, size[1])
    if flip is not None:
        columns = tf.where(flip[:, None], columns[:, ::-1], columns)
    rows = _interpolation(rows, y, y + heights, tf.shape(planes)[2], axis=2)
    columns = _interpolation(
        columns, x, x + widths, tf.shape(planes)[3], axis=1
    )
    return separable(rows, planes, columns)


def _locations(start, length, size):
    """Where each of `size` pixels lies in the image, [B, size]."""
    pixel = tf.range(size, dtype=tf.float32)
    location = (pixel + 0.5) * (length / size) - 0.5
    first = tf.floor(location)
    phase = tf.round((location - first) * _PHASES) / _PHASES
    return start + first + phase


def _interpolation(locations, start, end, limit, axis):
    """Keys' weights of `limit` pixels along `axis`, locations along the other.

    Returns [B, size, limit] for axis=2 and [B, limit, size] for axis=1.
    """
    taps = tf.range(limit, dtype=tf.float32)
    # Taps outside the box go where no kernel reaches.
    taps = tf.where((taps >= start) & (taps < end), taps, -_FAR)  # [B, limit]
    distance = tf.abs(
        tf.expand_dims(locations, axis) - tf.expand_dims(taps, 3 - axis)
    )
    # Twice Keys' kernel: the cubic of 1 to 2 pixels, and what it lacks below.
    outer = tf.nn.relu(2.0 - distance)
    rest = outer - 1.0
    inner = tf.nn.relu(rest)
    weights = outer * outer * rest + inner * inner * (2.0 - 4.0 * inner)
    return weights / tf.reduce_sum(weights, axis, keepdims=True)


@tf.autograph.experimental.do_not_convert
def host_crop(image, seed, image_size, crop="google", *, flip_probability=0.5):
    """The random crop and flip of one image of any size, for `tf.data`.

    The box is that of a batch of one through `RandomResizedCrop` with the same
    seed; only its pixels are read. `Augmenter` does the rest with cropped=True.

    Args:
        image: [h, w, 3] uint8, or float in [0, 1], of any size from 1 x 1.
        seed: int32 [2], see `fold_seed`.
        image_size: int, side S of the view in pixels.
        crop: "google", "torchvision" or "none", see `sample_boxes`.
        flip_probability: share of views mirrored left to right.

    Returns:
        [S, S, 3] float32, bicubic, with overshoot outside [0, 1].

    Raises:
        ValueError: an argument is not as described.
    """
    seeded_layer.check_choice("crop", crop, SAMPLERS)
    seeded_layer.check_size("image_size", image_size)
    seeded_layer.check_range("flip_probability", flip_probability)
    image = tf.convert_to_tensor(image)
    seeded_layer.check_images("image", image, (3,))
    height, width = tf.unstack(tf.shape(image)[:2])
    boxes, flips = sample_boxes(
        seed, 1, height, width, crop=crop, flip_probability=flip_probability
    )
    y, x, box_height, box_width = tf.unstack(tf.cast(boxes[0], tf.int32))
    view = image[y : y + box_height, x : x + box_width]
    # The kernel reads uint8: a large photograph is never held as float.
    view = tf.image.resize(view, [image_size, image_size], "bicubic")
    view = tf.where(flips[0], view[:, ::-1], view)
    return view * (1 / 255) if image.dtype == tf.uint8 else view
