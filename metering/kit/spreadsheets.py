"""What a spreadsheet would run as a formula when it opens a file. Pure."""

import re

# OWASP, "CSV injection"; the last four are the full-width twins some locales accept.
_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def is_formula(text: str) -> bool:
    """Return whether a text begins like a formula; a number with its sign does not."""
    return text[:1] in _STARTS and not _NUMBER.fullmatch(text)
