"""Foretelling a month for everyone, through the code that rates it."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby, pairwise

from sqlalchemy.orm import Session

from billing.charges.inputs import MonthInputs, load_inputs, load_usage
from billing.charges.operations import rate_inputs
from billing.forecasts.model import (
    CASES,
    AccountForecast,
    Case,
    Part,
    Tried,
    Window,
    days_between,
    profile_of,
    rest_of_month,
    tried,
)
from billing.money import NOUGHT
from billing.rating.model import Charge, Usage
from metering.periods import Month
from metering.readings.model import PROFILE_WEEKS, WEEKS
from metering.readings.recent import first_days, national_days, recent_usage

_Key = tuple[str, str, str]  # ODS code, service, meter


def forecast_month(session: Session, *, as_of: date) -> dict[str, AccountForecast]:
    """Return, by ODS code, what the month of a London day will come to.

    Known is the usage of the days before `as_of`, and what is in of that day. Three months
    are rated, for everyone at once, so that each case has its own pool: all slow, all as
    expected, all fast. `to_date` is left at nought here.
    """
    month = Month.of_day(as_of)
    inputs = load_inputs(session, month=month)
    known = load_usage(session, inputs=inputs, until=as_of)
    rest = _rest(session, inputs, as_of)
    sums: dict[Case, dict[_Key, Decimal]] = {}
    for case in CASES:
        result, _ = rate_inputs(inputs, inputs.agreements, [*known, *rest[case]])
        sums[case] = _sums(result.charges)
    parts: dict[str, list[Part]] = {}
    for key in sorted({key for found in sums.values() for key in found}):
        code, service, meter = key
        parts.setdefault(code, []).append(
            Part(
                service=service,
                meter=meter,
                low=sums["low"].get(key, NOUGHT),
                expected=sums["expected"].get(key, NOUGHT),
                high=sums["high"].get(key, NOUGHT),
            )
        )
    return {
        code: AccountForecast(organisation=code, parts=tuple(found))
        for code, found in parts.items()
    }


def backtest(session: Session, *, month: Month, days: Iterable[int]) -> list[Tried]:
    """Foretell a month that is over from some of its days, and compare.

    Both sides are rated on the same versions and agreements, so only usage is foretold.

    Args:
        days: of the month, from 1; the forecast knows the days before each.
    """
    inputs = load_inputs(session, month=month)
    usage = load_usage(session, inputs=inputs)
    result, _ = rate_inputs(inputs, inputs.agreements, usage)
    actual: dict[str, Decimal] = {}
    for charge in result.charges:
        actual[charge.account] = actual.get(charge.account, NOUGHT) + charge.amount
    return [
        tried(
            day,
            forecast=forecast_month(session, as_of=day),
            actual=actual,
        )
        for day in (month.first_day + timedelta(days=number - 1) for number in days)
    ]


def _rest(session: Session, inputs: MonthInputs, as_of: date) -> Mapping[Case, list[Usage]]:
    first = as_of - timedelta(weeks=PROFILE_WEEKS)
    profiles = {
        key: profile_of(days, first=first, end=as_of)
        for key, days in national_days(session, as_of=as_of).items()
    }
    begun = first_days(session, as_of=as_of)
    left = days_between(as_of, inputs.month.end_day)
    edges = sorted({as_of, *(cut for cut in inputs.cuts if cut > as_of), inputs.month.end_day})
    days = [[day for day in left if start <= day < end] for start, end in pairwise(edges)]
    found: dict[Case, list[Usage]] = {case: [] for case in CASES}
    for code, items in groupby(recent_usage(session, as_of=as_of), key=lambda item: item.ods_code):
        window = Window(
            as_of=as_of, first=max(begun.get(code, as_of), as_of - timedelta(weeks=WEEKS))
        )
        for case, usage in rest_of_month(
            list(items), profiles=profiles, window=window, days=days
        ).items():
            found[case].extend(usage)
    return found


def _sums(charges: Iterable[Charge]) -> dict[_Key, Decimal]:
    found: dict[_Key, Decimal] = {}
    for charge in charges:
        key = (charge.account, charge.tariff, charge.meter or "")
        found[key] = found.get(key, NOUGHT) + charge.amount
    return found
