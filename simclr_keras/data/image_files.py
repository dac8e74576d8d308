"""What image files say of themselves, read without decoding them.

Plain Python: a folder is judged before TensorFlow is imported. The format
is told from the content; names lie.
"""

import os
import struct
import typing

from simclr_keras.data import exif

# 400 MB of RGB pixels for each decoding thread: 12,000 x 9,000 passes. A
# small file may declare far more than it holds.
MAX_PIXELS = 2**27

EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp".split()
)
# Formats that TensorFlow does not decode: reported rather than ignored.
OTHER_EXTENSIONS = frozenset(
    ".tif .tiff .heic .heif .avif .jxl .jp2 .ico .psd .tga .dcm".split()
)

_HEAD = 64
_TAIL = 64
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
)
_NOT_DECODED = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftyp", "HEIC or AVIF"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"8BPS", "Photoshop"),
    (128, b"DICM", "DICOM"),
)
# Frame headers of a JPEG; the other markers in this range are tables.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended, progressive; the rest is lossless or arithmetic.
_JPEG_USUAL = (0xC0, 0xC1, 0xC2)


class Header(typing.NamedTuple):
    """Height and width in pixels, and whether the file looks decodable.

    Height and width are those of the upright image where EXIF data say that
    a photo was taken with the camera held otherwise.

    `sound` is False if the end is not where it should be, or a rare variant
    is used: only decoding the file tells.
    """

    height: int
    width: int
    sound: bool


def is_name(extension):
    """Whether files with this extension, `.jpg`, are taken for images."""
    return extension in EXTENSIONS or extension in OTHER_EXTENSIONS


def header(path, num_bytes):
    """The `Header` of an image file of `num_bytes` bytes.

    Raises:
        ValueError: with the reason in a few words, if it is not an image
            that can be decoded.
        OSError: if it cannot be read.
    """
    if num_bytes == 0:
        raise ValueError("empty file")
    with open(path, "rb") as file:
        head = file.read(_HEAD).ljust(_HEAD, b"\0")
        kind = _kind(head, file)
        found = _READERS[kind](head, file, num_bytes)
    if found.height < 1 or found.width < 1:
        raise ValueError(f"{kind} header without a size")
    if found.height * found.width > MAX_PIXELS:
        raise ValueError(
            f"{found.width} x {found.height} pixels, more than "
            f"{MAX_PIXELS:,} in all"
        )
    return found


def _kind(head, file):
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    head += file.read(_HEAD + 4)
    for offset, signature, kind in _NOT_DECODED:
        if head.startswith(signature, offset):
            raise ValueError(f"{kind} is not supported; convert it to PNG")
    raise ValueError("not an image")


def _tail(file):
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - _TAIL, 0))
    return file.read()


def _png(head, file, num_bytes):
    return Header(
        int.from_bytes(head[20:24], "big"),
        int.from_bytes(head[16:20], "big"),
        b"IEND" in _tail(file),
    )


def _gif(head, file, num_bytes):
    width, height = struct.unpack("<HH", head[6:10])
    frame = _gif_frame(head, file)
    # What is allocated for the first frame, which should fit in.
    if frame and frame[0] * frame[1] > MAX_PIXELS:
        width, height = frame
    return Header(height, width, bool(frame) and b"\x3b" in _tail(file))


def _gif_frame(head, file):
    """(width, height) of the first frame; None if the file ends before."""
    palette = 3 << (head[10] % 8 + 1) if head[10] >= 128 else 0
    file.seek(13 + palette)
    # Comments, delays and the like: a label, then blocks that begin with
    # their length, up to an empty one.
    while (kind := file.read(1)) == b"!":
        file.seek(1, os.SEEK_CUR)
        while length := file.read(1).strip(b"\0"):
            file.seek(length[0], os.SEEK_CUR)
    frame = file.read(8)
    if kind != b"," or len(frame) < 8:
        return None
    return struct.unpack("<HH", frame[4:])


def _bmp(head, file, num_bytes):
    bits = int.from_bytes(head[28:30], "little")
    compressed = int.from_bytes(head[30:34], "little") in (1, 2)
    if bits not in (8, 24, 32) or compressed:
        raise ValueError("BMP is compressed or has fewer than 8 bits")
    width = int.from_bytes(head[18:22], "little", signed=True)
    # Negative: rows are stored from the top.
    height = abs(int.from_bytes(head[22:26], "little", signed=True))
    pixels = int.from_bytes(head[10:14], "little")
    row = (bits * width + 31) // 32 * 4
    return Header(height, width, pixels + row * height <= num_bytes)


def _webp(head, file, num_bytes):
    chunk = head[12:16]
    sound = int.from_bytes(head[4:8], "little") + 8 <= num_bytes
    if chunk == b"VP8X":
        if head[20] & 2:
            raise ValueError("animated WebP is not supported")
        width = 1 + int.from_bytes(head[24:27], "little")
        height = 1 + int.from_bytes(head[27:30], "little")
    elif chunk == b"VP8L":
        # 14 bits each, one less than the size, behind a signature byte.
        bits = int.from_bytes(head[21:25], "little")
        width, height = 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    else:
        width = int.from_bytes(head[26:28], "little") % 2**14
        height = int.from_bytes(head[28:30], "little") % 2**14
    return Header(height, width, sound)


def _jpeg(head, file, num_bytes):
    # From 5 on, height and width change places.
    lies_on_its_side = exif.orientation(file) > 4
    file.seek(2)
    while True:
        marker = _jpeg_marker(file)
        length = int.from_bytes(_exactly(file, 2), "big")
        if marker not in _JPEG_FRAMES:
            file.seek(length - 2, os.SEEK_CUR)
            continue
        frame = _exactly(file, 5)
        usual = marker in _JPEG_USUAL and frame[0] == 8
        height = int.from_bytes(frame[1:3], "big")
        width = int.from_bytes(frame[3:5], "big")
        if lies_on_its_side:
            height, width = width, height
        return Header(
            height,
            width,
            usual and b"\xff\xd9" in _tail(file),
        )


def _jpeg_marker(file):
    """The next marker's second byte; any number of 0xff may come before."""
    byte = b"\xff"
    while byte == b"\xff":
        byte = _exactly(file, 1)
    return byte[0]


def _exactly(file, count):
    content = file.read(count)
    if len(content) < count:
        raise ValueError("JPEG header is cut off")
    return content


_READERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WebP": _webp,
}
