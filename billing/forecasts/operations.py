"""Making the day's forecast."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.charges import queries as charges
from billing.forecasts.model import AccountForecast, Part, parts_json
from billing.forecasts.pricing import forecast_month
from billing.forecasts.tables import ForecastRow
from billing.money import NOUGHT
from metering.periods import Month, london_day

_FIGURES = ("to_date", "low", "expected", "high", "parts", "made_at")


def make_forecasts(session: Session, *, now: datetime) -> int:
    """Foretell the present month for every account, and keep it as today's forecast.

    Made again on the same London day it replaces that day's; earlier days' stay.

    Returns:
        How many accounts have one.
    """
    today = london_day(now)
    month = Month.of_day(today)
    found = forecast_month(session, as_of=today)
    to_date = charges.sums_by_account(session, month=month)
    rows = []
    for payer in accounts.payers(session):
        forecast = _with_charges(
            found.get(payer.ods_code, AccountForecast(organisation=payer.ods_code)),
            to_date.get(payer.ods_code, {}),
        )
        if forecast.parts:
            rows.append(
                {
                    "account_id": payer.account.id,
                    "month": month.first_day,
                    "made_on": today,
                    "to_date": forecast.to_date,
                    "low": forecast.low,
                    "expected": forecast.expected,
                    "high": forecast.high,
                    "parts": parts_json(forecast.parts),
                    "made_at": now,
                }
            )
    if rows:
        statement = insert(ForecastRow)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "month", "made_on"],
                set_={name: statement.excluded[name] for name in _FIGURES},
            ),
            rows,
        )
    return len(rows)


def _with_charges(
    forecast: AccountForecast, to_date: Mapping[tuple[str, str], Decimal]
) -> AccountForecast:
    parts = {(part.service, part.meter): part for part in forecast.parts}
    for (service, meter), amount in to_date.items():
        known = parts.get((service, meter), Part(service=service, meter=meter))
        parts[service, meter] = replace(known, to_date=amount or NOUGHT)
    return replace(forecast, parts=tuple(parts[key] for key in sorted(parts)))
