"""Local agreements: two people, dates, and what they come to in pounds and pence."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.accounts import local_operations as local
from billing.accounts import queries
from billing.accounts.operations import BadDates, RetrospectiveReasonMissing
from billing.accounts.tables import AccountRow, AgreementRow, LocalAgreementRow
from billing.accounts.terms import LocalTermsInvalid, checked_terms
from billing.charges import queries as charges
from billing.charges.operations import rate_charges
from billing.tariffs.operations import FourEyes, note_invoiced
from billing.tariffs.parsing import TariffRefused
from metering.kit import migrate
from metering.kit.db import Database
from metering.periods import Month
from tests import make

APRIL, MARCH = Month(2026, 4), Month(2027, 3)
NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
def service(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session, make.price(unit_price="1.00"))


def propose(
    session: Session, terms: dict[str, Any], *, starts_on: date = date(2026, 4, 1), **facts: Any
) -> LocalAgreementRow:
    return local.propose_local_agreement(
        session,
        tariff_code="imaging-archive",
        terms=terms,
        starts_on=starts_on,
        principal=make.ANALYST,
        now=NOW,
        **facts,
    )


def agree(session: Session, terms: dict[str, Any], **facts: Any) -> LocalAgreementRow:
    row = propose(session, terms, **facts)
    return local.approve_local_agreement(session, local_id=row.id, principal=make.APPROVER, now=NOW)


def trust(session: Session, code: str = "RRK", **facts: Any) -> AccountRow:
    made = make.account(session, code=code)
    make.agreement(session, account=made, **facts)
    return made


def amounts(session: Session, account: AccountRow, month: Month = APRIL) -> list[tuple[str, str]]:
    rate_charges(session, month=month, now=NOW)
    session.expire_all()
    return sorted(
        (charge.label, str(charge.amount))
        for charge in charges.charges(session, account_id=account.id, month=month)
    )


def test_a_discount_holds_from_its_day_to_its_end(session: Session, service: None) -> None:
    account = trust(session)
    agree(
        session,
        {"discount_percent": "10"},
        account_id=account.id,
        starts_on=date(2026, 4, 10),
        ends_on=date(2026, 4, 20),
    )
    for day in (9, 10, 19, 20):
        make.usage(session, quantity="100", at=date(2026, 4, day))
    assert [amount for _, amount in amounts(session, account)] == ["100.00", "100.00", "180.00"]


def test_other_prices_wait_for_a_second_person(session: Session, service: None) -> None:
    account = trust(session)
    make.usage(session, quantity="100")
    row = propose(session, {"prices": [make.price(unit_price="0.80")]}, account_id=account.id)
    assert amounts(session, account) == [("Studies archived", "100.00")]
    with pytest.raises(FourEyes):
        local.approve_local_agreement(session, local_id=row.id, principal=make.ANALYST, now=NOW)
    local.approve_local_agreement(session, local_id=row.id, principal=make.APPROVER, now=NOW)
    assert amounts(session, account) == [("Studies archived", "80.00")]
    with pytest.raises(local.LocalAgreementStanding):
        local.approve_local_agreement(session, local_id=row.id, principal=make.APPROVER, now=NOW)


def test_a_commitment_that_is_not_met_is_charged_as_a_shortfall(
    session: Session, service: None
) -> None:
    account = trust(session)
    make.usage(session, quantity="30")
    agree(
        session,
        {"commitment": {"amount": "100.00", "per": "month"}},
        account_id=account.id,
    )
    assert amounts(session, account) == [
        ("Shortfall against commitment", "70.00"),
        ("Studies archived", "30.00"),
    ]


def test_a_years_commitment_is_settled_in_march_over_the_whole_year(
    session: Session, service: None
) -> None:
    account = trust(session)
    agree(
        session,
        {"commitment": {"amount": "1000.00", "per": "financial-year"}},
        account_id=account.id,
    )
    month = APRIL
    while month <= MARCH:
        make.usage(session, quantity="50", at=month.first_day)
        rate_charges(session, month=month, now=NOW)
        month = month.next
    assert amounts(session, account, Month(2027, 2)) == [("Studies archived", "50.00")]
    # Twelve months of 50.00 are 600.00 of the 1,000.00.
    assert amounts(session, account, MARCH) == [
        ("Shortfall against commitment", "400.00"),
        ("Studies archived", "50.00"),
    ]


def test_a_group_shares_a_price_and_its_commitment(session: Session, service: None) -> None:
    first = trust(session, "RA1", group_code="QWE")
    second = trust(session, "RA2", group_code="QWE")
    agree(
        session,
        {
            "prices": [
                make.price(
                    model="graduated",
                    scope="group",
                    tiers=[
                        {"up_to": "10", "unit_price": "1.00"},
                        {"up_to": None, "unit_price": "0.50"},
                    ],
                )
            ],
            "commitment": {"amount": "45.00"},
        },
        group_code="QWE",
    )
    make.usage(session, code="RA1", quantity="30")
    make.usage(session, code="RA2", quantity="10")
    # Together 40: 10 and 15 are 25.00; three quarters are RA1's, and of the 20.00 short too.
    assert amounts(session, first) == [
        ("Shortfall against commitment", "15.00"),
        ("Studies archived", "18.75"),
    ]
    assert amounts(session, second) == [
        ("Shortfall against commitment", "5.00"),
        ("Studies archived", "6.25"),
    ]


def test_an_end_needs_two_people_too(session: Session, service: None) -> None:
    account = trust(session)
    row = agree(session, {"discount_percent": "50"}, account_id=account.id)
    make.usage(session, quantity="100", at=date(2026, 4, 20))
    with pytest.raises(local.LocalAgreementStanding):
        local.approve_end(session, local_id=row.id, principal=make.APPROVER, now=NOW)
    local.propose_end(
        session, local_id=row.id, ends_on=date(2026, 4, 15), principal=make.ANALYST, now=NOW
    )
    assert amounts(session, account) == [("Studies archived", "50.00")]
    with pytest.raises(FourEyes):
        local.approve_end(session, local_id=row.id, principal=make.ANALYST, now=NOW)
    local.approve_end(session, local_id=row.id, principal=make.APPROVER, now=NOW)
    assert amounts(session, account) == [("Studies archived", "100.00")]
    with pytest.raises(BadDates):
        local.propose_end(
            session, local_id=row.id, ends_on=date(2026, 4, 15), principal=make.ANALYST, now=NOW
        )


def test_one_local_agreement_at_a_time_the_groups_included(session: Session, service: None) -> None:
    account = trust(session, group_code="QWE")
    agree(session, {"discount_percent": "5"}, account_id=account.id, ends_on=date(2026, 7, 1))
    for owner in ({"account_id": account.id}, {"group_code": "QWE"}):
        row = propose(session, {"discount_percent": "7"}, starts_on=date(2026, 6, 30), **owner)
        with pytest.raises(local.LocalAgreementOverlaps):
            local.approve_local_agreement(
                session, local_id=row.id, principal=make.APPROVER, now=NOW
            )
        rejected = local.reject_local_agreement(
            session, local_id=row.id, principal=make.ANALYST, now=NOW, reason="a slip"
        )
        assert rejected.status == "rejected"
    agree(session, {"discount_percent": "7"}, starts_on=date(2026, 7, 1), group_code="QWE")
    assert len(queries.local_agreements(session)) == 2


def test_invoiced_months_need_a_reason(session: Session, service: None) -> None:
    account = trust(session)
    note_invoiced(session, end_day=date(2026, 5, 1))
    with pytest.raises(RetrospectiveReasonMissing):
        propose(session, {"discount_percent": "5"}, account_id=account.id)
    row = agree(
        session, {"discount_percent": "5"}, account_id=account.id, reason="agreed by letter"
    )
    assert row.reason == "agreed by letter"


def test_no_one_person_can_give_an_account_terms_of_its_own(
    session: Session, service: None
) -> None:
    with pytest.raises(TypeError, match="terms"):
        trust(session, terms={"discount_percent": "10"})
    account = trust(session, code="RA1")
    with pytest.raises(IntegrityError, match="four_eyes"), session.begin_nested():
        session.execute(
            text(
                "INSERT INTO local_agreements SELECT 'loc_x', :account, NULL, 'imaging-archive',"
                " '2026-04-01', NULL, '{}', 'approved', '', 'ann', now(), 'ann', now()"
            ),
            {"account": account.id},
        )


def test_terms_of_before_two_people_were_needed_become_local_agreements(
    database: Database, database_url: str
) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        make.tariff(session)
        account = trust(session)
        agree(
            session,
            {"discount_percent": "50"},
            account_id=account.id,
            starts_on=date(2026, 4, 10),
            ends_on=date(2026, 4, 20),
        )
        for day in (5, 15, 25):
            make.usage(session, quantity="100", at=date(2026, 4, day))
    migrate.downgrade(database_url, revision="0021")
    with database.transaction() as session:
        session.execute(text('UPDATE agreements SET terms = \'{"discount_percent": "10"}\''))
    migrate.upgrade(database_url)
    with database.transaction() as session:
        assert [amount for _, amount in amounts(session, account)] == ["25.00", "45.00", "45.00"]
        (agreement_id,) = session.scalars(select(AgreementRow.id))
        assert [row.id for row in queries.local_agreements(session)][::2] == [
            agreement_id,
            f"{agreement_id}-2",
        ]


def test_what_two_people_agreed_never_changes(session: Session, service: None) -> None:
    account = trust(session)
    row = agree(session, {"discount_percent": "5"}, account_id=account.id)
    for change in ({"terms": {"discount_percent": "50"}}, {"ends_on": date(2026, 6, 1)}):
        with pytest.raises(IntegrityError, match="cannot change"), session.begin_nested():
            session.execute(
                update(LocalAgreementRow).where(LocalAgreementRow.id == row.id).values(change)
            )
    with pytest.raises(IntegrityError, match="cannot change"), session.begin_nested():
        session.execute(text("DELETE FROM local_agreements"))


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({}, ""),
        ({"discount": "5"}, "/discount"),
        ({"discount_percent": "101"}, "/discount_percent"),
        ({"discount_percent": 5.5}, "/discount_percent"),
        ({"commitment": {"amount": "0"}}, "/commitment/amount"),
        ({"commitment": {"amount": "5.005"}}, "/commitment/amount"),
        ({"commitment": {"amount": "5", "per": "week"}}, "/commitment/per"),
        ({"prices": [{"model": "per-unit"}]}, "/prices/0/unit_price"),
        (
            {"prices": [{"meter": "m", "model": "per-unit", "unit_price": "1", "scope": "pool"}]},
            "/prices/0/scope",
        ),
        (
            {"prices": [{"meter": "m", "model": "per-unit", "unit_price": "1", "scope": "group"}]},
            "/prices/0/scope",
        ),
    ],
)
def test_terms_that_cannot_be_are_refused_by_their_place(
    terms: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(LocalTermsInvalid) as refusal:
        checked_terms(terms)
    assert pointer in {error.pointer for error in refusal.value.errors}


def test_a_price_for_what_the_service_does_not_count_is_refused(
    session: Session, service: None
) -> None:
    account = trust(session)
    with pytest.raises(TariffRefused):
        propose(session, {"prices": [make.price(meter="nothing")]}, account_id=account.id)
