"""`estimate`: rating of supposed usage, in the JSON of DESIGN §5.

The command line, the API and the conformance vectors all come through here. The
organisations named in the usage are taken to be on the tariff for the whole month
and in the national pool, and nobody else is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.money import plain, sum_pounds
from billing.rating.engine import rate_month
from billing.rating.model import Agreement, GroupMembership, RatingResult, Usage
from billing.tariffs.reading import NUMBER
from billing.tariffs.terms import Tariff
from metering.kit.errors import FieldError, Invalid
from metering.periods import Month, london

_FIELDS = frozenset({"organisation", "meter", "quantity", "dimensions", "at"})
_GROUP = GroupMembership("estimate")


class UsageRefused(Invalid):
    """Supposed usage breaks a rule; `errors` lists every fault by JSON pointer."""

    code = "usage-invalid"
    title = "The usage breaks a rule"


def estimate(tariff: Tariff, usage: object, *, month: Month) -> dict[str, Any]:
    """Rate supposed usage and return `{"charges": [...], "total": "…"}`.

    Each charge has `organisation`, `meter`, `price` (its key), `quantity` (as
    metered), `exact` (unrounded; cut after 20 places where it never ends), `amount`
    (pounds and pence) and `working`. Usage that has no price is listed under
    `parked`, which is there only then. A price of scope group is shared by all
    organisations in the usage.

    Args:
        usage: a list of `{organisation, meter, quantity, dimensions?, at?}`; without
            `at` it happens at the first midnight of the month.

    Raises:
        UsageRefused: with every fault of the usage.
    """
    rows = parse_usage(usage, month=month)
    return estimate_document(
        rate_month(
            month=month,
            tariffs=[tariff],
            agreements=[
                Agreement(account, tariff.code, month.first_day, groups=(_GROUP,))
                for account in sorted({row.account for row in rows})
            ],
            usage=rows,
        )
    )


def estimate_document(result: RatingResult) -> dict[str, Any]:
    """Return a rating as the estimate's JSON-ready object."""
    document: dict[str, Any] = {
        "charges": [
            {
                "organisation": charge.account,
                "meter": charge.meter,
                "price": charge.price_key,
                "quantity": plain(charge.quantity),
                "exact": charge.exact_text,
                "amount": f"{charge.amount:.2f}",
                "working": list(charge.working),
            }
            for charge in result.charges
        ],
        "total": f"{sum_pounds([charge.amount for charge in result.charges]):.2f}",
    }
    if result.parked:
        document["parked"] = [
            {
                "organisation": parked.account,
                "meter": parked.meter,
                "dimensions": dict(parked.dimensions),
                "quantity": plain(parked.quantity),
                "reason": parked.reason,
                "detail": parked.detail,
            }
            for parked in result.parked
        ]
    return document


def parse_usage(usage: object, *, month: Month) -> tuple[Usage, ...]:
    """Read the usage document of an estimate.

    Raises:
        UsageRefused: with every fault found.
    """
    faults: list[FieldError] = []
    rows: list[Usage] = []
    if not isinstance(usage, Sequence) or isinstance(usage, str | bytes):
        faults.append(FieldError("", "not-a-list", "Usage is a list of objects."))
        usage = ()
    for index, item in enumerate(usage):
        row = _row(item, f"/{index}", month, faults)
        if row is not None:
            rows.append(row)
    if faults:
        things = "thing needs" if len(faults) == 1 else "things need"
        raise UsageRefused(
            f"{len(faults)} {things} putting right in the usage", errors=tuple(faults)
        )
    return tuple(rows)


def _row(item: object, at: str, month: Month, faults: list[FieldError]) -> Usage | None:
    before = len(faults)

    def fault(field: str, code: str, detail: str) -> None:
        faults.append(FieldError(f"{at}{field}", code, detail))

    if not isinstance(item, Mapping):
        fault("", "not-an-object", "Each piece of usage is an object.")
        return None
    for name in sorted(set(map(str, item)) - _FIELDS):
        fault(f"/{name}", "unknown-field", f"There is no field '{name}' in usage.")
    words = {}
    for name in ("organisation", "meter"):
        word = item.get(name)
        if isinstance(word, str) and word.strip():
            words[name] = word
        else:
            fault(f"/{name}", "required", f"'{name}' is text.")
    quantity = _quantity(item.get("quantity"))
    if isinstance(quantity, str):
        fault("/quantity", "bad-quantity", quantity)
    dimensions = item.get("dimensions") or {}
    if not isinstance(dimensions, Mapping) or not all(
        isinstance(text, str) for pair in dimensions.items() for text in pair
    ):
        fault("/dimensions", "bad-dimensions", "Dimensions are names, each with a text value.")
        dimensions = {}
    when = datetime.combine(month.first_day, datetime.min.time())
    if item.get("at") is not None:
        try:
            when = london(datetime.fromisoformat(item["at"]))
        except (TypeError, ValueError):
            fault("/at", "bad-instant", "'at' is an instant with its offset from UTC (RFC 3339).")
        else:
            if Month.of_day(when.date()) != month:
                fault("/at", "outside-month", f"'at' falls outside {month.name} in London.")
    if len(faults) > before or isinstance(quantity, str):
        return None
    return Usage(
        account=words["organisation"],
        meter=words["meter"],
        quantity=quantity,
        day=when.date(),
        dimensions=tuple(sorted(dimensions.items())),
        hour=when.hour,
    )


def _quantity(value: object) -> Decimal | str:
    """Return the quantity, or a sentence that says what is wrong with it."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return 'A quantity is a number in quotes, such as "21.5".'
    if not NUMBER.fullmatch(value):
        return f"'{value}' is not a number."
    number = Decimal(value)
    if number < 0:
        return "A quantity is nought or more."
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -9:
        return "A quantity has at most nine places."
    if number >= Decimal(10) ** 27:
        return "A quantity has at most 27 digits."
    return number
