"""How charges are named and compared; pure."""

import hashlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.rating.model import Charge, FrozenPool, PoolTotal, Position
from billing.rating.numbers import Exact, exact_text
from metering.periods import Month

ID_BYTES = 13


def fraction_text(number: Exact) -> str:
    """Write a number exactly, `numerator/denominator`.

    >>> fraction_text(Decimal("0.5"))
    '1/2'
    """
    over, under = number.as_integer_ratio()
    return f"{over}/{under}"


def read_fraction(text: str) -> Fraction:
    """Read what `fraction_text` wrote."""
    over, _, under = text.partition("/")
    return Fraction(int(over), int(under))


def charge_name(charge: Charge, *, month: Month, version_id: str) -> str:
    """Return what names a charge among those of its account.

    The charge's id is `chg_` and the digest of account id and name: the same whenever it is
    rated again.
    """
    return "\0".join(
        (
            str(month),
            version_id,
            charge.price_key,
            charge.scope,
            charge.group or "",
            charge.terms or "",
            charge.first_day.isoformat(),
        )
    )


def digest_bytes(*parts: str) -> bytes:
    """Return 13 bytes that stand for the parts in this order (104 bits of SHA-256)."""
    # A NUL between them: no text of the database can hold one, so no two lists look alike.
    return hashlib.sha256("\0".join(parts).encode()).digest()[:ID_BYTES]


def digest(*parts: str) -> str:
    """Return the 26 characters of `digest_bytes`."""
    return digest_bytes(*parts).hex()


SharedKey = tuple[str, str, str, str, str | None, str | None]


def shared_key(item: Charge | PoolTotal | FrozenPool) -> SharedKey:
    """Return what names a shared price: tariff, version, price, scope, group, terms.

    Only a group's own local agreement is part of the name; an account's is not.
    """
    terms = item.terms
    if isinstance(item, Charge) and item.scope != "group":
        terms = None
    return (item.tariff, item.version, item.price_key, item.scope, item.group, terms)


def position_json(position: Position) -> dict[str, Any]:
    """Return a position as JSON; `read_position` reads it back equal."""
    return {
        "group": position.group,
        "tariff": position.tariff,
        "price_key": position.price_key,
        "free_used": fraction_text(position.free_used),
        "billable": fraction_text(position.billable),
    }


def read_position(said: dict[str, Any], *, account: str | None) -> Position:
    """Read what `position_json` wrote; `account` is an ODS code, None for a joint position."""
    return Position(
        account=account,
        group=said["group"],
        tariff=said["tariff"],
        price_key=said["price_key"],
        free_used=_exact(said["free_used"]),
        billable=_exact(said["billable"]),
    )


def _exact(text: str) -> Exact:
    fraction = read_fraction(text)
    shown = Decimal(exact_text(fraction))
    return shown if Fraction(shown) == fraction else fraction
