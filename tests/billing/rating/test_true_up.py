"""Should-have minus has."""

from datetime import date
from decimal import Decimal

import pytest

from billing.rating.model import RatingResult
from billing.rating.true_up import Correction, Invoiced, corrections
from billing.rating.vat import vat_rate_percent
from tests.billing.rating.make import per_unit, rate, tariff, used

PRICED = tariff(per_unit("0.10"), per_unit("1", meter="n"))


def invoiced(result: RatingResult) -> list[Invoiced]:
    return [
        Invoiced(c.account, c.tariff, c.version, c.price_key, c.quantity, c.amount, c.label)
        for c in result.charges
    ]


def as_line(correction: Correction) -> Invoiced:
    return Invoiced(
        correction.account,
        correction.tariff,
        correction.version,
        correction.price_key,
        correction.quantity,
        correction.amount,
    )


def test_a_repeated_run_asks_for_nothing() -> None:
    result = rate(PRICED, used("RRK", "105"), used("RRK", "3", meter="n"))

    assert corrections(result.charges, invoiced(result)) == ()


def test_late_usage_asks_for_the_difference_once() -> None:
    before = rate(PRICED, used("RRK", "100"))
    now = rate(PRICED, used("RRK", "100"), used("RRK", "5", day=30))

    (correction,) = corrections(now.charges, invoiced(before))

    assert (correction.quantity, correction.amount) == (5, Decimal("0.50"))
    assert correction.reason == "late-usage"
    assert correction.text == (
        "M: 5 more came in after the invoice. It comes to £10.50, £10.00 were charged: "
        "£0.50 to correct."
    )
    assert corrections(now.charges, [*invoiced(before), as_line(correction)]) == ()


def test_withdrawn_usage_is_given_back() -> None:
    before = rate(PRICED, used("RRK", "100"))
    now = rate(PRICED, used("RRK", "60"))

    (correction,) = corrections(now.charges, invoiced(before))

    assert (correction.quantity, correction.amount) == (-40, Decimal("-4.00"))
    assert correction.reason == "withdrawn-usage"


def test_a_promise_that_is_gone_is_given_back_whole() -> None:
    before = rate(PRICED, used("RRK", "100"))

    (correction,) = corrections([], invoiced(before))

    assert (correction.amount, correction.reason) == (Decimal("-10.00"), "no-longer-charged")


def test_a_new_price_over_old_use_is_a_correction_without_quantity() -> None:
    before = rate(PRICED, used("RRK", "100"))
    now = rate(tariff(per_unit("0.08")), used("RRK", "100"))

    (correction,) = corrections(now.charges, invoiced(before))

    assert (correction.quantity, correction.amount) == (0, Decimal("-2.00"))
    assert correction.reason == "price-changed"


def test_quantity_without_money_is_still_told() -> None:
    before = rate(PRICED, used("RRK", "100"))
    now = rate(PRICED, used("RRK", "100.01"))

    (correction,) = corrections(now.charges, invoiced(before))

    assert (correction.quantity, correction.amount) == (Decimal("0.01"), 0)


def test_another_meter_is_a_first_charge() -> None:
    before = rate(PRICED, used("RRK", "100"))
    now = rate(PRICED, used("RRK", "100"), used("RRK", "1", meter="n"))

    (correction,) = corrections(now.charges, invoiced(before))

    assert (correction.reason, correction.amount) == ("first-charge", Decimal("1.00"))


@pytest.mark.parametrize(
    ("day", "percent"),
    [
        (date(2026, 6, 30), "20"),
        (date(2011, 1, 3), "17.5"),
        (date(2011, 1, 4), "20"),
        (date(2009, 6, 1), "15"),
    ],
)
def test_the_vat_rate_is_that_of_the_tax_point(day: date, percent: str) -> None:
    assert vat_rate_percent("standard", tax_point=day) == Decimal(percent)
    assert vat_rate_percent("exempt", tax_point=day) == 0


def test_no_vat_rate_is_invented() -> None:
    with pytest.raises(ValueError, match="no VAT rate"):
        vat_rate_percent("standard", tax_point=date(1990, 1, 1))
