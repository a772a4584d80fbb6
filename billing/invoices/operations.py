"""Drafting and issuing: the same sums for a preview, a draft and what is sealed."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.model import order_for
from billing.accounts.ordering import LOW_PERCENT, used_percent
from billing.accounts.tables import AccountRow
from billing.charges.tables import ChargeRow
from billing.invoices import queries
from billing.invoices.allocating import allocate
from billing.invoices.catalogue import Catalogue
from billing.invoices.composing import Billed, Draft, Key, LineKey, compose
from billing.invoices.content import content_bytes, to_content
from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    Party,
    PurchaseOrder,
    compose_invoice,
    invoice_number,
    seal,
)
from billing.invoices.posting import post_to_ledger
from billing.invoices.queries import Sum
from billing.invoices.supplier import Supplier
from billing.invoices.tables import (
    DocumentRow,
    InvoiceLineRow,
    InvoiceRow,
    IssuedNumberRow,
    NumberSeriesRow,
)
from billing.money import NOUGHT
from billing.notifications.operations import announce
from metering.kit import audit
from metering.kit.errors import Conflict
from metering.kit.ids import new_id
from metering.periods import Month, london_day, show_date, to_utc

INVOICE_SERIES, CREDIT_SERIES = "PG", "PC"
CORRECTION_MONTHS = 13
_FIRST_SEAL = "0" * 64


class InvoiceNotDraft(Conflict):
    """Only a draft can be issued or discarded."""

    code = "invoice-not-draft"
    title = "The invoice is no draft"


@dataclass(frozen=True, kw_only=True)
class Composed:
    """Documents of one account for one month, before they are kept.

    Attributes:
        hold_when_spent: for each document, whether its purchase order holds when spent.
        order_required: the account takes no invoice without a purchase order.
        cost_codes: the account has said which cost centres bear its lines.
        is_closed: the account takes on nothing new, so nothing can be carried over.
    """

    invoices: tuple[Invoice, ...]
    drafts: tuple[Draft, ...]
    hold_when_spent: tuple[bool, ...]
    order_required: bool
    cost_codes: bool
    is_closed: bool


def compose_documents(
    session: Session,
    *,
    account_id: str,
    month: Month,
    supplier: Supplier,
    catalogue: Catalogue,
    now: datetime,
    correction_months: int = CORRECTION_MONTHS,
) -> Composed:
    """Return what the account would be sent for the month, from its charges as they stand.

    A preview in the portal and a bill run both call this, so they agree to the penny.

    Args:
        correction_months: how many months before `month` are still open to corrections.

    Raises:
        AccountUnknown; NothingToCredit (a contradiction); ValueError (it does not print).
    """
    payer = accounts.payer(session, account_id=account_id)
    treatments = accounts.vat_treatments(session, account_id=account_id)
    first = month.shift(-correction_months)
    should = _charge_sums(session, account_id=account_id, first=first, last=month)
    has = queries.invoiced_sums(session, account_id=account_id, first=first, last=month)
    differing = {key for key in has if should.get(key, NOUGHT) != has[key].net}
    differing |= {key for key in should if key not in has or has[key].is_nothing}
    rows = _charges(session, account_id=account_id, keys=differing & should.keys())
    charged = [catalogue.charged(row, treatments=treatments) for row in rows]
    billed = _billed(session, account_id=account_id, keys=differing & has.keys(), has=has)
    rules = accounts.allocation_rules(session, account_id=account_id)
    drafts = tuple(
        allocate(draft, rules=rules)
        for draft in compose(month=month, charged=charged, billed=billed)
    )
    buyer, notes, terms = _buyer(session, payer.account, payer.ods_code)
    orders = accounts.orders(session, account_id=account_id)
    today = london_day(now)
    found: list[Invoice] = []
    holds: list[bool] = []
    taken: dict[str, Decimal] = {}
    for draft in drafts:
        order = order_for(
            orders, tariff_codes=draft.tariff_codes, day=month.end_day - timedelta(days=1)
        )
        quoted = None
        if order is not None:
            remaining = None
            if order.value is not None:
                spent = queries.spent_on_order(session, account_id=account_id, number=order.number)
                remaining = order.value - spent - taken.get(order.number, NOUGHT)
            quoted = PurchaseOrder(number=order.number, remaining=remaining)
            if draft.credits is None:
                taken[order.number] = taken.get(order.number, NOUGHT) + draft.net
        holds.append(order is not None and order.hold_when_spent)
        found.append(
            _invoice(
                draft,
                account_id=account_id,
                month=month,
                supplier=supplier,
                buyer=buyer,
                order=quoted,
                notes=notes,
                today=today,
                due_on=today + timedelta(days=terms),
                now=now,
            )
        )
    return Composed(
        invoices=tuple(found),
        drafts=drafts,
        hold_when_spent=tuple(holds),
        order_required=payer.account.order_required,
        cost_codes=bool(rules),
        is_closed=payer.account.closed_at is not None,
    )


def _charge_sums(
    session: Session, *, account_id: str, first: Month, last: Month
) -> dict[Key, Decimal]:
    rows = session.execute(
        select(
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.version_id,
            ChargeRow.price_key,
            func.sum(ChargeRow.amount),
        )
        .where(
            ChargeRow.account_id == account_id,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(ChargeRow.month, ChargeRow.tariff_code, ChargeRow.version_id, ChargeRow.price_key)
    )
    return {
        Key(month=Month.of_day(month), tariff_code=tariff, version_id=version, price_key=price): net
        for month, tariff, version, price, net in rows
    }


def _charges(session: Session, *, account_id: str, keys: Collection[Key]) -> Sequence[ChargeRow]:
    if not keys:
        return ()
    return session.scalars(
        select(ChargeRow)
        .where(
            ChargeRow.account_id == account_id,
            tuple_(
                ChargeRow.month, ChargeRow.tariff_code, ChargeRow.version_id, ChargeRow.price_key
            ).in_(
                [
                    (key.month.first_day, key.tariff_code, key.version_id, key.price_key)
                    for key in keys
                ]
            ),
        )
        .order_by(ChargeRow.month, ChargeRow.first_on, ChargeRow.id)
    ).all()


def _billed(
    session: Session, *, account_id: str, keys: Collection[Key], has: Mapping[Key, Sum]
) -> list[Billed]:
    """Return what was invoiced for keys, with the printed line that it was last told by."""
    found = queries.billed_lines(
        session, account_id=account_id, keys=[key for key in keys if not has[key].is_nothing]
    )
    read: dict[str, Invoice] = {}
    billed = []
    for key, lines in found.items():
        first, last = lines[0], lines[-1]
        document = read.setdefault(last.row.id, queries.read(last.row))
        assert first.row.number is not None
        assert first.row.issued_at is not None
        billed.append(
            Billed(
                key=key,
                meter_code=has[key].meter_code,
                quantity=has[key].quantity,
                net=has[key].net,
                conceded=has[key].conceded,
                line=document.lines[last.number - 1],
                number=first.row.number,
                invoice_id=first.row.id,
                issued_on=london_day(first.row.issued_at),
            )
        )
    return billed


def _buyer(
    session: Session, account: AccountRow, ods_code: str
) -> tuple[Party, tuple[str, ...], int]:
    """Return whom the invoice is addressed to, notes, and days to pay."""
    notes: tuple[str, ...] = ()
    to, code = account, ods_code
    while to.successor_id is not None:
        heir = accounts.payer(session, account_id=to.successor_id)
        assert to.closed_at is not None
        notes = (
            *notes,
            f"For usage by {to.name} ({code}), which became part of {heir.account.name} on "
            f"{show_date(london_day(to.closed_at))}.",
        )
        to, code = heir.account, heir.ods_code
    party = Party(
        name=to.name,
        address=tuple(to.address),
        postcode=to.postcode,
        ods_code=code,
        vat_number=to.vat_number,
        email=to.email,
        in_nhs_vat_division=to.in_nhs_vat_division,
    )
    return party, notes, to.payment_terms_days


def _invoice(
    draft: Draft,
    *,
    account_id: str,
    month: Month,
    supplier: Supplier,
    buyer: Party,
    order: PurchaseOrder | None,
    notes: tuple[str, ...],
    today: date,
    due_on: date,
    now: datetime,
) -> Invoice:
    """Return the draft document; dates are as if it were issued today."""
    facts: dict[str, Any] = {
        "status": InvoiceStatus.DRAFT,
        "account_id": account_id,
        "supplier": supplier.party,
        "buyer": buyer,
        "month": month,
        "tax_point": today,
        "purchase_order": order,
        "notes": notes,
    }
    if draft.credits is None:
        return compose_invoice(
            lines=draft.lines,
            id=new_id("inv", now=now),
            kind=InvoiceKind.INVOICE,
            series=INVOICE_SERIES,
            due_on=due_on,
            pay_to=supplier.bank,
            **facts,
        )
    number, issued_on, _ = draft.credits
    return compose_invoice(
        lines=draft.lines,
        id=new_id("crn", now=now),
        kind=InvoiceKind.CREDIT_NOTE,
        series=CREDIT_SERIES,
        due_on=today,
        credits_number=number,
        credits_issued_on=issued_on,
        credit_reason="Usage or prices were corrected after the invoice was issued.",
        **facts,
    )


def keep_draft(
    session: Session,
    *,
    invoice: Invoice,
    keys: Sequence[LineKey],
    now: datetime,
    run_id: str | None = None,
    credits_invoice_id: str | None = None,
    credit_basis: str | None = None,
    credits_lines: Sequence[int] = (),
) -> InvoiceRow:
    """Keep a composed document as a draft with its lines.

    Args:
        keys: of the lines, in order.
        credits_lines: on a credit note, the lines of the invoice that its lines credit.
    """
    row = InvoiceRow(
        account_id=invoice.account_id,
        id=invoice.id,
        run_id=run_id,
        kind=invoice.kind.value,
        status="draft",
        month=invoice.month.first_day,
        series=invoice.series,
        number=None,
        issued_at=None,
        tax_point=invoice.tax_point,
        due_on=invoice.due_on,
        purchase_order=None if invoice.purchase_order is None else invoice.purchase_order.number,
        net=invoice.net,
        vat=invoice.vat,
        total=invoice.total,
        pool_saving=invoice.pool_saving,
        content=to_content(invoice),
        seal=None,
        previous_seal=None,
        credits_invoice_id=credits_invoice_id,
        credit_basis=credit_basis,
        created_at=now,
    )
    session.add(row)
    session.flush()
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, Connection)
    columns = ", ".join(_LINE_COLUMNS)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY invoice_lines ({columns}) FROM STDIN") as copy,
    ):
        for line, key in zip(invoice.lines, keys, strict=True):
            credits_line = credits_lines[line.number - 1] if credits_lines else None
            copy.write_row(_line_row(invoice, line, key, credits_line=credits_line))
    return row


_LINE_COLUMNS = (
    "account_id",
    "invoice_id",
    "number",
    "kind",
    "month",
    "tariff_code",
    "version_id",
    "price_key",
    "meter",
    "description",
    "dimensions",
    "unit",
    "quantity",
    "first_on",
    "end_on",
    "net",
    "vat_treatment",
    "vat_rate_percent",
    "pool_saving",
    "charge_id",
    "credits_line",
    "cost_centre",
    "subjective_code",
    "working",
)


def _line_row(
    invoice: Invoice, line: Line, where: LineKey, *, credits_line: int | None
) -> tuple[Any, ...]:
    return (
        invoice.account_id,
        invoice.id,
        line.number,
        line.kind.value,
        where.key.month.first_day,
        where.key.tariff_code,
        where.key.version_id,
        where.key.price_key,
        where.meter_code,
        line.description,
        json.dumps(where.dimensions),
        line.unit,
        line.quantity if line.quantity is not None else Decimal(0),
        line.first_day,
        line.end_day,
        line.net,
        line.treatment.value,
        line.vat_rate_percent,
        line.pool_saving,
        line.charge_id,
        credits_line,
        line.cost_centre,
        line.subjective_code,
        json.dumps(list(line.working), ensure_ascii=False),
    )


def discard_drafts(session: Session, *, account_id: str, run_id: str) -> int:
    """Remove the account's drafts of a run; return how many there were."""
    ids = session.scalars(
        select(InvoiceRow.id).where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.run_id == run_id,
            InvoiceRow.status == "draft",
        )
    ).all()
    if ids:
        session.execute(
            delete(InvoiceLineRow).where(
                InvoiceLineRow.account_id == account_id, InvoiceLineRow.invoice_id.in_(ids)
            )
        )
        session.execute(
            delete(InvoiceRow).where(InvoiceRow.account_id == account_id, InvoiceRow.id.in_(ids))
        )
    session.expunge_all()
    return len(ids)


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
    if row.status != "draft":
        raise InvoiceNotDraft(f"Invoice {row.number or row.id} is {row.status}.")
    today = london_day(now)
    year = Month.of_day(today).financial_year
    series = lock_series(session, series=row.series, now=now)
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
            account_id=account_id,
            invoice_id=invoice_id,
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
        object_id=invoice_id,
        facts={"number": number, "total": str(row.total), "account": account_id},
    )
    post_to_ledger(session, invoice=row, principal=principal, now=now)
    _warn_of_order(session, row, now=now)
    announce(
        session,
        kind="invoice.issued",
        account_id=account_id,
        subject_id=invoice_id,
        facts={
            "invoice_id": invoice_id,
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
    session.execute(
        upsert(NumberSeriesRow)
        .values(
            series=series, financial_year=financial_year, last_sequence=0, last_seal=_FIRST_SEAL
        )
        .on_conflict_do_nothing(index_elements=["series", "financial_year"])
    )
    return session.scalars(
        select(NumberSeriesRow)
        .where(NumberSeriesRow.series == series, NumberSeriesRow.financial_year == financial_year)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


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
