"""Invoices that a trust can pay without a phone call: orders, cost centres, small ones."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from billing.accounts import invoicing
from billing.accounts.allocating import (
    CostAllocationInvalid,
    CostAllocationOverlaps,
    set_allocation,
)
from billing.accounts.allocation import CostShare
from billing.accounts.ordering import OrderState
from billing.accounts.tables import AccountRow
from billing.invoices import queries as invoices
from billing.invoices.model import cost_centre_totals
from billing.invoices.verifying import verify_invoices
from billing.notifications.tables import AnnouncementRow
from billing.runs import operations, queries, work
from billing.runs.reconciling import reconcile_month
from metering.kit.db import Database
from metering.periods import Month
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, JUNE, MAY, amounts, month_end, service, trusts, uses

NEW_YEAR_MONTHS = (Month(2026, 2), Month(2026, 3), APRIL)


def share(centre: str, percent: str, code: str | None = None) -> CostShare:
    return CostShare(cost_centre=centre, subjective_code=code, percent=Decimal(percent))


def allocate(database: Database, trust: AccountRow, *shares: CostShare, **facts: object) -> None:
    said = {"starts_on": date(2026, 4, 1), **facts}
    with database.transaction() as session:
        set_allocation(
            session,
            account_id=trust.id,
            shares=shares,
            principal=make.ANALYST,
            now=make.NOW,
            **said,  # type: ignore[arg-type]  # facts of the rule under test
        )


def order(database: Database, trust: AccountRow, number: str, **facts: object) -> None:
    said = {"starts_on": date(2026, 4, 1), **facts}
    with database.transaction() as session:
        invoicing.add_purchase_order(
            session,
            account_id=trust.id,
            number=number,
            principal=make.ANALYST,
            now=make.NOW,
            **said,  # type: ignore[arg-type]  # facts of the order under test
        )


def test_three_cost_centres_share_a_line_and_no_penny_is_lost(database: Database) -> None:
    service(database, make.price(unit_price="1.00"))
    (trust,) = trusts(database, "RRK")
    allocate(
        database,
        trust,
        share("C1", "33.3333", "5230"),
        share("C2", "33.3333", "5230"),
        share("C3", "33.3334"),
    )
    uses(database, "RRK", "100")
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert amounts(invoice) == ("100.00", "20.00", "120.00")
    assert [(line.cost_centre, str(line.net), str(line.quantity)) for line in invoice.lines] == [
        ("C1", "33.33", "33.3333"),
        ("C2", "33.33", "33.3333"),
        ("C3", "33.34", "33.3334"),
    ]
    assert cost_centre_totals(invoice.lines) == (
        ("C1", "5230", Decimal("33.33")),
        ("C2", "5230", Decimal("33.33")),
        ("C3", None, Decimal("33.34")),
    )
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()
        assert all(row.invoiced == 100 for row in reconcile_month(session, month=APRIL))
    # A split line is one thing to the next month: nothing is asked for twice.
    assert month_end(database, MAY) == {}
    uses(database, "RRK", "-50", at=date(2026, 4, 15))
    (credit,) = month_end(database, JUNE)["RRK"]
    assert [str(line.net) for line in credit.lines] == ["16.67", "16.66", "16.67"]
    assert str(credit.net) == "50.00"
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()


def test_lines_are_grouped_by_cost_centre_and_numbered_so(database: Database) -> None:
    service(
        database, make.price(unit_price="1.00"), make.price(meter=None, model="flat", amount="9.00")
    )
    (trust,) = trusts(database, "RRK")
    allocate(database, trust, share("B2", "50"), share("A1", "50"))
    uses(database, "RRK", "10", at=date(2026, 4, 3))
    month_end(database, APRIL)
    uses(database, "RRK", "4", at=date(2026, 4, 4))
    uses(database, "RRK", "10", at=date(2026, 5, 3))
    (invoice,) = month_end(database, MAY)["RRK"]
    assert [(line.number, line.kind.value, line.cost_centre) for line in invoice.lines] == [
        (1, "flat", "A1"),
        (2, "usage", "A1"),
        (3, "flat", "B2"),
        (4, "usage", "B2"),
        (5, "correction", "A1"),
        (6, "correction", "B2"),
    ]
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()


def test_the_most_specific_rule_bears_the_line_and_rules_are_dated(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, dimensions={"modality": {"label": "Modality", "values": ["CT", "MR"]}})
        make.tariff(session, make.price(), make.price(where={"modality": "CT"}))
    (trust,) = trusts(database, "RRK")
    tariff = {"tariff_code": "imaging-archive"}
    allocate(database, trust, share("ALL", "100"))
    allocate(
        database,
        trust,
        share("CT", "100", "5231"),
        **tariff,
        meter="studies-archived",
        dimensions={"modality": "CT"},
    )
    allocate(database, trust, share("NEW", "100"), starts_on=date(2026, 5, 1))
    for at in (date(2026, 4, 2), date(2026, 5, 2)):
        uses(database, "RRK", "10", at=at, dimensions={"modality": "CT"})
        uses(database, "RRK", "10", at=at, dimensions={"modality": "MR"})
    for month, centres in ((APRIL, {"ALL", "CT"}), (MAY, {"NEW", "CT"})):
        (invoice,) = month_end(database, month)["RRK"]
        assert {line.cost_centre for line in invoice.lines} == centres


@pytest.mark.parametrize(
    "shares",
    [
        (),
        (share("A", "60"), share("B", "39.99")),
        (share("A", "100"), share("B", "0")),
        (share("A", "50"), share("A", "50")),
        (share(" ", "100"),),
    ],
)
def test_shares_that_do_not_make_a_whole_are_refused(
    database: Database, shares: tuple[CostShare, ...]
) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    with pytest.raises(CostAllocationInvalid):
        allocate(database, trust, *shares)


def test_two_rules_for_the_same_lines_never_hold_at_once(database: Database) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    allocate(database, trust, share("A", "100"), starts_on=date(2026, 6, 1))
    with pytest.raises(CostAllocationOverlaps):
        allocate(database, trust, share("B", "100"))
    allocate(database, trust, share("B", "100"), ends_on=date(2026, 6, 1))


def test_an_order_that_runs_out_is_warned_of_and_then_holds_the_invoice(
    database: Database,
) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    order(database, trust, "PO-77", value=Decimal("100.00"), hold_when_spent=True)
    for month, quantity in ((APRIL, "100"), (MAY, "70"), (JUNE, "40")):
        uses(database, "RRK", quantity, at=month.first_day)
    months = [amounts(month_end(database, month)["RRK"][0])[0] for month in (APRIL, MAY)]
    assert months == ["50.00", "35.00"]
    with database.snapshot() as session:
        (standing,) = invoices.orders_standing(session, account_id=trust.id, on=date(2026, 6, 1))
        assert (standing.state, str(standing.remaining)) == (OrderState.LOW, "15.00")
        (told,) = session.scalars(
            select(AnnouncementRow).where(AnnouncementRow.kind == "order.low")
        )
        assert told.facts == {
            "order": "PO-77",
            "value": "100.00",
            "used": "85.00",
            "used_percent": 85,
        }
    run_id = story.draft(database, JUNE)
    with database.snapshot() as session:
        (account,) = queries.review(session, run_id=run_id).accounts
        assert (account.status, account.reason) == (
            "held",
            "The invoice is £20.00 without VAT and purchase order PO-77 has £15.00 left.",
        )
        assert [check.name for check in account.failing] == ["purchase-order"]
    with database.transaction() as session:
        operations.release_account(
            session,
            run_id=run_id,
            account_id=trust.id,
            principal=make.ANALYST,
            now=story.after(JUNE),
            over_order=True,
        )
    story.approve(database, run_id, JUNE)
    work.issue_run(database, run_id=run_id, principal=story.APPROVER, now=story.after(JUNE))
    with database.snapshot() as session:
        (standing,) = invoices.orders_standing(session, account_id=trust.id, on=date(2026, 6, 1))
        assert (standing.state, str(standing.remaining)) == (OrderState.SPENT, "-5.00")


def test_the_order_is_chosen_by_service_and_date(database: Database) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    order(database, trust, "PO-ALL")
    order(
        database,
        trust,
        "PO-ARCHIVE",
        tariff_code="imaging-archive",
        starts_on=date(2026, 5, 1),
        ends_on=date(2026, 6, 1),
    )
    for month, number in ((APRIL, "PO-ALL"), (MAY, "PO-ARCHIVE"), (JUNE, "PO-ALL")):
        uses(database, "RRK", "10", at=month.first_day)
        (invoice,) = month_end(database, month)["RRK"]
        assert invoice.purchase_order is not None
        assert invoice.purchase_order.number == number


def test_an_account_that_needs_an_order_waits_for_one(database: Database) -> None:
    service(database)
    with database.transaction() as session:
        trust = make.account(session, code="RRK", order_required=True)
        make.agreement(session, account=trust)
    uses(database, "RRK", "10")
    run_id = story.draft(database, APRIL)
    with database.snapshot() as session:
        (account,) = queries.review(session, run_id=run_id).accounts
        assert (account.status, account.reason) == (
            "held",
            "No purchase order is in force for this month.",
        )
    order(database, trust, "PO-1")
    with database.transaction() as session:
        operations.release_account(
            session,
            run_id=run_id,
            account_id=trust.id,
            principal=make.ANALYST,
            now=story.after(APRIL),
        )
    work.draft_run(database, run_id=run_id, now=story.after(APRIL))
    with database.snapshot() as session:
        (account,) = queries.review(session, run_id=run_id, account_id=trust.id).accounts
        assert account.status == "drafted"
        (checks,) = account.checked.values()
        assert {check.outcome.value for check in checks} == {"pass"}
        assert account.noted == ()


def start_with_smallest(database: Database, month: Month, smallest: str) -> str:
    with database.transaction() as session:
        return operations.start_run(
            session,
            month=month,
            supplier=story.SUPPLIER,
            principal=story.STARTER,
            now=story.after(month),
            smallest_invoice=Decimal(smallest),
        ).id


def test_small_amounts_are_carried_over_but_never_past_march(database: Database) -> None:
    service(database, make.price(unit_price="1.00"), effective_from=date(2025, 4, 1))
    trusts(database, "RRK", starts_on=date(2025, 4, 1))
    found = {}
    for month, quantity in zip(NEW_YEAR_MONTHS, ("4", "5", "3"), strict=True):
        uses(database, "RRK", quantity, at=month.first_day)
        start_with_smallest(database, month, "10.00")
        documents = month_end(database, month).get("RRK", [])
        found[str(month)] = [str(document.net) for document in documents]
    assert found == {"2026-02": [], "2026-03": ["9.00"], "2026-04": []}
    with database.snapshot() as session:
        run = queries.run_of(session, month=APRIL)
        assert run is not None
        (account,) = queries.review(session, run_id=run.id).accounts
        assert (account.status, account.reason) == (
            "carried-over",
            "£3.00 without VAT is below £10.00; it goes on the next month's invoice.",
        )
        (row,) = reconcile_month(session, month=APRIL)
        assert (row.unbilled, row.reason, row.differences) == (Decimal(3), "carried-over", ())


def test_what_was_carried_over_is_told_with_its_own_month(database: Database) -> None:
    service(database, make.price(unit_price="1.00"))
    trusts(database, "RRK")
    uses(database, "RRK", "4", at=date(2026, 4, 3))
    uses(database, "RRK", "8", at=date(2026, 5, 3))
    start_with_smallest(database, APRIL, "10.00")
    assert month_end(database, APRIL) == {}
    start_with_smallest(database, MAY, "10.00")
    (invoice,) = month_end(database, MAY)["RRK"]
    assert [(line.first_day.month, str(line.net), line.kind.value) for line in invoice.lines] == [
        (4, "4.00", "usage"),
        (5, "8.00", "usage"),
    ]


def test_money_back_is_never_carried_over(database: Database) -> None:
    service(database, make.price(unit_price="1.00"))
    trusts(database, "RRK")
    uses(database, "RRK", "20", at=date(2026, 4, 3))
    month_end(database, APRIL)
    uses(database, "RRK", "-2", at=date(2026, 4, 3))
    start_with_smallest(database, MAY, "10.00")
    (credit,) = month_end(database, MAY)["RRK"]
    assert (credit.number, str(credit.net)) == ("PC-2627-000001", "2.00")
