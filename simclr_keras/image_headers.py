"""What an image file says of itself before it is decoded, as graph ops."""

import tensorflow as tf

# Enough for every field read below, and for every format's magic numbers.
_HEADER_BYTES = 64
_BMP_PALETTE_BYTES = 4 * 256
# What stands before a BMP's second header, whose length varies.
_BMP_FILE_HEADER = 14


def header(image_bytes):
    """The first 64 bytes of a file, zeros behind its end: [64] int64."""
    head = tf.strings.substr(image_bytes, 0, _HEADER_BYTES)
    padded = tf.strings.join([head, b"\0" * _HEADER_BYTES])
    raw = tf.io.decode_raw(padded, tf.uint8)[:_HEADER_BYTES]
    return tf.cast(raw, tf.int64)


def is_bmp(head):
    """Whether a file with this header is a BMP; bool scalar."""
    return _starts_with(head, b"BM")


def is_compressed_bmp(head):
    """Whether it is a BMP of 8 bits whose rows are run-length encoded."""
    return is_bmp(head) & (head[28] == 8) & (head[30] > 0)


def is_animated_webp(head):
    """Whether it is a WebP with more than one frame."""
    extended = _starts_with(head, b"RIFF") & _starts_with(head, b"VP8X", 12)
    return extended & ((head[20] & 2) > 0)


def declared_pixels(image_bytes, head):
    """Height times width as the file declares them; int64 scalar.

    0 where no known format's header is there. Decoding allocates what is
    declared, whatever the file's own length.
    """
    return tf.case(
        [
            (
                _starts_with(head, b"\xff\xd8\xff"),
                lambda: _jpeg_pixels(image_bytes),
            ),
            (
                _starts_with(head, b"\x89PNG"),
                lambda: _big_endian(head, 16, 4) * _big_endian(head, 20, 4),
            ),
            (
                _starts_with(head, b"GIF8"),
                lambda: _little_endian(head, 6, 2) * _little_endian(head, 8, 2),
            ),
            (is_bmp(head), lambda: _bmp_pixels(head)),
            (_starts_with(head, b"RIFF"), lambda: _webp_pixels(head)),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )


def bmp_palette(image_bytes, head):
    """The colours of a BMP of 8 bits: [256, 3] uint8, missing ones black."""
    start = _BMP_FILE_HEADER + _little_endian(head, 14, 4)
    rest = tf.cast(tf.strings.length(image_bytes), tf.int64) - start
    length = tf.minimum(rest, _BMP_PALETTE_BYTES)
    colours = tf.strings.substr(image_bytes, start, length)
    padded = tf.strings.join([colours, b"\0" * _BMP_PALETTE_BYTES])
    raw = tf.io.decode_raw(padded, tf.uint8)[:_BMP_PALETTE_BYTES]
    # Stored as blue, green, red, unused.
    return tf.reshape(raw, [256, 4])[:, 2::-1]


def _starts_with(head, magic, offset=0):
    expected = tf.constant(list(magic), tf.int64)
    return tf.reduce_all(head[offset : offset + len(magic)] == expected)


def _little_endian(head, offset, length):
    digits = head[offset : offset + length]
    weights = tf.constant([256**i for i in range(length)], tf.int64)
    return tf.reduce_sum(digits * weights)


def _big_endian(head, offset, length):
    digits = head[offset : offset + length]
    weights = [256**i for i in reversed(range(length))]
    return tf.reduce_sum(digits * tf.constant(weights, tf.int64))


def _jpeg_pixels(image_bytes):
    shape = tf.cast(tf.image.extract_jpeg_shape(image_bytes), tf.int64)
    return shape[0] * shape[1]


def _bmp_pixels(head):
    height = _little_endian(head, 22, 4)
    # A negative height says that rows are stored from the top.
    height = tf.where(height >= 2**31, 2**32 - height, height)
    return height * _little_endian(head, 18, 4)


def _webp_pixels(head):
    extended = (1 + _little_endian(head, 24, 3)) * (
        1 + _little_endian(head, 27, 3)
    )
    # 14 bits each, one less than the size, behind a signature byte.
    bits = _little_endian(head, 21, 4)
    lossless = (1 + bits % 2**14) * (1 + bits // 2**14 % 2**14)
    lossy = (_little_endian(head, 26, 2) % 2**14) * (
        _little_endian(head, 28, 2) % 2**14
    )
    return tf.where(
        _starts_with(head, b"VP8X", 12),
        extended,
        tf.where(_starts_with(head, b"VP8L", 12), lossless, lossy),
    )
