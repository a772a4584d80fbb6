"""A line's amount worked out again from its recorded working, by sums of its own. Pure.

It shares no code with rating: what it reads are the figures that the working shows people. A
figure whose digits never end is recorded cut after 20 places, hence the tolerance.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import to_pennies

_TOLERANCE = Fraction(1, 10**9)
_PENNY = Fraction(1, 100)
Step = Mapping[str, Any]


def working_faults(working: Sequence[Step], *, net: Decimal) -> list[str]:
    """Return what does not follow in a line's working, in words; empty where all does.

    Args:
        net: pounds and pence of the line.
    """
    if working and working[-1]["step"] == "allocate":
        part, whole = working[-1], working[:-1]
        return [
            *_allocation_faults(part, net),
            *working_faults(whole, net=Decimal(part["of"])),
        ]
    if working and working[0]["step"] in {"correct", "credit"}:
        return _adjustment_faults(working[0], net)
    faults: list[str] = []
    for step in working:
        derive = _DERIVE.get(step["step"])
        if derive is None:
            continue
        found = derive(step)
        if found is not None and abs(found - _number(step["amount"])) > _TOLERANCE:
            faults.append(f"step {step['step']} says {step['amount']}, its figures give {found}")
    faults.extend(_rounding_faults(working, net))
    return faults


def _allocation_faults(step: Step, net: Decimal) -> list[str]:
    """A part is the percentage of the whole to the penny, which largest remainder may move."""
    faults = []
    exact = _number(step["of"]) * _number(step["percent"]) / 100
    amount = Decimal(step["amount"])
    if abs(exact - Fraction(amount)) >= _PENNY:
        faults.append(f"{amount} is not {step['percent']}% of {step['of']}")
    if amount != net:
        faults.append(f"the part comes to {amount}, the line to {net}")
    return faults


def _rounding_faults(working: Sequence[Step], net: Decimal) -> list[str]:
    rounds = [step for step in working if step["step"] == "round"]
    if len(rounds) != 1:
        return [f"the working rounds {len(rounds)} times"]
    (step,) = rounds
    faults = []
    before = [item for item in working if item["step"] != "round" and "amount" in item]
    if before and abs(_number(before[-1]["amount"]) - _number(step["exact"])) > _TOLERANCE:
        faults.append(f"{step['exact']} is rounded, but {before[-1]['amount']} was worked out")
    amount = Decimal(step["amount"])
    exact = _number(step["exact"])
    if step["rule"] == "half-up":
        if to_pennies(Decimal(step["exact"])) != amount:
            faults.append(f"{step['exact']} does not round to {amount}")
    elif abs(exact - Fraction(amount)) > 2 * _PENNY:
        faults.append(f"{amount} is further from {step['exact']} than sharing can be")
    if amount != net:
        faults.append(f"the working comes to {amount}, the line to {net}")
    return faults


def _adjustment_faults(step: Step, net: Decimal) -> list[str]:
    amount = Decimal(step["amount"])
    faults = []
    if step["step"] == "correct":
        difference = Decimal(step["should_net"]) - Decimal(step["invoiced_net"])
        if difference < 0:
            left = Decimal(step["conceded"]) - Decimal(step["invoiced_net"])
            difference = max(difference, min(left, Decimal(0)))
        if difference != amount:
            faults.append(f"the difference is {difference}, the working says {amount}")
    elif abs(amount) > abs(Decimal(step["left_net"])):
        faults.append(f"{amount} is credited of {step['left_net']}")
    # A credit note prints what is given back as positive.
    if abs(amount) != abs(net):
        faults.append(f"the working comes to {amount}, the line to {net}")
    return faults


def _number(text: str) -> Fraction:
    return Fraction(Decimal(text))


def _tiers(step: Step) -> Fraction:
    return sum(
        (
            _number(tier["quantity"]) * _number(tier["unit_price"]) + _number(tier["flat"])
            for tier in step["tiers"]
        ),
        Fraction(),
    )


def _price(step: Step) -> Fraction | None:
    model = step["model"]
    if model == "flat":
        return _number(step["monthly"]) * Fraction(int(step["days"]), int(step["of_days"]))
    quantity = _number(step["quantity"])
    if not quantity:
        return Fraction()
    if model == "per-unit":
        return quantity * _number(step["unit_price"])
    if model == "percentage":
        return quantity * _number(step["percent"]) / 100
    if model == "package":
        return int(step["packages"]) * _number(step["package_price"])
    if model == "volume":
        flat = _number(step["flat"]) * quantity / _number(step["total"])
        return quantity * _number(step["unit_price"]) + flat
    return _tiers(step)


def _share(step: Step) -> Fraction | None:
    joint = _number(step["joint_quantity"])
    if not joint:
        return Fraction()
    walked = step.get("joint_working")
    amount = _number(step["joint_amount"])
    if walked is not None and "tiers" in walked:
        # The nation's walk is told on each member's line: it has to follow as well.
        amount = _tiers(walked)
    return amount * _number(step["quantity"]) / joint


def _frozen(step: Step) -> Fraction | None:
    # The blended price may be cut after 20 places; the quantity carries that cut along.
    found = _number(step["blended_price"]) * _number(step["quantity"])
    said = _number(step["amount"])
    return said if abs(found - said) <= _number(step["quantity"]) / 10**19 else found


def _discount(step: Step) -> Fraction | None:
    return _number(step["before"]) * (100 - _number(step["percent"])) / 100


def _maximum(step: Step) -> Fraction | None:
    month = _number(step["month"])
    return _number(step["before"]) * _number(step["maximum"]) / month if month else None


def _minimum(step: Step) -> Fraction | None:
    # Where several lines are topped up together each takes its part: never less than before.
    before, after = _number(step["before"]), _number(step["amount"])
    return after if after >= before else before


def _commit(step: Step) -> Fraction | None:
    return _number(step["committed"]) - _number(step["spent"])


_DERIVE: Mapping[str, Callable[[Step], Fraction | None]] = {
    "price": _price,
    "share": _share,
    "frozen": _frozen,
    "discount": _discount,
    "maximum": _maximum,
    "minimum": _minimum,
    "commit": _commit,
}
