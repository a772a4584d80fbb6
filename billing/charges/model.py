"""How charges are named and compared; pure."""

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.rating.model import Charge, FrozenPool, PoolTotal, Position
from billing.rating.numbers import Exact, exact_text
from metering.periods import Month


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


def digest(*parts: str) -> str:
    """Return 26 characters that stand for the parts in this order (104 bits of SHA-256)."""
    # A NUL between them: no text of the database can hold one, so no two lists look alike.
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:26]


SharedKey = tuple[str, str, str, str, str | None, str | None]


def shared_key(item: Charge | PoolTotal | FrozenPool) -> SharedKey:
    """Return what names a shared price: tariff, version, price, scope, group, terms.

    Only a group's own local agreement is part of the name; an account's is not.
    """
    terms = item.terms
    if isinstance(item, Charge) and item.scope != "group":
        terms = None
    return (item.tariff, item.version, item.price_key, item.scope, item.group, terms)


def result_fingerprint(charges: Iterable[Charge], *, joint: Mapping[SharedKey, str]) -> str:
    """Return a text that changes when any charge of an account, or its working, does.

    Args:
        joint: what the working of a shared price says about the others.
    """
    parts: list[str] = []
    for charge in charges:
        parts += (
            charge.tariff,
            charge.version,
            charge.price_key,
            charge.scope,
            charge.group or "",
            charge.terms or "",
            charge.label,
            charge.vat,
            str(charge.first_day),
            str(charge.end_day),
            str(charge.quantity),
            fraction_text(charge.exact),
            str(charge.amount),
            str(charge.alone_amount),
            joint.get(shared_key(charge), ""),
        )
    return digest(*parts)


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
