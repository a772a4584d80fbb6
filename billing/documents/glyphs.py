"""Which characters the vendored fonts can print.

PDF/A and PDF/UA forbid a character without a glyph, and one emoji in a
description must not hold up an invoice: such characters are printed as `□`.
The CSV and the e-invoice carry them unchanged.
"""

import struct
from functools import cache
from pathlib import Path

from billing.documents.words import one_line

FONTS = Path(__file__).parent / "fonts"
"""Source Sans 3, regular and semibold, under the SIL Open Font License (`LICENSE.md` there)."""
_REPLACEMENT = "□"


def printable(text: str) -> str:
    """Return `text` on one line with what the fonts cannot print as `□`."""
    line = one_line(text)
    if line.isascii():
        return line
    known = _covered()
    return "".join(character if ord(character) in known else _REPLACEMENT for character in line)


@cache
def _covered() -> frozenset[int]:
    """Return the code points that every vendored font has."""
    fonts = (_code_points(path.read_bytes()) for path in FONTS.glob("*.otf"))
    return frozenset.intersection(*fonts)


def _code_points(font: bytes) -> frozenset[int]:
    """Read the code points of a font's full Unicode `cmap` (OpenType specification, format 12)."""
    (table_count,) = struct.unpack_from(">H", font, 4)
    records = (struct.unpack_from(">4sIII", font, 12 + 16 * index) for index in range(table_count))
    cmap = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    (subtable_count,) = struct.unpack_from(">H", font, cmap + 2)
    for index in range(subtable_count):
        _, _, offset = struct.unpack_from(">HHI", font, cmap + 4 + 8 * index)
        start = cmap + offset
        if struct.unpack_from(">H", font, start) == (12,):
            (group_count,) = struct.unpack_from(">I", font, start + 12)
            groups = (
                struct.unpack_from(">III", font, start + 16 + 12 * group)
                for group in range(group_count)
            )
            return frozenset(code for first, last, _ in groups for code in range(first, last + 1))
    raise ValueError("the font has no full Unicode character map")
