"""Issuing: a number, a seal, and from then on nothing of it changes."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.accounts.ordering import LOW_PERCENT, used_percent
from billing.invoices import queries
from billing.invoices.content import content_bytes
from billing.invoices.model import InvoiceKind, invoice_number
from billing.invoices.posting import post_to_ledger
from billing.invoices.sealing import FIRST_SEAL, seal
from billing.invoices.tables import DocumentRow, InvoiceRow, IssuedNumberRow, NumberSeriesRow
from billing.notifications.operations import announce
from metering.kit import audit
from metering.kit.errors import Conflict
from metering.periods import Month, london_day, to_utc


class InvoiceNotDraft(Conflict):
    """Only a draft can be issued or discarded."""

    code = "invoice-not-draft"
    title = "The invoice is no draft"


def issue(
    session: Session, *, account_id: str, invoice_id: str, principal: str, now: datetime
) -> InvoiceRow:
    """Number, seal and issue a draft. From here the database refuses to change it.

    The number comes from a row that stays locked to the end of the transaction, so that a
    series has neither gap nor repeat: what is rolled back was never counted.

    Raises:
        InvoiceUnknown; InvoiceNotDraft: it was issued already.
    """
    row = queries.invoice_row(
        session, account_id=account_id, invoice_id=invoice_id, for_update=True
    )
    series = lock_series(session, series=row.series, now=now)
    return issue_locked(session, row=row, series=series, principal=principal, now=now)


def issue_locked(
    session: Session, *, row: InvoiceRow, series: NumberSeriesRow, principal: str, now: datetime
) -> InvoiceRow:
    """Issue a draft as `issue` does, its row and its series being locked already.

    Raises:
        InvoiceNotDraft: it was issued already.
    """
    if row.status != "draft":
        raise InvoiceNotDraft(f"Invoice {row.number or row.id} is {row.status}.")
    today = london_day(now)
    year = Month.of_day(today).financial_year
    sequence = series.last_sequence + 1
    number = invoice_number(row.series, year, sequence)
    assert row.tax_point is not None
    assert row.due_on is not None
    due_on = row.due_on + (today - row.tax_point)
    # The lines and sums that were approved, as they stand; only these four are new.
    content = row.content | {
        "number": number,
        "issued_at": to_utc(now).isoformat(),
        "tax_point": today.isoformat(),
        "due_on": due_on.isoformat(),
    }
    sealed_by = seal(content_bytes(content), series.last_seal)
    row.status = "issued"
    row.number = number
    row.issued_at = now
    row.tax_point = today
    row.due_on = due_on
    row.content = content
    row.seal = sealed_by
    row.previous_seal = series.last_seal
    series.last_sequence = sequence
    series.last_seal = sealed_by
    session.add(
        IssuedNumberRow(
            series=row.series,
            financial_year=year,
            sequence=sequence,
            number=number,
            account_id=row.account_id,
            invoice_id=row.id,
            seal=sealed_by,
        )
    )
    session.flush()
    audit.record(
        session,
        now=now,
        principal=principal,
        action=f"issue {row.kind}",
        object_kind="invoice",
        object_id=row.id,
        facts={"number": number, "total": str(row.total), "account": row.account_id},
    )
    post_to_ledger(session, invoice=row, principal=principal, now=now)
    _warn_of_order(session, row, now=now)
    announce(
        session,
        kind="invoice.issued",
        account_id=row.account_id,
        subject_id=row.id,
        facts={
            "invoice_id": row.id,
            "number": number,
            "document": row.kind,
            "month": str(Month.of_day(row.month)),
            "total": row.total,
            "due_on": due_on if row.kind == InvoiceKind.INVOICE else None,
        },
        now=now,
    )
    return row


def _warn_of_order(session: Session, row: InvoiceRow, *, now: datetime) -> None:
    """Announce once that a purchase order runs out: when an invoice takes it past 80%."""
    if row.purchase_order is None or row.kind != InvoiceKind.INVOICE:
        return
    for standing in queries.orders_standing(
        session, account_id=row.account_id, on=row.month, numbers=[row.purchase_order]
    ):
        value, percent = standing.order.value, standing.used_percent
        before = used_percent(standing.used - row.net, value)
        if value is None or percent is None or before is None:
            continue
        for step in (LOW_PERCENT, 100):
            if before < step <= percent:
                announce(
                    session,
                    kind="order.low",
                    account_id=row.account_id,
                    subject_id=f"{standing.order.id}/{step}",
                    facts={
                        "order": standing.order.number,
                        "value": value,
                        "used": standing.used,
                        "used_percent": percent,
                    },
                    now=now,
                )


def lock_series(session: Session, *, series: str, now: datetime) -> NumberSeriesRow:
    """Return the counter of a series in today's financial year, locked to the end."""
    financial_year = Month.of(now).financial_year
    locked = (
        select(NumberSeriesRow)
        .where(NumberSeriesRow.series == series, NumberSeriesRow.financial_year == financial_year)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = session.scalar(locked)
    if found is not None:
        return found
    # The year's first document; whoever else makes the row is waited for, and theirs is read.
    session.execute(
        upsert(NumberSeriesRow)
        .values(series=series, financial_year=financial_year, last_sequence=0, last_seal=FIRST_SEAL)
        .on_conflict_do_nothing(index_elements=["series", "financial_year"])
    )
    return session.scalars(locked).one()


def keep_documents(
    session: Session,
    *,
    account_id: str,
    invoice_id: str,
    documents: Mapping[str, tuple[str, bytes]],
    now: datetime,
) -> int:
    """Keep files made from an issued invoice: name to media type and content; return how many.

    Files are made the same whenever they are made, so those that are there stay.
    """
    rows = [
        {
            "account_id": account_id,
            "invoice_id": invoice_id,
            "name": name,
            "media_type": media_type,
            "content": content,
            "sha256": hashlib.sha256(content).hexdigest(),
            "made_at": now,
        }
        for name, (media_type, content) in documents.items()
    ]
    session.execute(
        upsert(DocumentRow).on_conflict_do_nothing(
            index_elements=["account_id", "invoice_id", "name"]
        ),
        rows,
    )
    return len(rows)
