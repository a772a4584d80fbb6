"""Typesetting by typst: tagged (PDF/UA-1), archivable (PDF/A-3a), the same bytes every time.

`style.typ` is what all documents share; each has a layout of its own after it.
"""

import json
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import typst

from billing.documents.glyphs import FONTS

STANDARDS: "list[typst.PDFStandard]" = ["ua-1", "a-3a"]
_TEMPLATES = Path(__file__).parent / "templates"
_compilers = threading.local()


def typeset(layout: str, page: Mapping[str, Any], *, timestamp: datetime) -> bytes:
    """Return a PDF.

    Args:
        layout: file name among the templates.
        page: every word that is printed, JSON-ready; it never becomes markup.
        timestamp: when the file says it was made.

    Raises:
        typst.TypstError: the layout is broken.
    """
    compiled = _compiler().compile(
        _source(layout),
        format="pdf",
        sys_inputs={"page": json.dumps(page, ensure_ascii=False)},
        pdf_standards=STANDARDS,
        timestamp=timestamp,
    )
    return cast(bytes, compiled)


def _compiler() -> typst.Compiler:
    """The thread's compiler, with the vendored fonts and no others."""
    if not hasattr(_compilers, "compiler"):
        fonts = typst.Fonts(
            include_system_fonts=False,
            include_embedded_fonts=False,
            font_paths=[FONTS],
        )
        _compilers.compiler = typst.Compiler(font_paths=fonts, ignore_system_fonts=True)
    return cast(typst.Compiler, _compilers.compiler)


@cache
def _source(layout: str) -> bytes:
    return (_TEMPLATES / "style.typ").read_bytes() + (_TEMPLATES / layout).read_bytes()
