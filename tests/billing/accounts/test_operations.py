"""Accounts: agreements, purchase orders, VAT treatments, mergers."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from billing.accounts import invoicing, model, operations, queries, successions
from billing.tariffs.operations import note_invoiced
from metering.organisations.queries import OrganisationUnknown
from metering.periods import london_midnight
from tests import make

BY = {"principal": make.ANALYST, "now": make.NOW}


@pytest.fixture
def service(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session)


def test_an_organisation_has_one_account(session: Session) -> None:
    make.account(session, code="RRK")
    with pytest.raises(operations.AccountExists):
        make.account(session, code="RRK")


def test_an_account_needs_a_registered_organisation_and_an_address(session: Session) -> None:
    with pytest.raises(operations.AccountDetailsIncomplete, match="address"):
        make.account(session, code="RRK", address=["  "])
    with pytest.raises(OrganisationUnknown):
        operations.open_account(
            session,
            organisation="XXX",
            name="Nobody",
            address=["1 Road"],
            postcode="LS1",
            email="a@b.example",
            **BY,
        )


def test_an_account_is_on_a_tariff_once_at_a_time(session: Session, service: None) -> None:
    trust = make.account(session)
    first = make.agreement(session, account=trust, ends_on=date(2026, 6, 1))
    with pytest.raises(operations.AgreementOverlaps):
        make.agreement(session, account=trust, starts_on=date(2026, 5, 31))
    make.agreement(session, account=trust, starts_on=date(2026, 6, 1))
    with pytest.raises(operations.BadDates):
        operations.end_agreement(
            session, account_id=trust.id, agreement_id=first.id, ends_on=date(2026, 4, 1), **BY
        )


def test_joining_in_an_invoiced_month_needs_a_reason(session: Session, service: None) -> None:
    trust = make.account(session)
    note_invoiced(session, end_day=date(2026, 6, 1))
    session.expire_all()
    with pytest.raises(operations.RetrospectiveReasonMissing):
        make.agreement(session, account=trust, starts_on=date(2026, 5, 15))
    make.agreement(session, account=trust, starts_on=date(2026, 5, 15), reason="Found late")


def test_the_most_particular_vat_treatment_applies(session: Session, service: None) -> None:
    trust = make.account(session)
    invoicing.set_vat_treatment(
        session,
        account_id=trust.id,
        treatment="outside-scope",
        reason="Within the NHS VAT division",
        starts_on=date(2026, 4, 1),
        **BY,
    )
    invoicing.set_vat_treatment(
        session,
        account_id=trust.id,
        treatment="standard",
        reason="",
        starts_on=date(2026, 6, 1),
        tariff_code="imaging-archive",
        **BY,
    )
    held = queries.vat_treatments(session, account_id=trust.id)

    def on(day: date, code: str = "imaging-archive") -> str:
        return model.treatment_for(held, tariff_code=code, tariff_vat="exempt", day=day).treatment

    assert on(date(2026, 3, 31)) == "exempt"
    assert on(date(2026, 5, 31)) == "outside-scope"
    assert on(date(2026, 6, 1)) == "standard"
    assert on(date(2026, 6, 1), "another") == "outside-scope"
    with pytest.raises(invoicing.TreatmentUnknown):
        invoicing.set_vat_treatment(
            session,
            account_id=trust.id,
            treatment="zero",
            reason=" ",
            starts_on=date(2026, 7, 1),
            **BY,
        )


def test_a_purchase_order_for_one_service_comes_before_the_one_for_all(
    session: Session, service: None
) -> None:
    trust = make.account(session)
    for number, code in (("PO-ALL", None), ("PO-IMG", "imaging-archive")):
        invoicing.add_purchase_order(
            session,
            account_id=trust.id,
            number=number,
            tariff_code=code,
            starts_on=date(2026, 4, 1),
            ends_on=date(2027, 4, 1),
            value=Decimal("100.00"),
            **BY,
        )
    orders = queries.orders(session, account_id=trust.id)

    def quoted(day: date, *codes: str) -> str | None:
        order = model.order_for(orders, tariff_codes=codes, day=day)
        return None if order is None else order.number

    assert quoted(date(2026, 4, 1), "imaging-archive") == "PO-IMG"
    assert quoted(date(2026, 4, 1), "imaging-archive", "other") == "PO-ALL"
    assert quoted(date(2027, 4, 1), "imaging-archive") is None


def test_a_merger_ends_the_predecessors_agreements_and_goes_on_with_the_successor(
    session: Session, service: None
) -> None:
    old, new = make.account(session, code="RA1"), make.account(session, code="RA2")
    make.agreement(session, account=old, group_code="QWO")
    successions.merge_accounts(
        session,
        predecessor_id=old.id,
        successor_id=new.id,
        effective_on=date(2026, 4, 16),
        **BY,
    )
    assert [a.ends_on for a in queries.agreements(session, account_id=old.id)] == [
        date(2026, 4, 16)
    ]
    assert [
        (a.starts_on, a.ends_on, a.group_code)
        for a in queries.agreements(session, account_id=new.id)
    ] == [(date(2026, 4, 16), None, "QWO")]
    assert (old.successor_id, old.closed_at) == (new.id, london_midnight(date(2026, 4, 16)))
    with pytest.raises(operations.AccountClosed):
        make.agreement(session, account=old, starts_on=date(2026, 5, 1))
