"""The icon that browsers show beside the title: a pair of quavers."""

import struct

_PICTURE = """
................
.....#########..
.....#########..
.....#########..
.....##.....##..
.....##.....##..
.....##.....##..
.....##.....##..
.....##.....##..
.....##.....##..
..#####..#####..
.######.######..
.######.######..
.#####..#####...
..###....###....
................
"""
_COLOUR = bytes((0x99, 0x6C, 0x1F, 0))  # blue, green, red: seen on light and on dark tabs


def _icon(picture: str) -> bytes:
    """Return a picture of 16 by 16 pixels as an icon of one colour (ICO with a bitmap of 1 bit)."""
    bits = [int(line.replace("#", "1").replace(".", "0"), 2) for line in picture.split()]
    rows = [line.to_bytes(2) + bytes(2) for line in reversed(bits)]
    clear = [(line ^ 0xFFFF).to_bytes(2) + bytes(2) for line in reversed(bits)]
    header = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 1, 0, 128, 0, 0, 2, 0)
    image = header + bytes(4) + _COLOUR + b"".join(rows + clear)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 2, 0, 1, 1, len(image), 22) + image


ICON = _icon(_PICTURE)
