"""Foretelling a month for everyone, at its prices and its pool; then looking back."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.charges.operations import rate_charges
from billing.forecasts import queries
from billing.forecasts.operations import make_forecasts
from billing.forecasts.pricing import backtest, forecast_month
from metering.periods import Month
from tests import make

JUNE = Month(2026, 6)
# Monday 15 June: fourteen days are known, sixteen are left.
NOW = datetime(2026, 6, 15, 6, 0, tzinfo=UTC)
POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "100", "unit_price": "1.00"},
        {"up_to": None, "unit_price": "0.50"},
    ],
)


def steady(session: Session, *, code: str, quantity: str, until: date = date(2026, 6, 15)) -> None:
    """The same use on every day from 20 April."""
    day = date(2026, 4, 20)
    while day < until:
        make.usage(session, code=code, quantity=quantity, at=day)
        day += timedelta(days=1)


def begun(session: Session, *prices: dict[str, object]) -> str:
    make.source(session)
    make.meter(session)
    make.tariff(session, *prices)
    trust = make.account(session)
    make.agreement(session, account=trust)
    return trust.id


def test_a_steady_trust_is_foretold_to_the_penny(session: Session) -> None:
    account_id = begun(session, make.price(), make.price(meter=None, model="flat", amount="9.00"))
    steady(session, code="RRK", quantity="10")
    rate_charges(session, month=JUNE, now=NOW)
    assert make_forecasts(session, now=NOW) == 1
    found = queries.latest(session, account_id=account_id, month=JUNE)
    assert found is not None
    # 30 days of 10 at 50p, and the month's 9 pounds; 14 days so far.
    assert (str(found.to_date), str(found.expected)) == ("79.00", "159.00")
    assert (str(found.low), str(found.high)) == ("159.00", "159.00")
    assert found.made_on == date(2026, 6, 15)


def test_the_forecast_is_at_the_pools_price_at_the_months_end(session: Session) -> None:
    begun(session, POOLED)
    make.agreement(session, account=make.account(session, code="RA2"))
    steady(session, code="RRK", quantity="4")
    steady(session, code="RA2", quantity="1")
    found = forecast_month(session, as_of=date(2026, 6, 15))
    # Together 150: 100 at 1.00 and 50 at 0.50 are 125; four fifths are RRK's.
    assert {code: str(item.expected) for code, item in found.items()} == {
        "RRK": "100.00",
        "RA2": "25.00",
    }


def test_nobody_is_expected_to_use_a_service_after_leaving_it(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session)
    trust = make.account(session)
    make.agreement(session, account=trust, ends_on=date(2026, 6, 21))
    steady(session, code="RRK", quantity="10")
    found = forecast_month(session, as_of=date(2026, 6, 15))
    assert str(found["RRK"].expected) == "100.00"


def test_a_backtest_says_how_far_a_forecast_was_off(session: Session) -> None:
    begun(session)
    steady(session, code="RRK", quantity="10", until=date(2026, 6, 21))
    early, late = backtest(session, month=JUNE, days=[15, 29])
    # Used on 20 days only: 100.00, where 150.00 was foretold half way.
    assert (str(early.actual), str(early.expected), str(early.error_percent)) == (
        "100.00",
        "150.00",
        "50.0",
    )
    assert late.as_of == date(2026, 6, 29)
    assert Decimal(0) < late.error_percent < Decimal(10)
