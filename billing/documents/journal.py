"""The entries a trust's ledger posts for an invoice: debits by coding, one credit to payables.

Net is debited to each cost centre and subjective code. VAT that may be
reclaimed, that is of lines under a contracted-out services heading (VAT Act
1994, s. 41), is debited to VAT recoverable by heading; other VAT is a cost of
the code that bought. A rate's VAT is shared among its lines by largest
remainder, so the journal balances to the penny with the invoice.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from billing.documents.sheet import write_sheet
from billing.documents.words import document_name, file_stem
from billing.invoices.model import Invoice, InvoiceKind, Line
from billing.money import NOUGHT, PENNY, share_out, sum_pounds, vat_on
from metering.periods import financial_year_label, london_day

HEADER = (
    "Reference",
    "Entry",
    "Posting date",
    "Financial year",
    "Period",
    "Cost centre",
    "Subjective code",
    "COS heading",
    "Description",
    "Debit (GBP)",
    "Credit (GBP)",
)
UNCODED = "UNCODED"
"""Stands where a line has no cost centre or subjective code, for the ledger to refuse."""


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One debit or credit; the other of the two is nought, neither is negative."""

    cost_centre: str
    subjective_code: str
    cos_heading: str
    description: str
    debit: Decimal
    credit: Decimal


class _Coding(NamedTuple):
    cost_centre: str
    subjective_code: str
    cos_heading: str
    description: str


def journal_csv(
    invoice: Invoice, *, payables_code: str = "PAYABLES", vat_code: str = "VAT-RECOVERABLE"
) -> bytes:
    """Return the journal; the two codes are the trust's own for trade payables and for VAT."""
    dated = invoice.tax_point if invoice.issued_at is None else london_day(invoice.issued_at)
    month = invoice.month
    entries = journal_entries(invoice, payables_code=payables_code, vat_code=vat_code)
    rows = (
        (
            file_stem(invoice),
            number,
            dated,
            financial_year_label(month.financial_year),
            f"M{month.financial_month:02d}",
            entry.cost_centre,
            entry.subjective_code,
            entry.cos_heading,
            entry.description,
            str(entry.debit.quantize(PENNY)),
            str(entry.credit.quantize(PENNY)),
        )
        for number, entry in enumerate(entries, start=1)
    )
    return write_sheet(HEADER, rows, for_people=False)


def journal_entries(
    invoice: Invoice, *, payables_code: str, vat_code: str
) -> tuple[JournalEntry, ...]:
    """Return entries whose debits equal their credits; of nought there is no entry."""
    amounts: dict[_Coding, Decimal] = defaultdict(lambda: NOUGHT)
    vat = _vat_by_line(invoice)
    for line in invoice.lines:
        centre, subjective = line.cost_centre or UNCODED, line.subjective_code or UNCODED
        amounts[_Coding(centre, subjective, "", f"{line.service}, {invoice.month.name}")] += (
            line.net
        )
        if line.cos_heading:
            words = f"VAT recoverable, COS heading {line.cos_heading}"
            coding = _Coding("", vat_code, line.cos_heading, words)
        else:
            coding = _Coding(centre, subjective, "", "VAT not recoverable")
        amounts[coding] += vat[line.number]
    number = invoice.number or "draft"
    words = f"{invoice.supplier.name}, {document_name(invoice).lower()} {number}"
    amounts[_Coding("", payables_code, "", words)] -= invoice.total
    sign = -1 if invoice.kind is InvoiceKind.CREDIT_NOTE else 1
    return tuple(_entry(coding, sign * amount) for coding, amount in amounts.items() if amount)


def _entry(coding: _Coding, amount: Decimal) -> JournalEntry:
    return JournalEntry(**coding._asdict(), debit=max(amount, NOUGHT), credit=max(-amount, NOUGHT))


def _vat_by_line(invoice: Invoice) -> dict[int, Decimal]:
    """Share each rate's VAT among its lines; charges and reductions apart, each of one sign."""
    shares = {line.number: NOUGHT for line in invoice.lines}
    for summary in invoice.vat_summaries:
        lines = [
            line
            for line in invoice.lines
            if (line.treatment, line.vat_rate_percent) == (summary.treatment, summary.rate_percent)
        ]
        charges = [line for line in lines if line.net > 0]
        reductions = [line for line in lines if line.net < 0]
        if not reductions:
            of_charges = summary.vat
        else:
            net = sum_pounds([line.net for line in charges])
            of_charges = vat_on(net, rate_percent=summary.rate_percent)
        shares |= _shared(of_charges, charges) | _shared(summary.vat - of_charges, reductions)
    return shares


def _shared(vat: Decimal, lines: Iterable[Line]) -> dict[int, Decimal]:
    # Keys sort as numbers do, so that the pennies of a tie go to the first lines.
    by_key = {f"{line.number:09d}": line for line in lines}
    if not by_key:
        return {}
    parts = share_out(vat, {key: abs(line.net) for key, line in by_key.items()})
    return {by_key[key].number: part for key, part in parts.items()}
