"""Quantities as they come on the wire, exact or refused. Pure."""

import re
from decimal import Decimal
from typing import Any

from psycopg.types.numeric import DecimalBinaryDumper

PLACES_MAX = 9
INTEGER_DIGITS_MAX = 18
_DIGITS_MAX = 64
_PLAIN = re.compile(r"[+-]?\d+(\.\d+)?", re.A)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
_REMEMBERED_MAX = 100_000


class QuantityRefused(Exception):
    """A value is not a quantity.

    Attributes:
        code: stable kebab-case reason.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def read_quantity(value: Any) -> Decimal:
    """Return the quantity that a decimal string, an int or a Decimal says.

    It is finite, at least nought, with at most 9 decimal places and 18 digits
    before the point; nothing is rounded. Noughts at the end are dropped.

    Raises:
        QuantityRefused: it is none.
    """
    if isinstance(value, str):
        if not _PLAIN.fullmatch(value):
            if _NOT_FINITE.fullmatch(value.strip()):
                raise QuantityRefused("quantity-not-finite", "A quantity is a finite number.")
            raise QuantityRefused(
                "quantity-not-a-number",
                'A quantity is a decimal string such as "1.5", or a number.',
            )
        if len(value) > _DIGITS_MAX:
            raise QuantityRefused("quantity-too-long", "A quantity has at most 64 characters.")
        exact = Decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**INTEGER_DIGITS_MAX:
            raise _too_large()
        exact = Decimal(value)
    elif isinstance(value, Decimal):
        exact = value
    else:
        raise QuantityRefused(
            "quantity-not-a-number", 'A quantity is a decimal string such as "1.5", or a number.'
        )
    if not exact.is_finite():
        raise QuantityRefused("quantity-not-finite", "A quantity is a finite number.")
    if not exact:
        return Decimal(0)
    if exact < 0:
        raise QuantityRefused(
            "quantity-negative", "A quantity is not negative; withdraw an event to take it back."
        )
    if exact.adjusted() >= INTEGER_DIGITS_MAX:
        raise _too_large()
    return _bare(exact)


def is_quantity(value: Any) -> bool:
    """Return whether `read_quantity` would take a value."""
    try:
        read_quantity(value)
    except QuantityRefused:
        return False
    return True


def _too_large() -> QuantityRefused:
    return QuantityRefused(
        "quantity-too-large",
        f"A quantity has at most {INTEGER_DIGITS_MAX} digits before the point.",
    )


def _bare(exact: Decimal) -> Decimal:
    """Return a positive decimal below 10^18 with neither exponent nor noughts at its end.

    Raises:
        QuantityRefused: it has more than 9 places.
    """
    _, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int), "it is finite"
    end = len(digits)
    while exponent < 0 and end > 1 and digits[end - 1] == 0:
        end, exponent = end - 1, exponent + 1
    if exponent < -PLACES_MAX:
        raise QuantityRefused(
            "quantity-too-precise", f"A quantity has at most {PLACES_MAX} decimal places."
        )
    if exponent > 0:
        return Decimal((0, (*digits[:end], *(0,) * exponent), 0))
    return Decimal((0, digits[:end], exponent))


_dumper = DecimalBinaryDumper(Decimal)


def packed_numeric(quantity: Decimal) -> bytes:
    """Return a quantity as an element of PostgreSQL's binary numeric array."""
    content = bytes(_dumper.dump(quantity) or b"")
    return len(content).to_bytes(4, "big") + content


ONE_PACKED = packed_numeric(Decimal(1))

remembered: dict[str, tuple[str, bytes]] = {}
"""Canonical text and binary form of usual quantities, by the text that was sent."""


def quantity_text_and_packed(value: Any) -> tuple[str, bytes]:
    """Return a value's canonical text and binary form; the usual ones are remembered.

    Raises:
        QuantityRefused: it is no quantity.
    """
    if type(value) is str:
        found = remembered.get(value)
        if found is not None:
            return found
    exact = read_quantity(value)
    answer = (str(exact), packed_numeric(exact))
    if type(value) is str:
        if len(remembered) >= _REMEMBERED_MAX:
            remembered.clear()
        remembered[value] = answer
    return answer
