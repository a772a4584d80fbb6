"""The working of a charge: named steps, in words that a finance officer can follow.

While rating, a step is only a name and the values it used; it is put into words
when somebody asks, which keeps a national run fast. Steps come in this order,
and one that does nothing is left out: convert, include, price, share, discount,
maximum, minimum, round. A shortfall has `commit` and `round`.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from billing.money import plain, show_pounds
from billing.rating.numbers import Exact, add, divide, exact_text, show_exact_pounds, show_quantity
from billing.rating.prices import packages, slices, tier_of
from billing.tariffs.terms import Price
from metering.periods import show_date


class Step(NamedTuple):
    """A step's name and its values; `write_working` puts it into words."""

    name: str
    values: tuple[Any, ...]


class JointWalk:
    """The one walk of a joint quantity, put into words once for all members of a pool."""

    __slots__ = ("_said", "amount", "price", "quantity", "start")

    def __init__(self, price: Price, start: Exact, quantity: Exact, amount: Exact) -> None:
        self.price = price
        self.start = start
        self.quantity = quantity
        self.amount = amount
        self._said: dict[str, Any] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JointWalk) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        return self.price, self.start, self.quantity, self.amount

    def said(self) -> dict[str, Any]:
        """Return figures and words of the walk; the caller must not change them."""
        if self._said is None:
            quantity, amount = self.quantity, self.amount
            blended = divide(amount, quantity) if quantity else Decimal(0)
            self._said = {
                "quantity": exact_text(quantity),
                "quantity_words": show_quantity(quantity),
                "amount": exact_text(amount),
                "amount_words": show_exact_pounds(amount),
                "blended": exact_text(blended),
                "blended_words": show_exact_pounds(blended),
                "working": _price(
                    self.price, self.start, quantity, add(self.start, quantity), amount, 0, 0
                ),
            }
        return self._said


def write_working(steps: tuple[Step, ...]) -> tuple[dict[str, Any], ...]:
    """Return the steps as JSON-ready objects: `step`, `text`, and every figure a string."""
    return tuple({"step": step.name} | _WRITERS[step.name](*step.values) for step in steps)


def _convert(metered: Decimal, divide_by: Decimal, unit: str, quantity: Exact) -> dict[str, Any]:
    return {
        "text": f"{show_quantity(metered)} metered ÷ {show_quantity(divide_by)} = "
        f"{show_quantity(quantity)} {unit}.",
        "metered": plain(metered),
        "divide_by": plain(divide_by),
        "unit": unit,
        "quantity": exact_text(quantity),
    }


def _include(
    quantity: Exact, allowance: Decimal, per: str, used_before: Exact, free: Exact, billable: Exact
) -> dict[str, Any]:
    span = "month" if per == "month" else "financial year"
    before = f", {show_quantity(used_before)} of them used before" if used_before else ""
    return {
        "text": f"{show_quantity(allowance)} are included each {span}{before}: "
        f"{show_quantity(free)} of {show_quantity(quantity)} cost nothing and "
        f"{show_quantity(billable)} are charged.",
        "quantity": exact_text(quantity),
        "included": plain(allowance),
        "per": per,
        "used_before": exact_text(used_before),
        "free": exact_text(free),
        "billable": exact_text(billable),
    }


def _price(
    price: Price, start: Exact, quantity: Exact, total: Exact, amount: Exact, days: int, of: int
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "text": "",
        "model": price.model,
        "quantity": exact_text(quantity),
        "amount": exact_text(amount),
    }
    comes_to = show_exact_pounds(amount)
    if price.model == "flat":
        of_month = "" if days == of else f" × {days} of the month's {of} days"
        said["text"] = f"{_pounds(price.amount)} a month{of_month} = {comes_to}."
        said |= {"days": str(days), "of_days": str(of), "monthly": _text(price.amount)}
        said.pop("quantity")
    elif not quantity:
        said["text"] = "Nothing to charge for."
    elif price.model == "per-unit":
        said["text"] = f"{show_quantity(quantity)} × {_pounds(price.unit_price)} = {comes_to}."
        said["unit_price"] = _text(price.unit_price)
    elif price.model == "percentage":
        said["text"] = f"{_text(price.percent)}% of {show_exact_pounds(quantity)} = {comes_to}."
        said["percent"] = _text(price.percent)
    elif price.model == "package":
        count = packages(price, start, quantity)
        each = f"packages of {_text(price.package_size)} at {_pounds(price.package_price)}"
        after = f", after {show_quantity(start)} before" if start else ""
        said["text"] = (
            f"{show_quantity(quantity)}{after} start {count:,} {each} = {comes_to}; a started "
            "package counts."
        )
        said |= {"packages": str(count), "start": exact_text(start)}
        said |= {
            "package_size": _text(price.package_size),
            "package_price": _text(price.package_price),
        }
    elif price.model == "volume":
        tier = tier_of(price.tiers, total)
        reach = "the last tier" if tier.up_to is None else f"the tier up to {_text(tier.up_to)}"
        flat = ""
        if tier.flat:
            part = "" if quantity == total else f" × {show_quantity(quantity)} of this total"
            flat = f" + {_pounds(tier.flat)}{part}"
        span = "month" if price.resets == "month" else "financial year"
        said["text"] = (
            f"The {span}'s {show_quantity(total)} reach {reach}, whose price holds for every unit: "
            f"{show_quantity(quantity)} × {_pounds(tier.unit_price)}{flat} = {comes_to}."
        )
        said |= {"total": exact_text(total), "unit_price": plain(tier.unit_price)}
        said["flat"] = plain(tier.flat)
    else:
        said |= _tiers(price, start, quantity, comes_to)
    return said


def _tiers(price: Price, start: Exact, quantity: Exact, comes_to: str) -> dict[str, Any]:
    found = slices(price, start=start, quantity=quantity)
    parts = []
    for number, part in enumerate(found):
        which = "the first" if number == 0 and not start else "the next"
        flat = f" + {_pounds(part.flat)} once" if part.flat else ""
        parts.append(
            f"{which} {show_quantity(part.quantity)} at {_pounds(part.unit_price)}{flat} = "
            f"{show_exact_pounds(part.amount)}"
        )
    before = f"After {show_quantity(start)} before, " if start else ""
    words = before + "; ".join(parts)
    total = f"; together {comes_to}" if len(parts) > 1 else ""
    return {
        "text": words[:1].upper() + words[1:] + total + ".",
        "start": exact_text(start),
        "tiers": [
            {
                "above": exact_text(part.above),
                "up_to": None if part.up_to is None else _text(part.up_to),
                "quantity": exact_text(part.quantity),
                "unit_price": _text(part.unit_price),
                "flat": _text(part.flat),
                "amount": exact_text(part.amount),
            }
            for part in found
        ],
    }


def _share(
    scope: str,
    group: str | None,
    members: int,
    walk: JointWalk,
    quantity: Exact,
    exact: Exact,
    alone: Exact,
) -> dict[str, Any]:
    who = "the national pool" if scope == "pool" else f"group {group}"
    joint = walk.said()
    count = "1 account" if members == 1 else f"{members:,} accounts"
    own = show_quantity(quantity)
    share = divide(quantity, walk.quantity) * 100 if walk.quantity else Decimal(0)
    return {
        "text": f"Together {count} of {who} used {joint['quantity_words']}, which come to "
        f"{joint['amount_words']}: {joint['blended_words']} a unit. Your "
        f"{own} are {joint['amount_words']} × {own} ÷ {joint['quantity_words']} = "
        f"{show_exact_pounds(exact)}; alone they would have come to {show_exact_pounds(alone)}.",
        "scope": scope,
        "group": group,
        "members": str(members),
        "joint_quantity": joint["quantity"],
        "joint_amount": joint["amount"],
        "blended_price": joint["blended"],
        "quantity": exact_text(quantity),
        "share_percent": exact_text(share),
        "amount": exact_text(exact),
        "alone": exact_text(alone),
        "joint_working": joint["working"],
    }


def _frozen(
    scope: str, group: str | None, blended: Exact, quantity: Exact, exact: Exact, alone: Exact
) -> dict[str, Any]:
    who = "the national pool" if scope == "pool" else f"group {group}"
    return {
        "text": f"The month is closed, and the price of {who} was frozen at "
        f"{show_exact_pounds(blended)} a unit: {show_quantity(quantity)} come to "
        f"{show_exact_pounds(exact)}.",
        "scope": scope,
        "group": group,
        "frozen": "true",
        "blended_price": exact_text(blended),
        "quantity": exact_text(quantity),
        "amount": exact_text(exact),
        "alone": exact_text(alone),
    }


def _discount(percent: Decimal, source: str, before: Exact, after: Exact) -> dict[str, Any]:
    return {
        "text": f"Less {plain(percent)}% ({source}): {show_exact_pounds(before)} becomes "
        f"{show_exact_pounds(after)}.",
        "percent": plain(percent),
        "source": source,
        "before": exact_text(before),
        "amount": exact_text(after),
    }


def _maximum(limit: Exact, whole: Exact, before: Exact, after: Exact) -> dict[str, Any]:
    return {
        "text": f"No more than {show_exact_pounds(limit)} a month: {show_exact_pounds(before)} "
        f"becomes {show_exact_pounds(after)}.",
        "maximum": exact_text(limit),
        "month": exact_text(whole),
        "before": exact_text(before),
        "amount": exact_text(after),
    }


def _minimum(
    monthly: Decimal, limit: Exact, days: int, of: int, before: Exact, after: Exact
) -> dict[str, Any]:
    part = "" if days == of else f", for {days} of the month's {of} days {show_exact_pounds(limit)}"
    return {
        "text": f"At least {show_exact_pounds(monthly)} a month{part}: "
        f"{show_exact_pounds(before)} becomes {show_exact_pounds(after)}.",
        "minimum": plain(monthly),
        "limit": exact_text(limit),
        "days": str(days),
        "of_days": str(of),
        "before": exact_text(before),
        "amount": exact_text(after),
    }


def _commit(
    code: str, amount: Exact, per: str, spent: Exact, shortfall: Exact, until: Any
) -> dict[str, Any]:
    span = "month" if per == "month" else "financial year"
    return {
        "text": f"{show_exact_pounds(amount)} were committed for the {span} to "
        f"{show_date(until)} under {code}, {show_exact_pounds(spent)} were spent: "
        f"{show_exact_pounds(shortfall)} are short.",
        "terms": code,
        "committed": exact_text(amount),
        "spent": exact_text(spent),
        "amount": exact_text(shortfall),
    }


def _split(
    members: int, spent: Decimal, together: Decimal, short: Exact, exact: Exact
) -> dict[str, Any]:
    by = (
        f"by what each spent, yours is {show_exact_pounds(spent)} of {show_exact_pounds(together)}"
        if together
        else "evenly, as nobody spent anything"
    )
    return {
        "text": f"The shortfall of {show_exact_pounds(short)} is shared among {members:,} "
        f"accounts {by}: {show_exact_pounds(exact)}.",
        "members": str(members),
        "spent": plain(spent),
        "joint_spent": plain(together),
        "amount": exact_text(exact),
    }


def _round(exact: Exact, amount: Decimal, rule: str) -> dict[str, Any]:
    how = {
        "half-up": "to the nearest penny, halves up",
        "together": "to the penny, so that all members' shares add up to the joint amount",
        "frozen": "to the penny, on top of what was charged when the month was closed",
    }[rule]
    text = f"{show_exact_pounds(exact)} is {show_pounds(amount)} {how}."
    if exact == amount:
        text = f"{show_pounds(amount)} exactly: nothing to round."
    return {
        "text": text,
        "rule": rule,
        "exact": exact_text(exact),
        "amount": f"{amount:.2f}",
    }


# A price's own numbers are written for every account that it is charged to.
@lru_cache(maxsize=4096)
def _text(number: Decimal | None) -> str:
    assert number is not None
    return plain(number)


@lru_cache(maxsize=4096)
def _pounds(number: Decimal | None) -> str:
    assert number is not None
    return show_exact_pounds(number)


_WRITERS: dict[str, Callable[..., dict[str, Any]]] = {
    "convert": _convert,
    "include": _include,
    "price": _price,
    "share": _share,
    "frozen": _frozen,
    "discount": _discount,
    "maximum": _maximum,
    "minimum": _minimum,
    "commit": _commit,
    "split": _split,
    "round": _round,
}
