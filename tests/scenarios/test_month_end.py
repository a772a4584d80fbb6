"""Month ends as a trust's finance team would tell them, in pounds and pence."""

import csv
import io
from datetime import date, datetime
from decimal import Decimal

from billing.accounts import invoicing, successions
from billing.documents.lines_csv import lines_csv
from billing.documents.pdf import page_model
from billing.invoices import queries as invoice_queries
from billing.payments.debt import open_debts
from metering.kit.db import Database
from metering.periods import Month
from tests import make
from tests.scenarios.story import (
    APRIL,
    JUNE,
    MAY,
    after,
    amounts,
    month_end,
    net_of,
    service,
    trusts,
    uses,
)

POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "1", "unit_price": "100.00"},
        {"up_to": "50", "unit_price": "80.00"},
        {"up_to": None, "unit_price": "60.00"},
    ],
)


def test_a_trust_uses_a_service_and_is_invoiced_for_it(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "21", at=date(2026, 4, 3))
    uses(database, "RRK", "4", at=date(2026, 4, 30))
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert amounts(invoice) == ("12.50", "2.50", "15.00")
    assert (invoice.number, invoice.tax_point, invoice.due_on) == (
        "PG-2627-000001",
        date(2026, 5, 5),
        date(2026, 6, 4),
    )
    (line,) = invoice.lines
    assert (line.description, line.quantity, line.unit_price, line.unit) == (
        "Studies archived",
        Decimal(25),
        Decimal("0.5"),
        "studies",
    )


def test_a_month_without_usage_sends_no_invoice(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    assert month_end(database, APRIL) == {}


def test_usage_that_is_all_included_sends_no_invoice(database: Database) -> None:
    service(database, make.price(included={"quantity": "100", "per": "month"}))
    trusts(database, "RRK")
    uses(database, "RRK", "60")
    assert month_end(database, APRIL) == {}


def test_three_trusts_share_a_pool_and_the_invoice_says_what_it_saved(
    database: Database,
) -> None:
    service(database, POOLED)
    trusts(database, "RA1", "RA2", "RA3")
    for code, quantity in (("RA1", "30"), ("RA2", "35"), ("RA3", "30")):
        uses(database, code, quantity)
    invoices = month_end(database, APRIL)
    nets = {code: str(document.net) for code, (document,) in invoices.items()}
    assert nets == {"RA1": "2122.11", "RA2": "2475.79", "RA3": "2122.10"}
    # Alone, 30 would be 100 + 29 × 80 = 2,420.00.
    assert invoices["RA1"][0].pool_saving == Decimal("297.89")
    assert sum(map(Decimal, nets.values())) == Decimal("6720.00")


def test_two_trusts_share_a_pool_and_one_leaves_mid_month(database: Database) -> None:
    service(database, POOLED)
    trusts(database, "RA1")
    trusts(database, "RA2", ends_on=date(2026, 4, 16))
    uses(database, "RA1", "1", at=date(2026, 4, 20))
    uses(database, "RA2", "1", at=date(2026, 4, 10))
    uses(database, "RA2", "1", at=date(2026, 4, 16))
    invoices = month_end(database, APRIL)
    # Together 2: 100 + 80, so 90 each; what RA2 used after leaving has no agreement.
    assert {code: str(document.net) for code, (document,) in invoices.items()} == {
        "RA1": "90.00",
        "RA2": "90.00",
    }


def test_late_usage_after_issue_is_asked_for_next_month_at_the_frozen_price(
    database: Database,
) -> None:
    service(database, POOLED)
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "1", at=date(2026, 4, 10))
    uses(database, "RA2", "1", at=date(2026, 4, 10))
    month_end(database, APRIL)
    uses(database, "RA2", "2", at=date(2026, 4, 12))
    uses(database, "RA1", "1", at=date(2026, 5, 10))
    invoices = month_end(database, MAY)
    assert amounts(invoices["RA1"][0]) == ("100.00", "20.00", "120.00")
    (late,) = invoices["RA2"]
    assert amounts(late) == ("180.00", "36.00", "216.00")
    (line,) = late.lines
    assert (line.kind, line.quantity, line.description) == (
        "correction",
        Decimal(2),
        "Correction for April 2026: Studies archived",
    )
    assert line.working[0]["text"] == (
        "April 2026 should come to £270.00 for 3 and was invoiced at £90.00 for 1, first on "
        "PG-2627-000002: the difference is £180.00."
    )
    # And nothing is asked for twice.
    assert month_end(database, JUNE) == {}


def test_usage_withdrawn_after_issue_is_taken_off_the_next_invoice(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "100", at=date(2026, 4, 10))
    month_end(database, APRIL)
    uses(database, "RRK", "-20", at=date(2026, 4, 10))
    uses(database, "RRK", "100", at=date(2026, 5, 10))
    (invoice,) = month_end(database, MAY)["RRK"]
    assert [(line.kind, str(line.net)) for line in invoice.lines] == [
        ("usage", "50.00"),
        ("correction", "-10.00"),
    ]
    assert amounts(invoice) == ("40.00", "8.00", "48.00")


def test_a_negative_month_is_an_invoice_for_its_usage_and_a_credit_note(
    database: Database,
) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "100", at=date(2026, 4, 10))
    month_end(database, APRIL)
    uses(database, "RRK", "-80", at=date(2026, 4, 10))
    uses(database, "RRK", "10", at=date(2026, 5, 10))
    credit, invoice = month_end(database, MAY)["RRK"]
    assert (invoice.number, *amounts(invoice)) == ("PG-2627-000002", "5.00", "1.00", "6.00")
    assert (credit.number, *amounts(credit)) == ("PC-2627-000001", "40.00", "8.00", "48.00")
    assert (credit.credits_number, credit.owed) == ("PG-2627-000001", Decimal("-48.00"))
    assert month_end(database, JUNE) == {}


def test_a_zero_invoice_is_issued_and_asks_for_nothing(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "100", at=date(2026, 4, 10))
    month_end(database, APRIL)
    uses(database, "RRK", "-100", at=date(2026, 4, 10))
    uses(database, "RRK", "100", at=date(2026, 5, 10))
    (zero,) = month_end(database, MAY)["RRK"]
    assert [str(line.net) for line in zero.lines] == ["50.00", "-50.00"]
    assert amounts(zero) == ("0.00", "0.00", "0.00")
    assert zero.number == "PG-2627-000002"
    page = page_model(zero)
    assert (page["total"], page["due"], page["pay"]) == ("£0.00", "", [])
    with database.snapshot() as session:
        (row,) = [
            row
            for row in invoice_queries.invoices(session, account_id=zero.account_id)
            if row.number == zero.number
        ]
        assert row.status == "settled"
        assert [debt.number for debt in open_debts(session, on=after(MAY).date())] == [
            "PG-2627-000001"
        ]
    assert month_end(database, JUNE) == {}


def test_everything_withdrawn_is_credited_to_the_penny(database: Database) -> None:
    service(database, make.price(unit_price="0.333"))
    trusts(database, "RRK")
    uses(database, "RRK", "7", at=date(2026, 4, 10))
    (invoice,) = month_end(database, APRIL)["RRK"]
    uses(database, "RRK", "-7", at=date(2026, 4, 10))
    (credit,) = month_end(database, MAY)["RRK"]
    assert amounts(credit) == amounts(invoice) == ("2.33", "0.47", "2.80")


def test_a_tariff_changes_mid_month(database: Database) -> None:
    service(database)
    with database.transaction() as session:
        make.tariff(session, make.price(unit_price="0.40"), effective_from=date(2026, 4, 16))
    trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 15))
    uses(database, "RRK", "10", at=date(2026, 4, 16))
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert [(str(line.net), line.first_day.day, line.last_day.day) for line in invoice.lines] == [
        ("5.00", 1, 15),
        ("4.00", 16, 30),
    ]


def test_a_retrospective_price_corrects_what_was_invoiced(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "100", at=date(2026, 4, 10))
    month_end(database, APRIL)
    with database.transaction() as session:
        make.tariff(session, make.price(unit_price="0.60"), reason="The agreed price was 60p")
    uses(database, "RRK", "1", at=date(2026, 5, 10))
    (invoice,) = month_end(database, MAY)["RRK"]
    # 60.00 should have been asked for April, 50.00 was; and one more at 60p.
    assert amounts(invoice) == ("10.60", "2.12", "12.72")
    assert month_end(database, JUNE) == {}


def test_the_clock_goes_forward_and_back_without_losing_an_hour(database: Database) -> None:
    service(database, effective_from=date(2025, 4, 1))
    trusts(database, "RRK", starts_on=date(2025, 4, 1))
    for at in (
        "2025-09-30T23:00:00+00:00",  # 1 October in London
        "2025-10-26T00:30:00+00:00",  # 01:30 the first time
        "2025-10-26T01:30:00+00:00",  # 01:30 again
        "2025-10-31T23:59:59+00:00",
        "2025-11-01T00:00:00+00:00",  # November
        "2026-03-01T00:00:00+00:00",
        "2026-03-31T22:59:59+00:00",
        "2026-03-31T23:00:00+00:00",  # 1 April in London
    ):
        uses(database, "RRK", "1", at=datetime.fromisoformat(at))
    october = month_end(database, Month(2025, 10))
    november = month_end(database, Month(2025, 11))
    march = month_end(database, Month(2026, 3))
    april = month_end(database, APRIL)
    assert [str(net_of(month["RRK"])) for month in (october, november, march, april)] == [
        "2.00",
        "0.50",
        "1.00",
        "0.50",
    ]
    assert [month["RRK"][0].number for month in (october, march, april)] == [
        "PG-2526-000001",
        "PG-2627-000001",
        "PG-2627-000002",
    ]


def test_two_trusts_merge_mid_month(database: Database) -> None:
    service(database)
    old, new = trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10", at=date(2026, 4, 10))
    with database.transaction() as session:
        successions.merge_accounts(
            session,
            predecessor_id=old.id,
            successor_id=new.id,
            effective_on=date(2026, 4, 16),
            principal=make.ANALYST,
            now=make.NOW,
        )
    uses(database, "RA2", "30", at=date(2026, 4, 20))
    before, after = sorted(month_end(database, APRIL)["RA2"], key=lambda document: document.net)
    # What the old trust used is on its own account, and addressed to the new one.
    assert (before.account_id, str(before.net)) == (old.id, "5.00")
    assert before.notes == (
        "For usage by Trust RA1 (RA1), which became part of Trust RA2 on 16 April 2026.",
    )
    assert (after.account_id, str(after.net)) == (new.id, "15.00")


def test_supplies_outside_the_scope_of_vat_go_on_an_invoice_of_their_own(
    database: Database,
) -> None:
    service(database, vat="outside-scope")
    with database.transaction() as session:
        make.source(session, code="pathology")
        make.meter(session, code="tests-reported", source="pathology", unit="tests")
        make.tariff(session, make.price(meter="tests-reported"), code="pathology")
    (trust,) = trusts(database, "RRK")
    with database.transaction() as session:
        make.agreement(session, account=trust, tariff="pathology")
    uses(database, "RRK", "10")
    uses(database, "RRK", "30", meter="tests-reported")
    taxed, outside = month_end(database, APRIL)["RRK"]
    assert amounts(taxed) == ("15.00", "3.00", "18.00")
    assert amounts(outside) == ("5.00", "0.00", "5.00")
    assert not outside.is_vat_invoice


def test_an_invoice_quotes_the_purchase_order_and_what_it_has_left(database: Database) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    with database.transaction() as session:
        invoicing.add_purchase_order(
            session,
            account_id=trust.id,
            number="PO-77",
            starts_on=date(2026, 4, 1),
            value=Decimal("60.00"),
            principal=make.ANALYST,
            now=make.NOW,
        )
    uses(database, "RRK", "100", at=date(2026, 4, 10))
    uses(database, "RRK", "100", at=date(2026, 5, 10))
    found = []
    for month in (APRIL, MAY):
        (invoice,) = month_end(database, month)["RRK"]
        assert invoice.purchase_order is not None
        found.append((invoice.purchase_order.number, str(invoice.purchase_order.remaining)))
    assert found == [("PO-77", "60.00"), ("PO-77", "10.00")]


def test_a_financial_year_that_has_a_29_february(database: Database) -> None:
    february = Month(2028, 2)
    service(database, make.price(model="flat", amount="29.00", meter=None))
    trusts(database, "RRK", starts_on=date(2028, 2, 29))
    (invoice,) = month_end(database, february)["RRK"]
    assert amounts(invoice) == ("1.00", "0.20", "1.20")


def test_units_are_many_unless_the_quantity_is_one(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, unit="study")
        make.tariff(session)
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "1")
    uses(database, "RA2", "2")
    invoices = month_end(database, APRIL)
    assert [invoices[code][0].lines[0].unit for code in ("RA1", "RA2")] == ["study", "studies"]


def test_a_blended_price_that_never_ends_is_printed_in_six_places(database: Database) -> None:
    service(
        database,
        make.price(
            model="graduated",
            scope="pool",
            tiers=[
                {"up_to": "1", "unit_price": "1.00"},
                {"up_to": None, "unit_price": "0.50"},
            ],
        ),
    )
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "1")
    uses(database, "RA2", "2")
    (invoice,) = month_end(database, APRIL)["RA2"]
    assert invoice.lines[0].price_words == "national pool price, £0.666666… a unit"
    (row,) = csv.DictReader(io.StringIO(lines_csv(invoice).decode("utf-8-sig")))
    assert row["Blended price (GBP)"] == "0.666666666666"


def test_an_exempt_supply_says_by_what_provision(database: Database) -> None:
    service(database, vat="exempt", vat_reason="VAT Act 1994, Schedule 9, Group 7")
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert [summary.reason for summary in invoice.vat_summaries] == [
        "VAT Act 1994, Schedule 9, Group 7"
    ]
    assert amounts(invoice) == ("5.00", "0.00", "5.00")
