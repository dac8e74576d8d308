"""What an image file says of itself before it is decoded, as graph ops."""

import tensorflow as tf

# Enough for every field read below, and for every format's magic numbers.
_HEADER_BYTES = 64
_BMP_PALETTE_BYTES = 4 * 256
# What stands before a BMP's second header, whose length varies.
_BMP_FILE_HEADER = 14
# Mark, place, size and flags.
_GIF_FRAME_HEADER = 10
# A PNG; or a JPEG where its tables come first, or right behind "JFIF".
_PLAIN = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff\xdb"),
    (0, b"\xff\xd8\xff\xe0\x00\x10"),
    (20, b"\xff\xdb"),
)
# Marker, length and the name "Exif" of a JPEG segment.
_SEGMENT_START = 10
# Of EXIF data, which are a TIFF file: https://www.cipa.jp/std/std-sec_e.html.
_TIFF_ENTRY = 12
_TIFF_SHORT = 3
_ORIENTATION = 0x0112


def header(image_bytes):
    """The first 64 bytes of a file, zeros behind its end: [64] int64."""
    head = tf.strings.substr(image_bytes, 0, _HEADER_BYTES)
    padded = tf.strings.join([head, b"\0" * _HEADER_BYTES])
    raw = tf.io.decode_raw(padded, tf.uint8)[:_HEADER_BYTES]
    return tf.cast(raw, tf.int64)


def is_plain(image_bytes):
    """Whether a file is a PNG, or a JPEG without EXIF data; bool scalar.

    Takes few operations; a rare JPEG without EXIF data may be missed.
    """
    padded = tf.strings.join(
        [tf.strings.substr(image_bytes, 0, 32), b"\0" * _HEADER_BYTES]
    )
    starts, found = zip(*_PLAIN, strict=True)
    parts = tf.strings.substr(padded, starts, [len(part) for part in found])
    is_there = parts == tf.constant(found)
    return is_there[0] | is_there[1] | (is_there[2] & is_there[3])


def is_bmp(head):
    """Whether a file with this header is a BMP; bool scalar."""
    return _starts_with(head, b"BM")


def is_gif(head):
    """Whether a file with this header is a GIF; bool scalar."""
    return _starts_with(head, b"GIF8")


def is_compressed_bmp(head):
    """Whether it is a BMP of 8 bits whose rows are run-length encoded."""
    return is_bmp(head) & (head[28] == 8) & (head[30] > 0)


def is_animated_webp(head):
    """Whether it is a WebP with more than one frame."""
    extended = _starts_with(head, b"RIFF") & _starts_with(head, b"VP8X", 12)
    return extended & ((head[20] & 2) > 0)


def declared_pixels(image_bytes):
    """Height times width as the file declares them; int64 scalar.

    0 where no known format's header is there. Decoding allocates what is
    declared, whatever the file's own length.
    """
    head = header(image_bytes)
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
                is_gif(head),
                lambda: tf.maximum(
                    _little_endian(head, 6, 2) * _little_endian(head, 8, 2),
                    _gif_frame(image_bytes, head)[0],
                ),
            ),
            (is_bmp(head), lambda: _bmp_pixels(head)),
            (_starts_with(head, b"RIFF"), lambda: _webp_pixels(head)),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )


def without_animation(image_bytes, head):
    """A GIF cut behind its first frame; decoders would hold all frames."""
    end = tf.cast(_gif_frame(image_bytes, head)[1], tf.int32)
    return tf.strings.join([tf.strings.substr(image_bytes, 0, end), b";"])


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


def orientation(image_bytes, head):
    """How a JPEG photo was held, 1 to 8 as EXIF numbers it; int64 scalar.

    1, upright, where nothing is said. EXIF data are looked for in the
    application segments and comments at the beginning, where they belong.
    """
    is_jpeg = _starts_with(head, b"\xff\xd8\xff")
    return tf.cond(
        is_jpeg & _is_metadata(head[2:]),
        lambda: _jpeg_orientation(image_bytes),
        lambda: tf.constant(1, tf.int64),
    )


def _is_metadata(segment):
    kind = segment[1]
    is_application = (kind >= 0xE0) & (kind < 0xF0)
    return (segment[0] == 0xFF) & (is_application | (kind == 0xFE))


def _jpeg_orientation(image_bytes):
    num_bytes = tf.cast(tf.strings.length(image_bytes), tf.int64)

    def start_of(position):
        position = tf.minimum(position, num_bytes)
        content = tf.strings.substr(image_bytes, position, _SEGMENT_START)
        return header(content)

    def is_exif(segment):
        is_first = _starts_with(segment, b"\xff\xe1")
        return is_first & _starts_with(segment, b"Exif\0\0", 4)

    def has_another_before(position, segment):
        inside = position + _SEGMENT_START <= num_bytes
        return inside & _is_metadata(segment) & ~is_exif(segment)

    def following(position, segment):
        position = position + 2 + _big_endian(segment, 2, 2)
        return position, start_of(position)

    first = tf.constant(2, tf.int64)
    position, segment = tf.while_loop(
        has_another_before, following, (first, start_of(first))
    )
    start = tf.minimum(position + _SEGMENT_START, num_bytes)
    length = tf.maximum(_big_endian(segment, 2, 2) + 2 - _SEGMENT_START, 0)
    return tf.cond(
        is_exif(segment),
        lambda: _tiff_orientation(
            tf.strings.substr(image_bytes, start, length)
        ),
        lambda: tf.constant(1, tf.int64),
    )


def _tiff_orientation(content):
    """Of the TIFF directory inside EXIF data."""
    head = header(content)
    is_little = _starts_with(head, b"II*\0")
    num_bytes = tf.cast(tf.strings.length(content), tf.int64)

    def number(digits, length):
        """Of the last axis, in the byte order of the file."""
        weights = tf.constant([256**i for i in range(length)], tf.int64)
        weights = tf.where(is_little, weights, tf.reverse(weights, [0]))
        return tf.reduce_sum(digits * weights, axis=-1)

    start = tf.minimum(number(head[4:8], 4), num_bytes)
    count = number(header(tf.strings.substr(content, start, 2))[:2], 2)
    start = tf.minimum(start + 2, num_bytes)
    count = tf.minimum(count, (num_bytes - start) // _TIFF_ENTRY)
    entries = tf.strings.substr(content, start, count * _TIFF_ENTRY)
    entries = tf.cast(tf.io.decode_raw(entries, tf.uint8), tf.int64)
    entries = tf.reshape(entries, [-1, _TIFF_ENTRY])
    found = tf.boolean_mask(
        number(entries[:, 8:10], 2),
        (number(entries[:, :2], 2) == _ORIENTATION)
        & (number(entries[:, 2:4], 2) == _TIFF_SHORT),
    )
    value = tf.concat([found, [1]], 0)[0]
    is_tiff = is_little | _starts_with(head, b"MM\0*")
    return tf.where(is_tiff & (value >= 1) & (value <= 8), value, 1)


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


def _gif_frame(image_bytes, head):
    """(pixels that the first frame of a GIF declares, where it ends)."""
    raw = tf.cast(tf.io.decode_raw(image_bytes, tf.uint8), tf.int32)
    length = tf.size(raw)
    # So that a header that is cut off can be read, too.
    raw = tf.concat([raw, tf.zeros([_GIF_FRAME_HEADER], tf.int32)], 0)

    def byte(position):
        # Conditions are computed whole.
        return raw[tf.minimum(position, length)]

    def behind_blocks(position):
        """Data are blocks that begin with their length, up to an empty one."""
        (position,) = tf.while_loop(
            lambda at: (at < length) & (byte(at) > 0),
            lambda at: [at + byte(at) + 1],
            [position],
        )
        return tf.minimum(position + 1, length)

    def behind_palette(position, flags):
        size = 3 * tf.bitwise.left_shift(2, flags % 8)
        there = tf.cast(flags >= 128, tf.int32)
        return tf.minimum(position + size * there, length)

    (start,) = tf.while_loop(
        # Comments, delays and the like.
        lambda at: (at < length) & (byte(at) == 0x21),
        lambda at: [behind_blocks(tf.minimum(at + 2, length))],
        [behind_palette(13, tf.cast(head[10], tf.int32))],
    )
    frame = tf.cast(raw[start : start + _GIF_FRAME_HEADER], tf.int64)
    pixels = _little_endian(frame, 5, 2) * _little_endian(frame, 7, 2)
    data = behind_palette(
        start + _GIF_FRAME_HEADER, tf.cast(frame[9], tf.int32)
    )
    # One byte for the width of codes.
    return pixels, behind_blocks(tf.minimum(data + 1, length))


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
