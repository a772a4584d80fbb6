"""Local agreements: other prices, discounts, commitments and prepaid credits."""

from datetime import date
from decimal import Decimal

import pytest

from billing.rating.commitments import Credit, Draw, draw_credits
from billing.rating.model import ALWAYS, Commitment, Days, GroupMembership, LocalTerms
from metering.periods import Month
from tests.billing.rating.make import (
    JUNE,
    agreed,
    amounts,
    only,
    per_unit,
    prices,
    rate,
    tariff,
    tiers,
    used,
)

MID_JUNE = date(2026, 6, 16)
MARCH = Month(2027, 3)


def test_a_local_price_stands_in_between_its_dates() -> None:
    local = LocalTerms("LA1", Days(MID_JUNE, date(2026, 7, 1)), prices(per_unit("0.80")))

    result = rate(
        tariff(per_unit("1")),
        used("RRK", "10", day=15),
        used("RRK", "10", day=16),
        agreements=[agreed("RRK", terms=(local,))],
    )

    assert [(c.terms, str(c.amount)) for c in result.charges] == [(None, "10.00"), ("LA1", "8.00")]


def test_a_local_price_leaves_the_pool_and_the_others_share_without_it() -> None:
    pooled = tariff(tiers(("100", "1"), (None, "0.50"), scope="pool"))
    local = LocalTerms("LA1", ALWAYS, prices(tiers((None, "0.70"), scope="pool")))

    result = rate(
        pooled,
        used("RA1", "100"),
        used("RB2", "200"),
        agreements=[agreed("RA1", terms=(local,)), agreed("RB2")],
    )

    assert [(c.scope, str(c.amount)) for c in result.charges] == [
        ("own", "70.00"),
        ("pool", "150.00"),
    ]


def test_a_groups_local_price_is_shared_among_its_members() -> None:
    icb = (GroupMembership("QNX"),)
    local = LocalTerms(
        "ICB1", ALWAYS, prices(tiers(("100", "1"), (None, "0.50"), scope="group")), group="QNX"
    )

    result = rate(
        tariff(tiers((None, "2"))),
        used("RA1", "100"),
        used("RB2", "100"),
        agreements=[agreed(account, groups=icb, terms=(local,)) for account in ("RA1", "RB2")],
    )

    assert amounts(result) == ["75.00", "75.00"]
    assert (result.pools[0].group, result.pools[0].terms) == ("QNX", "ICB1")


def test_a_local_discount_comes_after_the_tariffs_own() -> None:
    local = LocalTerms("LA1", ALWAYS, discount_percent=Decimal(50))

    charge = only(
        rate(
            tariff(per_unit("1", discount_percent="10")),
            used("RRK", "100"),
            agreements=[agreed("RRK", terms=(local,))],
        )
    )

    assert charge.amount == Decimal("45.00")
    assert [step["source"] for step in charge.working if step["step"] == "discount"] == [
        "the tariff's discount",
        "local agreement LA1",
    ]


def test_a_shortfall_against_a_monthly_commitment_is_charged() -> None:
    local = LocalTerms("LA1", ALWAYS, commitment=Commitment(Decimal(500)))

    result = rate(
        tariff(per_unit("1")), used("RRK", "420"), agreements=[agreed("RRK", terms=(local,))]
    )

    assert amounts(result) == ["420.00", "80.00"]
    assert result.charges[1].price_key == "commitment/LA1"
    assert result.charges[1].working[0]["text"] == (
        "£500.00 were committed for the month to 30 June 2026 under LA1, £420.00 were spent: "
        "£80.00 are short."
    )


def test_a_met_commitment_charges_nothing_more() -> None:
    local = LocalTerms("LA1", ALWAYS, commitment=Commitment(Decimal(500)))

    result = rate(
        tariff(per_unit("1")), used("RRK", "500"), agreements=[agreed("RRK", terms=(local,))]
    )

    assert amounts(result) == ["500.00"]


def test_a_commitment_is_prorated_by_the_days_it_covers() -> None:
    local = LocalTerms("LA1", Days(MID_JUNE), commitment=Commitment(Decimal(500)))

    result = rate(tariff(per_unit("1")), agreements=[agreed("RRK", terms=(local,))])

    assert amounts(result) == ["250.00"]


def test_a_years_commitment_is_settled_in_march() -> None:
    local = LocalTerms("LA1", ALWAYS, commitment=Commitment(Decimal(1000), "financial-year"))
    agreement = [agreed("RRK", terms=(local,))]
    priced = tariff(per_unit("1"))

    june = rate(priced, used("RRK", "300"), agreements=agreement)
    march = rate(
        priced,
        used("RRK", "200", month=MARCH),
        month=MARCH,
        agreements=agreement,
        history=june.positions,
    )

    assert amounts(june) == ["300.00"]
    assert amounts(march) == ["200.00", "500.00"]


def test_a_years_commitment_is_settled_when_its_terms_end() -> None:
    local = LocalTerms(
        "LA1",
        Days(date(2026, 4, 1), JUNE.end_day),
        commitment=Commitment(Decimal(1000), "financial-year"),
    )

    result = rate(
        tariff(per_unit("1")), used("RRK", "300"), agreements=[agreed("RRK", terms=(local,))]
    )

    assert amounts(result) == ["300.00", "700.00"]


def test_a_groups_shortfall_is_shared_by_what_each_spent() -> None:
    icb = (GroupMembership("QNX"),)
    local = LocalTerms("ICB1", ALWAYS, commitment=Commitment(Decimal(100)), group="QNX")
    agreements = [agreed(account, groups=icb, terms=(local,)) for account in ("RA1", "RB2")]

    spent = rate(tariff(per_unit("1")), used("RA1", "30"), used("RB2", "30"), agreements=agreements)
    idle = rate(tariff(per_unit("1")), agreements=agreements)

    assert amounts(spent) == ["30.00", "30.00", "20.00", "20.00"]
    assert amounts(idle) == ["50.00", "50.00"]


def test_two_local_agreements_on_one_day_contradict() -> None:
    twice = (LocalTerms("LA1", ALWAYS), LocalTerms("LA2", Days(MID_JUNE)))

    with pytest.raises(ValueError, match="two local terms"):
        rate(tariff(per_unit("1")), agreements=[agreed("RRK", terms=twice)])


def test_credits_are_drawn_oldest_first() -> None:
    newer = Credit("C2", date(2026, 5, 1), Decimal("100.00"))
    older = Credit("C1", date(2026, 4, 1), Decimal("30.00"))
    ended = Credit("C0", date(2025, 4, 1), Decimal("9.00"), ends_on=date(2026, 4, 1))
    later = Credit("C9", date(2026, 8, 1), Decimal("9.00"))

    draws, left, due = draw_credits(
        [newer, later, older, ended], amount=Decimal("50.00"), on=date(2026, 7, 1)
    )

    assert draws == (Draw("C1", Decimal("30.00")), Draw("C2", Decimal("20.00")))
    assert [(credit.code, str(credit.left)) for credit in left] == [
        ("C0", "9.00"),
        ("C1", "0.00"),
        ("C2", "80.00"),
        ("C9", "9.00"),
    ]
    assert due == 0


def test_what_credits_do_not_cover_remains_due() -> None:
    credit = Credit("C1", date(2026, 4, 1), Decimal("30.00"))

    assert draw_credits([credit], amount=Decimal("30.01"), on=MID_JUNE)[2] == Decimal("0.01")
    assert draw_credits([credit], amount=Decimal("-5.00"), on=MID_JUNE)[0] == ()
    with pytest.raises(ValueError, match="pennies"):
        draw_credits([credit], amount=Decimal("0.001"), on=MID_JUNE)
