"""What goes on the wire: CloudEvents 1.0, built and checked without any I/O.

Faults found here are programming errors of the host (a float quantity, a naive
instant): they raise `TypeError` or `ValueError` at the call. Everything that
only the register of meters and organisations can know is left to the API.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, Inexact, InvalidOperation, localcontext
from typing import Any

from metering.periods import to_utc

WITHDRAWAL_TYPE = "uk.paygo.withdrawal"
PLACES = 9
INTEGER_DIGITS = 18
MAX_EVENT_BYTES = 64 * 1024
_LAST_PLACE = Decimal(1).scaleb(-PLACES)

Event = dict[str, Any]


def write_quantity(quantity: Decimal | int | str) -> str:
    """Return a quantity as the plain decimal string of the wire, for example `"1.5"`.

    Args:
        quantity: exact, at least nought, at most 9 decimal places and 18 integer digits.

    Raises:
        TypeError: it is a float, a bool or no number at all.
        ValueError: it is not finite, negative, too precise or too large.
    """
    if isinstance(quantity, bool) or not isinstance(quantity, Decimal | int | str):
        raise TypeError(
            f"a quantity is a Decimal, an int or a decimal string, not {type(quantity).__name__}"
        )
    try:
        exact = Decimal(quantity)
    except InvalidOperation:
        raise ValueError(f"{quantity!r} is not a decimal number") from None
    if not exact.is_finite():
        raise ValueError("a quantity is finite")
    if exact < 0:
        raise ValueError("a quantity is not negative; use withdraw() to cancel an event")
    if exact and exact.adjusted() >= INTEGER_DIGITS:
        raise ValueError(f"a quantity has at most {INTEGER_DIGITS} digits before the point")
    exponent = exact.as_tuple().exponent
    if isinstance(exponent, int) and not -PLACES <= exponent <= 0:
        with localcontext() as context:
            context.prec = INTEGER_DIGITS + PLACES
            context.traps[Inexact] = True
            try:
                exact = exact.quantize(_LAST_PLACE if exponent < 0 else Decimal(1))
            except Inexact:
                raise ValueError(f"a quantity has at most {PLACES} decimal places") from None
    return format(abs(exact), "f")


def write_instant(instant: datetime) -> str:
    """Return an aware instant as RFC 3339 in UTC with microseconds.

    Raises:
        TypeError: it is not a datetime.
        ValueError: it has no time zone.
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"an instant is an aware datetime, not {type(instant).__name__}")
    return to_utc(instant).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def text(value: object, name: str) -> str:
    """Return `value`, a string that holds more than white space.

    Raises:
        TypeError: it is not a string.
        ValueError: it is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} is empty")
    return value


def usage(
    *,
    event_id: str,
    source: str,
    event_type: str,
    organisation: str,
    at: datetime,
    quantity: Decimal | int | str | None,
    quantity_field: str,
    dimensions: Mapping[str, str] | None,
    replaces: str | None = None,
) -> Event:
    """Return a usage event; `replaces` names the event it stands in for.

    Raises:
        TypeError: a member has the wrong type.
        ValueError: a member has the right type and a senseless value.
    """
    members: dict[str, str] = {}
    if quantity is not None:
        members[text(quantity_field, "quantity_field")] = write_quantity(quantity)
    for name, value in (dimensions or {}).items():
        if text(name, "a dimension's name") in members:
            raise ValueError(f"'{name}' is the quantity's field and cannot be a dimension too")
        if not isinstance(value, str):
            raise TypeError(f"dimension '{name}' is a string, not {type(value).__name__}")
        members[name] = value
    event = _envelope(event_id, source, event_type, organisation, at)
    if replaces is not None:
        event["replaces"] = text(replaces, "the replaced event's id")
    event["data"] = members
    return event


def withdrawal(
    *,
    event_id: str,
    source: str,
    withdrawn: str,
    organisation: str,
    reason: str,
    at: datetime,
) -> Event:
    """Return the event that cancels the event with the id `withdrawn`.

    Raises:
        TypeError: a member has the wrong type.
        ValueError: a member has the right type and a senseless value.
    """
    withdrawn = text(withdrawn, "the withdrawn event's id")
    event = _envelope(event_id, source, WITHDRAWAL_TYPE, organisation, at)
    event["withdraws"] = withdrawn
    event["data"] = {"event": withdrawn, "reason": text(reason, "reason")}
    return event


def _envelope(
    event_id: str, source: str, event_type: str, organisation: str, at: datetime
) -> Event:
    return {
        "specversion": "1.0",
        "id": text(event_id, "event_id"),
        "source": text(source, "source"),
        "type": text(event_type, "event_type"),
        "subject": text(organisation, "organisation"),
        "time": write_instant(at),
    }


def encode(event: Event) -> bytes:
    """Return the event as one line of compact JSON, without the line's end.

    Raises:
        ValueError: it is over 64 KiB, or holds text that UTF-8 cannot carry.
    """
    encoded = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) > MAX_EVENT_BYTES:
        raise ValueError(f"an event has at most {MAX_EVENT_BYTES} bytes, not {len(encoded)}")
    return encoded
