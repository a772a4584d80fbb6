"""NHS numbers: recognised by their check digit, and masked wherever they stand.

Usage carries no patient. An NHS number is ten digits of which the last checks the
nine before it by modulus 11 (NHS Data Dictionary, *NHS NUMBER*): weights 10 down to
2, eleven less the remainder, 11 counting as 0, and 10 meaning that no such number
exists. One ten-digit number in eleven passes by chance; it is masked all the same.
"""

import re

MASK = "**********"

_SEPARATOR = "[ \\-\u00a0\u2007\u2009\u2010\u2011\u202f]"
# A UUID's hexadecimal digits can hold ten digits in a row that pass by chance.
_FOUND = re.compile(
    r"(?P<uuid>(?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F]))"
    rf"|(?<!\d)(?P<number>\d{{10}}|\d{{3}}{_SEPARATOR}\d{{3}}{_SEPARATOR}\d{{4}})(?!\d)"
)


def is_nhs_number(text: str) -> bool:
    """Say whether `text` is a valid NHS number, written together or as 3-3-4.

    >>> is_nhs_number("943 476 5919"), is_nhs_number("9991234501")
    (True, False)
    """
    found = _FOUND.fullmatch(text.strip())
    return found is not None and found["number"] is not None and _checks(found["number"])


def holds_nhs_number(text: str) -> bool:
    """Say whether a valid NHS number stands anywhere in `text`."""
    return any(match["number"] and _checks(match["number"]) for match in _FOUND.finditer(text))


def mask_nhs_numbers(text: str) -> str:
    """Return `text` with every valid NHS number replaced by ten stars.

    Ten digits that are part of a longer run of digits, or of a UUID, are no NHS
    number and stay.

    >>> mask_nhs_numbers("study of 943 476 5919, ward 4")
    'study of **********, ward 4'
    """

    def mask(match: re.Match[str]) -> str:
        number = match["number"]
        return MASK if number is not None and _checks(number) else match[0]

    return _FOUND.sub(mask, text)


def _checks(text: str) -> bool:
    digits = [int(character) for character in text if character.isdecimal()]
    total = sum(digit * weight for digit, weight in zip(digits[:9], range(10, 1, -1), strict=True))
    check = 11 - total % 11
    return digits[9] == (0 if check == 11 else check)
