"""Rating month to date: charges follow readings, nobody's trouble stops another's charge."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.accounts.successions import merge_accounts
from billing.accounts.tables import AccountRow, AgreementRow
from billing.charges import inputs, operations, queries
from billing.charges.facts import read_working
from billing.charges.inputs import hand_over
from billing.charges.model import digest
from billing.charges.tables import ChargeRow, MonthRatingRow, RatingRow
from billing.rating import engine, segments
from billing.rating.model import Agreement, Position
from metering.periods import Month
from tests import make

APRIL, MAY = Month(2026, 4), Month(2026, 5)
NOW = datetime.fromisoformat("2026-05-01T09:00:00+00:00")
POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "1", "unit_price": "100.00"},
        {"up_to": "50", "unit_price": "80.00"},
        {"up_to": None, "unit_price": "60.00"},
    ],
)


@pytest.fixture
def service(session: Session) -> None:
    make.source(session)
    make.meter(session)


def _trusts(session: Session, *codes: str) -> list[AccountRow]:
    found = []
    for code in codes:
        trust = make.account(session, code=code)
        make.agreement(session, account=trust)
        found.append(trust)
    return found


def _rate(session: Session, month: Month = APRIL, now: datetime = NOW) -> operations.RatingCounts:
    counts = operations.rate_charges(session, month=month, now=now)
    kept = session.scalars(select(MonthRatingRow)).all()
    # What a month comes to is kept, and is what its charges come to, after each pass.
    assert [row.amount for row in kept] == [
        queries.sum_of_charges(session, month=Month.of_day(row.month)) for row in kept
    ]
    return counts


def _amounts(session: Session, trust: AccountRow, month: Month = APRIL) -> list[str]:
    session.expire_all()
    return [
        str(charge.amount) for charge in queries.charges(session, account_id=trust.id, month=month)
    ]


def test_usage_becomes_a_charge_with_its_working(session: Session, service: None) -> None:
    make.tariff(session)
    (trust,) = _trusts(session, "RRK")
    make.usage(session, quantity="21")
    make.usage(session, quantity="4", at=date(2026, 4, 30))
    assert _rate(session).charges == 1
    (charge,) = queries.charges(session, account_id=trust.id, month=APRIL)
    assert (charge.quantity, charge.amount) == (Decimal("25"), Decimal("12.50"))
    assert read_working(charge.working)[0]["text"] == "25 × £0.50 = £12.50."


def test_a_pass_that_finds_nothing_changed_does_nothing(session: Session, service: None) -> None:
    make.tariff(session)
    _trusts(session, "RRK")
    make.usage(session, quantity="21")
    assert _rate(session).rated == 1
    assert _rate(session, now=NOW + timedelta(minutes=5)) == operations.RatingCounts()


def test_only_the_account_whose_usage_changed_is_written(session: Session, service: None) -> None:
    make.tariff(session)
    first, second = _trusts(session, "RA1", "RA2")
    make.usage(session, code="RA1", quantity="2")
    make.usage(session, code="RA2", quantity="2")
    _rate(session)
    make.usage(session, code="RA2", quantity="2")
    counts = _rate(session)
    assert (counts.rated, counts.written) == (1, 1)
    assert (_amounts(session, first), _amounts(session, second)) == (["1.00"], ["2.00"])


def test_the_worked_example_of_a_national_pool(session: Session, service: None) -> None:
    make.tariff(session, POOLED)
    trusts = _trusts(session, "RA1", "RA2", "RA3")
    for code, quantity in (("RA1", "30"), ("RA2", "35"), ("RA3", "30")):
        make.usage(session, code=code, quantity=quantity)
    _rate(session)
    assert [_amounts(session, trust) for trust in trusts] == [
        ["2122.11"],
        ["2475.79"],
        ["2122.10"],
    ]
    (pool,) = queries.pool_totals(session, month=APRIL)
    assert (pool.joint_quantity, pool.amount, pool.member_count) == (95, Decimal("6720.00"), 3)


def test_late_usage_is_charged_at_the_frozen_price_and_moves_nobody_else(
    session: Session, service: None
) -> None:
    make.tariff(session, POOLED)
    first, second, third = _trusts(session, "RA1", "RA2", "RA3")
    for code, quantity in (("RA1", "30"), ("RA2", "35"), ("RA3", "30")):
        make.usage(session, code=code, quantity=quantity)
    assert operations.freeze_month(session, month=APRIL, now=NOW) == 1
    assert operations.freeze_month(session, month=APRIL, now=NOW) == 0
    assert _rate(session) == operations.RatingCounts()
    make.usage(session, code="RA2", quantity="5")
    assert _rate(session).rated == 1
    # 40 at the frozen 6,720 ÷ 95 a unit: what was charged, and 5 more at 70.7368…
    assert [_amounts(session, trust) for trust in (first, second, third)] == [
        ["2122.11"],
        ["2829.47"],
        ["2122.10"],
    ]
    (pool,) = queries.pool_totals(session, month=APRIL)
    assert (pool.joint_quantity, pool.true_up) == (95, 0)
    # Who cannot be rated does not stop what the others' use leaves.
    (broken,) = _trusts(session, "RA9")
    make.usage(session, code="RA9", quantity="5")
    make.broken_terms(session, broken.id)
    assert operations.refresh_true_ups(session, month=APRIL) == 1
    session.expire_all()
    (pool,) = queries.pool_totals(session, month=APRIL)
    # 100 at the price that 100 makes is 7,020.00; at the frozen price 7,073.68….
    assert pool.true_up.quantize(Decimal("0.01")) == Decimal("-53.68")
    assert operations.refresh_true_ups(session, month=APRIL) == 0


def test_a_month_that_is_thawed_is_rated_again_for_everyone(
    session: Session, service: None
) -> None:
    make.tariff(session, POOLED)
    first, _ = _trusts(session, "RA1", "RA2")
    make.usage(session, code="RA1", quantity="1")
    operations.freeze_month(session, month=APRIL, now=NOW)
    make.usage(session, code="RA2", quantity="1")
    _rate(session)
    assert _amounts(session, first) == ["100.00"]
    operations.thaw_month(session, month=APRIL)
    _rate(session)
    assert _amounts(session, first) == ["90.00"]


def test_usage_without_a_price_is_parked_and_never_a_nought(
    session: Session, service: None
) -> None:
    make.meter(session, code="unpriced")
    make.tariff(session)
    (trust,) = _trusts(session, "RRK")
    make.organisation(session, code="RXX")
    make.usage(session, quantity="3", meter="unpriced")
    make.usage(session, code="RXX", quantity="4")
    assert _rate(session).parked == 2
    assert [
        (row.organisation, row.account_id, row.code, row.quantity)
        for row in sorted(queries.parked(session), key=lambda row: row.organisation)
    ] == [("RRK", trust.id, "no-price", 3), ("RXX", None, "no-agreement", 4)]
    make.tariff(session, make.price(), make.price(meter="unpriced"), version="v-more")
    stranger = make.account(session, code="RYY")
    make.agreement(session, account=stranger)
    _rate(session)
    assert [row.organisation for row in queries.parked(session)] == ["RXX"]
    assert _amounts(session, trust) == ["1.50"]


def test_charges_that_no_longer_hold_are_removed(session: Session, service: None) -> None:
    make.tariff(session)
    (trust,) = _trusts(session, "RRK")
    make.usage(session, quantity="3")
    _rate(session)
    session.execute(update(AgreementRow).values(ends_on=date(2026, 4, 2)))
    session.expire_all()
    _rate(session)
    assert _amounts(session, trust) == []
    assert [row.code for row in queries.parked(session)] == ["no-agreement"]


def test_an_account_that_cannot_be_rated_does_not_stop_the_others(
    session: Session, service: None
) -> None:
    make.tariff(session)
    broken, sound = _trusts(session, "RA1", "RA2")
    make.usage(session, code="RA1", quantity="3")
    make.usage(session, code="RA2", quantity="3")
    make.broken_terms(session, broken.id)
    assert _rate(session).faults == 1
    assert (_amounts(session, broken), _amounts(session, sound)) == ([], ["1.50"])
    (parked,) = queries.parked(session)
    assert (parked.code, parked.quantity) == ("account-contradiction", 3)


def test_a_financial_years_tiers_go_on_from_month_to_month(session: Session, service: None) -> None:
    make.tariff(
        session,
        make.price(
            model="graduated",
            resets="financial-year",
            tiers=[
                {"up_to": "10", "unit_price": "1.00"},
                {"up_to": None, "unit_price": "0.50"},
            ],
        ),
    )
    (trust,) = _trusts(session, "RRK")
    make.usage(session, quantity="8")
    make.usage(session, quantity="8", at=date(2026, 5, 15))
    _rate(session)
    _rate(session, MAY)
    assert (_amounts(session, trust), _amounts(session, trust, MAY)) == (["8.00"], ["5.00"])
    make.usage(session, quantity="2")
    _rate(session)
    _rate(session, MAY)
    assert (_amounts(session, trust), _amounts(session, trust, MAY)) == (["10.00"], ["4.00"])


def test_local_terms_apply(session: Session, service: None) -> None:
    make.tariff(session)
    trust = make.account(session)
    make.agreement(session, account=trust)
    make.local_terms(session, {"discount_percent": "10"}, account_id=trust.id)
    make.usage(session, quantity="100")
    _rate(session)
    assert _amounts(session, trust) == ["45.00"]


def test_time_of_day_prices_are_charged_by_the_london_clock(session: Session) -> None:
    make.source(session)
    make.meter(session, resolution="hour")
    make.tariff(
        session,
        make.price(band="peak", unit_price="2.00"),
        make.price(unit_price="1.00"),
        bands={"peak": "Mon-Fri 08:00-18:00"},
    )
    (trust,) = _trusts(session, "RRK")
    # 07:30 UTC is 08:30 in London in April; the 18th is a Saturday.
    for at in ("2026-04-15T07:30:00+00:00", "2026-04-16T07:30:00+00:00"):
        make.usage(session, at=datetime.fromisoformat(at))
    make.usage(session, at=datetime.fromisoformat("2026-04-15T06:30:00+00:00"))
    make.usage(session, at=datetime.fromisoformat("2026-04-18T07:30:00+00:00"))
    _rate(session)
    assert sorted(_amounts(session, trust)) == ["2.00", "4.00"]


def test_ratings_say_what_they_were_worked_out_from(session: Session, service: None) -> None:
    make.tariff(session)
    _trusts(session, "RRK")
    make.usage(session, quantity="3")
    _rate(session)
    rating = session.scalars(select(RatingRow)).one()
    assert (rating.rated_at, len(rating.input_fingerprint)) == (NOW, 26)
    assert session.scalars(select(MonthRatingRow.month)).all() == [APRIL.first_day]
    assert session.scalar(select(text("count(*)")).select_from(ChargeRow)) == 1


def test_text_that_copy_would_misread_is_kept_as_it_is(session: Session, service: None) -> None:
    label = 'A \\N \\. "quoted"\tand £'
    make.tariff(session, make.price(label=label))
    (trust,) = _trusts(session, "RRK")
    make.usage(session, quantity="3")
    _rate(session)
    (charge,) = queries.charges(session, account_id=trust.id, month=APRIL)
    assert (charge.label, charge.amount, charge.band) == (label, Decimal("1.50"), None)
    assert charge.id == "chg_" + digest(
        trust.id,
        "2026-04",
        charge.version_id,
        charge.price_key,
        charge.scope,
        charge.group_code,
        charge.terms_code,
        "2026-04-01",
    )


def test_a_merger_hands_over_the_years_progress(session: Session, service: None) -> None:
    make.tariff(
        session,
        make.price(
            model="graduated",
            resets="financial-year",
            included={"quantity": "4", "per": "financial-year"},
            tiers=[
                {"up_to": "10", "unit_price": "1.00"},
                {"up_to": None, "unit_price": "0.50"},
            ],
        ),
    )
    old, new = _trusts(session, "RA1", "RA2")
    make.usage(session, code="RA1", quantity="8")
    make.usage(session, code="RA2", quantity="9")
    _rate(session)
    merge_accounts(
        session,
        predecessor_id=old.id,
        successor_id=new.id,
        effective_on=date(2026, 5, 16),
        principal=make.ANALYST,
        now=make.NOW,
    )
    for code, day in (("RA1", 3), ("RA2", 20)):
        make.usage(session, code=code, quantity="2", at=date(2026, 5, day))
    make.usage(session, code="RA2", quantity="6", at=date(2026, 6, 10))
    june = Month(2026, 6)
    _rate(session, MAY)
    _rate(session, june)
    # Of each one's own year, 4 are free: 4 and 5 in April, then 2 each in May.
    assert [_amounts(session, trust) for trust in (old, new)] == [["4.00"], ["5.00"]]
    assert [_amounts(session, trust, MAY) for trust in (old, new)] == [["2.00"], ["2.00"]]
    # From June they are one: nothing is free, and 6 and 7 were priced: past the first 10.
    assert _amounts(session, new, june) == ["3.00"]
    # What comes late for the predecessor moves the successor's place in the year.
    make.usage(session, code="RA1", quantity="-2", at=date(2026, 5, 4))
    _rate(session, MAY)
    _rate(session, june)
    assert _amounts(session, new, june) == ["3.00"]
    make.usage(session, code="RA1", quantity="-4", at=date(2026, 4, 4))
    _rate(session)
    _rate(session, MAY)
    _rate(session, june)
    # 0 and 7 before: 3 at 1.00, then 3 at 0.50.
    assert _amounts(session, new, june) == ["4.50"]


def test_progress_is_handed_on_through_two_mergers_but_no_promise_is() -> None:
    def at(code: str | None, billable: str, price_key: str = "calls") -> Position:
        return Position(code, None, "records", price_key, Decimal(1), Decimal(billable))

    assert hand_over(
        [
            at("RA1", "5"),
            at("RA2", "7"),
            at("RA3", "1"),
            at(None, "9"),
            at("RA1", "40", "commitment/local"),
        ],
        {"RA1": "RA3", "RA2": "RA3"},
    ) == (
        Position("RA3", None, "records", "calls", Decimal(3), Decimal(13)),
        at(None, "9"),
        at("RA1", "40", "commitment/local"),
    )


def _rows(session: Session) -> dict[tuple[str, str], str]:
    """Return where each charge's row lies: a row that is written again lies elsewhere."""
    rows = session.execute(text("SELECT account_id, id, ctid::text FROM charges"))
    return {(account_id, charge_id): place for account_id, charge_id, place in rows}


def test_only_the_charges_that_differ_are_written(session: Session, service: None) -> None:
    make.meter(session, code="own-meter")
    make.tariff(session, POOLED, make.price(meter="own-meter"))
    first, _ = _trusts(session, "RA1", "RA2")
    for code in ("RA1", "RA2"):
        make.usage(session, code=code, quantity="20")
        make.usage(session, code=code, meter="own-meter", quantity="2")
    _rate(session)
    before = _rows(session)
    make.usage(session, code="RA1", quantity="1")
    assert _rate(session, now=NOW + timedelta(minutes=5)).written == 2
    moved = {row for row, place in _rows(session).items() if before[row] != place}
    own = {
        (charge.account_id, charge.id)
        for charge in session.scalars(select(ChargeRow).where(ChargeRow.scope == "own"))
    }
    assert moved == before.keys() - own
    assert len(own) == 2
    ratings = session.scalars(select(RatingRow.charge_marks)).all()
    assert {len(marks or b"") for marks in ratings} == {2 * (13 + 8)}
    assert sum(Decimal(amount) for amount in _amounts(session, first)) > 0


def test_charges_of_before_marks_were_kept_are_replaced(session: Session, service: None) -> None:
    make.tariff(session)
    (trust,) = _trusts(session, "RRK")
    make.usage(session, quantity="3")
    _rate(session)
    session.execute(update(RatingRow).values(charge_marks=None))
    session.execute(update(ChargeRow).values(id="chg_of_another_time"))
    make.usage(session, quantity="1")
    assert _rate(session).written == 1
    assert _amounts(session, trust) == ["2.00"]


def test_whoever_makes_rating_fail_is_set_aside_and_nothing_is_written_twice(
    session: Session, service: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "ACCOUNTS_AT_ONCE", 1)
    make.tariff(session)
    sound, broken, other = _trusts(session, "RA1", "RA2", "RA3")
    for code in ("RA1", "RA2", "RA3"):
        make.usage(session, code=code, quantity="2")
    real = segments.segments_of

    def fails_for_one(agreement: Agreement, versions: segments.Versions) -> list[segments.Segment]:
        if agreement.account == "RA2":
            raise ValueError("two local terms on one day")
        return real(agreement, versions)

    monkeypatch.setattr(engine, "segments_of", fails_for_one)
    counts = _rate(session)
    assert (counts.faults, counts.charges, counts.written) == (1, 2, 2)
    assert [_amounts(session, trust) for trust in (sound, broken, other)] == [
        ["1.00"],
        [],
        ["1.00"],
    ]
    (parked,) = queries.parked(session)
    assert (parked.organisation, parked.code) == ("RA2", "account-contradiction")
    assert "two local terms" in parked.detail
