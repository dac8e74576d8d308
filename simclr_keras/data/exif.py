"""How a photo was held, from its EXIF data; plain Python.

`image_headers.orientation` finds the same by the same rule in a graph.
"""

_TAG = 0x0112
_SHORT = 3
_ENTRY = 12
_ORDERS = {b"II*\0": "little", b"MM\0*": "big"}


def orientation(file):
    """1 to 8 as EXIF numbers them, 1 (upright) where there is none.

    EXIF data are looked for in the application segments and comments at the
    beginning of a JPEG, which is where they belong.

    Args:
        file: binary file that begins as a JPEG does.
    """
    position = 2
    while True:
        file.seek(position)
        start = file.read(10)
        is_segment = len(start) == 10 and start[0] == 0xFF
        if not is_segment or start[1] not in (*range(0xE0, 0xF0), 0xFE):
            return 1
        length = int.from_bytes(start[2:4], "big")
        if start[1] == 0xE1 and start[4:] == b"Exif\0\0":
            return _of_tiff(file.read(max(length - 8, 0)))
        position += 2 + length


def _of_tiff(content):
    order = _ORDERS.get(content[:4])
    if order is None:
        return 1

    def number(start, length):
        return int.from_bytes(content[start : start + length], order)

    first = number(4, 4) + 2
    end = min(first + _ENTRY * number(first - 2, 2), len(content) - _ENTRY + 1)
    for start in range(first, end, _ENTRY):
        if number(start, 2) == _TAG and number(start + 2, 2) == _SHORT:
            value = number(start + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
