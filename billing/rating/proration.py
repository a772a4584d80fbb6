"""Shares of a month by London days: joining and leaving, and monthly limits."""

from decimal import Decimal

from billing.rating.numbers import Exact, divide
from metering.periods import Month


def for_days(monthly: Decimal, days: int, month: Month) -> Exact:
    """Return the part of a monthly amount for `days` London days of the month, exactly.

    A whole month is the whole amount; a change of hours in the month changes nothing.
    """
    if days == month.day_count:
        return monthly
    return divide(monthly * days, Decimal(month.day_count))
