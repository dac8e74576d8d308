"""From image files to what an encoder sees: shared by evaluation and serving.

Everything here is TensorFlow graph operations, so that one code runs in
`tf.data.Dataset.map` and inside an exported SavedModel.

The crop and the resize are those of Google's SimCLR evaluation
(`preprocess_for_eval` in https://github.com/google-research/simclr), which
made the published results: proportion 0.875, bicubic, no antialiasing.
"""

import numbers

import tensorflow as tf

from simclr_keras import image_headers

# Google's: the usual 224 of 256 pixels.
_CROP_PROPORTION = 0.875
# Google's: small images (CIFAR) are tested whole.
_LARGEST_UNCROPPED = 32
_UINT8_SCALE = 1 / 255


def crop_proportion(image_size):
    """The part of the shorter side that evaluation keeps: 0.875, or 1.0.

    Args:
        image_size: int, or (height, width). Up to 32 pixels the whole image
            is used, as in Google's code.
    """
    largest = max(height_width(image_size))
    return 1.0 if largest <= _LARGEST_UNCROPPED else _CROP_PROPORTION


def decode(image_bytes, max_pixels=None):
    """One image file as RGB pixels.

    Reads JPEG (grey, RGB, CMYK, progressive), PNG (all modes; 16-bit keeps
    the high byte), GIF (first frame), BMP (8 bits with palette, 24, 32) and
    WebP (still). Grey becomes three equal channels. Transparent pixels of PNG
    and WebP are blended over white, as a page shows them: the colour stored
    under them is arbitrary and often black. BMP's fourth channel is ignored.
    Photos (JPEG) are turned upright as their EXIF orientation says, so that
    height and width are those that a viewer shows.

    Args:
        image_bytes: scalar string tensor, the content of a file.
        max_pixels: int, the largest height times width that a file may
            declare, checked before its pixels are allocated; None for any.

    Returns:
        [h, w, 3] uint8 tensor.

    Raises:
        tf.errors.InvalidArgumentError: when run, for anything else, for
            damaged or truncated files, animated WebP and compressed BMP.
    """
    is_plain = image_headers.is_plain(image_bytes)
    image_bytes = tf.cond(
        is_plain, lambda: image_bytes, lambda: _decodable(image_bytes)
    )
    checks = []
    if max_pixels is not None:
        declared = image_headers.declared_pixels(image_bytes)
        checks.append(
            tf.debugging.Assert(
                declared <= max_pixels,
                ["an image may have", max_pixels, "pixels, not", declared],
            )
        )
    with tf.control_dependencies(checks):
        # All channels: with `channels=3` WebP with alpha fails, and with 4
        # PNG of less than 8 bits gets a wrong alpha.
        pixels = tf.io.decode_image(
            image_bytes, channels=0, expand_animations=False
        )
    pixels = tf.cond(
        is_plain,
        lambda: pixels,
        lambda: _corrected(pixels, image_bytes),
    )
    pixels = tf.cond(
        tf.shape(pixels)[-1] == 3,
        lambda: pixels,
        lambda: _rgb(pixels),
    )
    return tf.ensure_shape(pixels, [None, None, 3])


def center_crop_and_resize(images, image_size, crop_proportion):
    """The middle of an image at the size that an encoder takes.

    The crop has the target's aspect ratio and `crop_proportion` of the side
    that limits it; then bicubic resize (Keys' kernel with a = -0.5, pixel
    centres, no antialiasing). Google's code refuses other sizes than the
    target when it does not crop; here they are cropped to the target's
    aspect ratio and resized.

    Args:
        images: [h, w, 3], or [B, h, w, 3] of one size; uint8, or float in
            [0, 1]. Height and width may be unknown when traced.
        image_size: int, or (height, width), of the result.
        crop_proportion: float in (0, 1].

    Returns:
        [S, S, 3] or [B, S, S, 3] float32 in [0, 1]; what lies outside, also
        the overshoot of the bicubic kernel, is clipped.

    Raises:
        ValueError: for another dtype or rank, or a setting out of range.
    """
    height, width = height_width(image_size)
    if not 0.0 < crop_proportion <= 1.0:
        raise ValueError(
            "`crop_proportion` must be in (0, 1]. "
            f"Received: crop_proportion={crop_proportion}"
        )
    images = tf.convert_to_tensor(images)
    if images.shape.rank not in (3, 4):
        raise ValueError(
            "`images` must be [h, w, 3] or [B, h, w, 3]. "
            f"Received: images of shape {images.shape}"
        )
    shape = tf.shape(images)
    y, x, crop_height, crop_width = center_box(
        shape[-3], shape[-2], (height, width), crop_proportion
    )
    images = images[..., y : y + crop_height, x : x + crop_width, :]
    if images.dtype != tf.uint8:
        images = to_float(images)
    resized = tf.image.resize(images, (height, width), method="bicubic")
    if images.dtype == tf.uint8:
        # Scaled only now: large images would take four times the memory.
        resized = tf.cast(resized, tf.float32) * _UINT8_SCALE
    return tf.clip_by_value(resized, 0.0, 1.0)


def preprocess(images, image_size):
    """Decoded images as evaluation and serving hand them to the encoder.

    Args:
        images: [B, h, w, 3] uint8, or float in [0, 1] (clipped if outside).
        image_size: int, or (height, width).

    Returns:
        [B, S, S, 3] float32 in [0, 1].
    """
    return center_crop_and_resize(
        images, image_size, crop_proportion(image_size)
    )


def center_box(height, width, image_size, crop_proportion):
    """The box that `center_crop_and_resize` keeps.

    Sides are rounded half to even in float32 and are at least one pixel; an
    odd margin puts the larger part above and to the left. All as Google's.

    Args:
        height, width: of the image; int32 scalars.
        image_size: int, or (height, width), of the target.
        crop_proportion: float in (0, 1].

    Returns:
        (y, x, box height, box width), int32 scalars.
    """
    target_height, target_width = height_width(image_size)
    aspect = target_width / target_height
    height_float = tf.cast(height, tf.float32)
    width_float = tf.cast(width, tf.float32)
    width_limits = aspect > width_float / height_float
    box_height = tf.where(
        width_limits,
        crop_proportion / aspect * width_float,
        crop_proportion * height_float,
    )
    box_width = tf.where(
        width_limits,
        crop_proportion * width_float,
        crop_proportion * aspect * height_float,
    )
    box_height = _whole_pixels(box_height, height)
    box_width = _whole_pixels(box_width, width)
    y = (height - box_height + 1) // 2
    x = (width - box_width + 1) // 2
    return y, x, box_height, box_width


def height_width(image_size):
    """(height, width) of an `image_size`, which may be one int for both.

    Raises:
        ValueError: if a side is below 1.
    """
    if isinstance(image_size, numbers.Integral):
        image_size = (image_size, image_size)
    height, width = (int(side) for side in image_size)
    if height < 1 or width < 1:
        raise ValueError(
            "`image_size` must be at least 1. "
            f"Received: image_size={(height, width)}"
        )
    return height, width


def to_float(images):
    """Images as float32 in [0, 1]: uint8 is scaled, floats are cast.

    Raises:
        ValueError: for any other dtype.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.uint8:
        # Google multiplies, too; dividing rounds some values differently.
        return tf.cast(images, tf.float32) * _UINT8_SCALE
    if images.dtype.is_floating:
        return tf.cast(images, tf.float32)
    raise ValueError(
        "`images` must be uint8, or float in [0, 1]. "
        f"Received: images of dtype {images.dtype.name}"
    )


def _whole_pixels(length, limit):
    return tf.clip_by_value(tf.cast(tf.math.rint(length), tf.int32), 1, limit)


# Apart from the caller's graph, where operations of a branch that is not taken
# cost time, too; half a millisecond for the files that need them.
_APART = {"_noinline": True}
_BYTES = tf.TensorSpec([], tf.string)
_PIXELS = tf.TensorSpec([None, None, None], tf.uint8)


@tf.function(input_signature=[_BYTES], experimental_attributes=_APART)
def _decodable(image_bytes):
    """What to decode; an error where TensorFlow would return garbled rows."""
    head = image_headers.header(image_bytes)
    found = {
        "animated WebP": image_headers.is_animated_webp(head),
        "compressed BMP": image_headers.is_compressed_bmp(head),
    }
    checks = [
        tf.debugging.Assert(~is_there, [f"{what} is not supported"])
        for what, is_there in found.items()
    ]
    with tf.control_dependencies(checks):
        return tf.cond(
            image_headers.is_gif(head),
            lambda: image_headers.without_animation(image_bytes, head),
            lambda: tf.identity(image_bytes),
        )


@tf.function(input_signature=[_PIXELS, _BYTES], experimental_attributes=_APART)
def _corrected(pixels, image_bytes):
    """With a BMP's colours, and a photo turned upright."""
    head = image_headers.header(image_bytes)
    orientation = image_headers.orientation(image_bytes, head)
    pixels = tf.cond(
        image_headers.is_bmp(head),
        lambda: _bmp_rgb(pixels, image_bytes, head),
        lambda: pixels,
    )
    return tf.cond(
        orientation > 1, lambda: _upright(pixels, orientation), lambda: pixels
    )


def _upright(pixels, orientation):
    """Undoes what EXIF orientations 2 to 8 stand for."""

    def turned(condition, function, pixels):
        return tf.cond(condition, lambda: function(pixels), lambda: pixels)

    def is_one_of(*numbers):
        return tf.reduce_any(orientation == tf.constant(numbers, tf.int64))

    pixels = turned(
        orientation > 4, lambda x: tf.transpose(x, [1, 0, 2]), pixels
    )
    pixels = turned(is_one_of(3, 4, 7, 8), lambda x: tf.reverse(x, [0]), pixels)
    return turned(is_one_of(2, 3, 6, 7), lambda x: tf.reverse(x, [1]), pixels)


def _bmp_rgb(pixels, image_bytes, head):
    """Numbers are looked up in the palette; a fourth channel is ignored."""

    def look_up():
        palette = image_headers.bmp_palette(image_bytes, head)
        return tf.gather(palette, tf.cast(pixels[..., 0], tf.int32))

    return tf.cond(tf.shape(pixels)[-1] == 1, look_up, lambda: pixels[..., :3])


def _rgb(pixels):
    """Grey or colour, in either case perhaps with alpha, as RGB."""
    channels = tf.shape(pixels)[-1]
    chosen = tf.where(channels > 2, [0, 1, 2], [0, 0, 0])
    rgb = tf.gather(pixels, chosen, axis=-1)
    return tf.cond(
        channels == 1, lambda: rgb, lambda: _over_white(rgb, pixels[..., -1:])
    )


def _over_white(rgb, alpha):
    """Blends in integers, rounded; opaque pixels keep their exact value."""
    # The largest intermediate is 255 * 255 + 127, which 16 bits hold.
    rgb, alpha = tf.cast(rgb, tf.uint16), tf.cast(alpha, tf.uint16)
    blended = rgb * alpha + 255 * (255 - alpha)
    return tf.cast((blended + 127) // 255, tf.uint8)
