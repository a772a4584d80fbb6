"""Proof of what was issued: numbers, seals, sums and workings, from the database alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.invoices import queries
from billing.invoices.backing import kept_faults
from billing.invoices.content import content_bytes
from billing.invoices.model import invoice_number
from billing.invoices.rederiving import working_faults
from billing.invoices.sealing import seal
from billing.invoices.tables import (
    InvoiceLineRow,
    InvoiceRow,
    IssuedNumberRow,
    NumberSeriesRow,
)

_FIRST_SEAL = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something about an issued document that does not hold."""

    number: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How many documents were looked at, and every fault found."""

    documents: int
    faults: tuple[Fault, ...]


def verify_invoices(session: Session) -> Verified:
    """Check every issued document of every series.

    Numbers run from 1 without a gap; each seal is the seal of the stored content and of the
    seal before; totals, lines and columns agree with the content; the usage behind it is what
    was sealed; each line's amount follows from its recorded working.
    """
    documents = 0
    faults: list[Fault] = []
    counters = session.scalars(
        select(NumberSeriesRow).order_by(NumberSeriesRow.series, NumberSeriesRow.financial_year)
    ).all()
    for counter in counters:
        last_seal, sequence = _FIRST_SEAL, 0
        for given, row in _documents(session, counter):
            documents += 1
            sequence += 1
            name = given.number
            faults.extend(
                Fault(number=name, what=what)
                for what in _document_faults(session, given, row, sequence, last_seal)
            )
            # Go on from where the counter was, so that one gap is told once.
            sequence, last_seal = given.sequence, given.seal
        if (counter.last_sequence, counter.last_seal) != (sequence, last_seal):
            faults.append(
                Fault(
                    number=f"{counter.series} {counter.financial_year}",
                    what=f"the counter stands at {counter.last_sequence}, the last is {sequence}",
                )
            )
    return Verified(documents=documents, faults=tuple(faults))


def _documents(
    session: Session, counter: NumberSeriesRow
) -> Iterator[tuple[IssuedNumberRow, InvoiceRow | None]]:
    rows = session.execute(
        select(IssuedNumberRow, InvoiceRow)
        .outerjoin(
            InvoiceRow,
            (InvoiceRow.account_id == IssuedNumberRow.account_id)
            & (InvoiceRow.id == IssuedNumberRow.invoice_id),
        )
        .where(
            IssuedNumberRow.series == counter.series,
            IssuedNumberRow.financial_year == counter.financial_year,
        )
        .order_by(IssuedNumberRow.sequence)
        .execution_options(yield_per=100)
    )
    for row in rows:
        yield row[0], row[1]


def _document_faults(
    session: Session,
    given: IssuedNumberRow,
    row: InvoiceRow | None,
    sequence: int,
    last_seal: str,
) -> Iterator[str]:
    if given.sequence != sequence:
        yield f"number {sequence} is missing before it"
    if row is None:
        yield "the document is gone"
        return
    if given.number != invoice_number(given.series, given.financial_year, given.sequence):
        yield "its number is not that of its place"
    if row.number != given.number or row.seal != given.seal:
        yield "the document and the register of numbers differ"
    if row.previous_seal != last_seal:
        yield "it does not follow from the document before"
    if row.seal != seal(content_bytes(row.content), row.previous_seal):
        yield "its content does not match its seal"
        return
    try:
        invoice = queries.read(row)
    except (ValueError, KeyError, TypeError) as error:
        yield f"it does not add up: {error}"
        return
    columns = (row.number, row.net, row.vat, row.total, row.pool_saving, row.issued_at)
    if columns != (
        invoice.number,
        invoice.net,
        invoice.vat,
        invoice.total,
        invoice.pool_saving,
        invoice.issued_at,
    ):
        yield "its columns differ from its content"
    stored = session.execute(
        select(InvoiceLineRow.number, InvoiceLineRow.net, InvoiceLineRow.quantity)
        .where(InvoiceLineRow.account_id == row.account_id, InvoiceLineRow.invoice_id == row.id)
        .order_by(InvoiceLineRow.number)
    ).all()
    if [tuple(line) for line in stored] != [
        (line.number, line.net, line.quantity or 0) for line in invoice.lines
    ]:
        yield "its lines differ from its content"
    yield from kept_faults(session, invoice=invoice)
    for line in invoice.lines:
        for what in working_faults(line.working, net=line.net):
            yield f"line {line.number}: {what}"
