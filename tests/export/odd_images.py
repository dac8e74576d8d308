"""Image files of every kind, and what is none."""

import base64
import io
import struct

import numpy as np
from PIL import Image


def encoded(form, height=20, width=30, seed=0, **options):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


JPEG = encoded("JPEG")
PNG = encoded("PNG", 41, 17)
# A size of 2**31 - 1 squared, as large as PNG can declare.
BOMB = PNG[:16] + b"\x7f\xff\xff\xff" * 2 + PNG[24:]
ANIMATED = {
    "save_all": True,
    "append_images": [Image.new("RGB", (30, 20))],
}


def converted(form, mode, **options):
    image = Image.open(io.BytesIO(PNG)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def deep_png():
    image = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def patched(content, offset, replacement):
    end = offset + len(replacement)
    return content[:offset] + replacement + content[end:]


def gif_frame(width, height):
    """A GIF whose canvas is small, and its frame as large as given."""
    content = encoded("GIF")
    descriptor = b"\x2c" + struct.pack("<HHHH", 0, 0, 30, 20)
    size = struct.pack("<HH", width, height)
    return patched(content, content.index(descriptor) + 5, size)


GOOD = {
    "jpeg": JPEG,
    "grey jpeg": converted("JPEG", "L"),
    "cmyk jpeg": converted("JPEG", "CMYK"),
    "progressive jpeg": converted("JPEG", "RGB", progressive=True),
    "png": PNG,
    "palette png": converted("PNG", "P"),
    "transparent png": converted("PNG", "RGBA"),
    "grey png": converted("PNG", "LA"),
    "black and white png": converted("PNG", "1"),
    "16-bit png": deep_png(),
    "gif": encoded("GIF"),
    "animated gif": encoded("GIF", **ANIMATED),
    "palette bmp": converted("BMP", "P"),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP"),
    "one pixel": encoded("PNG", 1, 1),
}
BAD = {
    "empty": b"",
    "text": b"GET / HTTP/1.1",
    "magic number only": JPEG[:3],
    "truncated jpeg": JPEG[: len(JPEG) // 2],
    "truncated png": PNG[: len(PNG) // 2],
    "damaged png": PNG[:100] + b"damage" + PNG[106:],
    "bomb": BOMB,
    "tiff": encoded("TIFF"),
    "animated webp": encoded("WEBP", **ANIMATED),
    "zeros": bytes(1000),
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "base64": base64.b64encode(JPEG),
    "heic": b"\0\0\0\x18ftypheic" + bytes(100),
    "avif": b"\0\0\0\x18ftypavif" + bytes(100),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "ico": b"\0\0\x01\0" + bytes(100),
    "pdf": b"%PDF-1.7" + bytes(100),
    "url": b"https://example.com/cat.jpg",
    "path": b"/images/cat.jpg",
    "data url": b"data:image/jpeg;base64," + base64.b64encode(JPEG),
    "text in UTF-16": "cat.jpg".encode("utf-16"),
    "space before a jpeg": b" " + JPEG,
    "json": b'{"b64": "/9j/4AAQ"}',
    "numpy array": b"\x93NUMPY\x01\x00" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "jpeg without its end": JPEG[:-2],
    "jpeg header only": JPEG[: JPEG.index(b"\xff\xda")],
    "jpeg cut behind two bytes": JPEG[:2],
    "jpeg of no height": patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\0\0"),
    "jpeg bomb": patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\xff" * 4),
    "png signature only": PNG[:8],
    "png header only": PNG[:33],
    "png of no width": patched(PNG, 16, bytes(4)),
    "png with a wrong checksum": patched(PNG, 29, b"oops"),
    "png without its end": PNG[:-40],
    "gif header only": encoded("GIF")[:13],
    "gif cut off": encoded("GIF")[:-100],
    "gif bomb": patched(encoded("GIF"), 6, b"\xff" * 4),
    "gif frame bomb": gif_frame(60000, 50000),
    "bmp header only": encoded("BMP")[:54],
    "bmp cut off": encoded("BMP")[:-100],
    "bmp bomb": patched(encoded("BMP"), 18, b"\xff\xff\0\0" * 2),
    "compressed bmp": patched(converted("BMP", "P"), 30, b"\x01"),
    "webp header only": encoded("WEBP")[:30],
    "webp cut off": encoded("WEBP")[:-100],
    "webp bomb": patched(
        converted("WEBP", "RGBA", exif=b"Exif\0\0"), 24, b"\xff" * 6
    ),
}
