"""The journal balances and comes to what the invoice says."""

import csv
import io
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.documents.journal import UNCODED, JournalEntry, journal_csv, journal_entries
from billing.invoices.model import Invoice, Line, Treatment
from billing.money import sum_pounds
from tests.billing.documents import samples


def entries(invoice: Invoice) -> tuple[JournalEntry, ...]:
    return journal_entries(invoice, payables_code="PAY", vat_code="VAT")


def balance(found: tuple[JournalEntry, ...], code: str) -> Decimal:
    return sum_pounds([each.debit - each.credit for each in found if each.subjective_code == code])


coded_lines = st.builds(
    lambda pennies, rate, centre, heading: samples.line(
        str(Decimal(pennies).scaleb(-2)),
        treatment=Treatment.STANDARD if rate else Treatment.ZERO,
        vat_rate_percent=Decimal(rate),
        vat_reason=None if rate else "Zero-rated",
        cost_centre=centre,
        cos_heading=heading,
    ),
    st.integers(-100_000, 100_000),
    st.sampled_from([0, 5, 20]),
    st.sampled_from(["A1", "B2", None]),
    st.sampled_from(["14", "22", None]),
)


@given(st.lists(coded_lines, min_size=1, max_size=15))
def test_debits_equal_credits_and_payables_the_total(lines: list[Line]) -> None:
    invoice = samples.compose(*lines)

    found = entries(invoice)

    assert sum_pounds([each.debit for each in found]) == sum_pounds([each.credit for each in found])
    assert all(min(each.debit, each.credit) == 0 for each in found)
    assert all(max(each.debit, each.credit) > 0 for each in found)
    assert -balance(found, "PAY") == invoice.total


def test_vat_under_a_contracted_out_heading_is_recoverable_and_other_vat_is_cost() -> None:
    found = entries(samples.compose(samples.line("10.00"), samples.line("20.00", cos_heading=None)))

    assert balance(found, "VAT") == Decimal("2.00")
    assert balance(found, "52160") == Decimal("34.00")


def test_an_uncoded_line_says_so() -> None:
    found = entries(samples.compose(samples.line(cost_centre=None, subjective_code=None)))

    assert balance(found, UNCODED) == Decimal("2475.79")


def test_a_credit_note_turns_the_sides() -> None:
    found = entries(samples.credit_note())

    assert balance(found, "PAY") == Decimal("144.00")
    assert balance(found, "52160") == Decimal("-120.00")


def test_the_file_names_period_and_posting_date_as_a_ledger_wants_them() -> None:
    rows = list(
        csv.DictReader(io.StringIO(journal_csv(samples.standard_invoice()).decode(), newline=""))
    )

    assert {row["Period"] for row in rows} == {"M01"}
    assert {row["Financial year"] for row in rows} == {"2026/27"}
    assert {row["Posting date"] for row in rows} == {"2026-05-05"}
    assert sum(Decimal(row["Debit (GBP)"]) for row in rows) == sum(
        Decimal(row["Credit (GBP)"]) for row in rows
    )
