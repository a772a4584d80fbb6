"""The first steps of a line: conversion, included quantity, and where tiers begin.

All lines of one account, tariff and price key in a month are taken in order of
days, across tariff versions and memberships. What is included is used up in that
order; a financial-year inclusion or tier walk begins where the history ends. The
included quantity is not prorated for part months.
"""

from collections.abc import Sequence

from billing.rating.lines import Line
from billing.rating.model import Position
from billing.rating.numbers import NONE, Exact, add, as_decimal, divide, subtract
from billing.rating.working import Step


def include(lines: Sequence[Line], before: Position | None) -> None:
    """Set quantity, free, billable and start of each line, with its steps.

    Args:
        lines: of one account, tariff and price key, in order of days.
        before: where the financial year stood when the month began.
    """
    free_in_month: Exact = NONE
    walked_in_month: Exact = NONE
    for line in lines:
        price = line.entry.price
        quantity: Exact = line.metered
        if price.convert is not None and price.model != "flat":
            ratio = divide(quantity, price.convert.divide_by)
            ending = as_decimal(ratio)
            quantity = ratio if ending is None else ending
            values = (line.metered, price.convert.divide_by, price.convert.unit, quantity)
            line.steps.append(Step("convert", values))
        line.quantity = quantity
        line.billable = quantity
        if price.included is not None:
            used = free_in_month
            if before is not None and price.included.per == "financial-year":
                used = add(used, before.free_used)
            left = subtract(price.included.quantity, used)
            free = min(quantity, left) if left > 0 else NONE
            line.free = free
            line.billable = subtract(quantity, free)
            free_in_month = add(free_in_month, free)
            line.steps.append(
                Step(
                    "include",
                    (
                        quantity,
                        price.included.quantity,
                        price.included.per,
                        used,
                        free,
                        line.billable,
                    ),
                )
            )
        line.start = walked_in_month
        if before is not None and price.resets == "financial-year":
            line.start = add(line.start, before.billable)
        walked_in_month = add(walked_in_month, line.billable)


def position_after(lines: Sequence[Line], before: Position | None) -> Position | None:
    """Return where the financial year stands after the month; None where nothing goes on."""
    last = lines[-1]
    price = last.entry.price
    yearly = price.included is not None and price.included.per == "financial-year"
    if not yearly and price.resets != "financial-year":
        return before
    free: Exact = NONE if before is None else before.free_used
    billable: Exact = NONE if before is None else before.billable
    for line in lines:
        free = add(free, line.free)
        billable = add(billable, line.billable)
    return Position(last.segment.account, None, last.segment.tariff.code, price.key, free, billable)
