"""Posting: every change of money becomes one balanced entry in the same transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.ledger.model import (
    DocumentKind,
    EntryKind,
    IssuedDocument,
    LedgerAccount,
    Posting,
    balance,
    document_postings,
    reverse,
)
from billing.ledger.tables import LedgerCodeRow, LedgerEntryRow, LedgerPostingRow, ReceivableRow
from billing.money import sum_pounds
from metering.kit.errors import Conflict
from metering.kit.ids import new_id
from metering.periods import london_day


class AlreadyPosted(Conflict):
    """The thing is in the ledger already; nothing is posted twice."""

    code = "already-posted"
    title = "Already in the ledger"


def post(
    session: Session,
    *,
    kind: EntryKind,
    subject_id: str,
    description: str,
    postings: Sequence[Posting],
    principal: str,
    now: datetime,
    reverses_id: str | None = None,
) -> LedgerEntryRow:
    """Append one entry dated with the London day of `now`, or the next where the ledger is on it.

    A day that the ledger has moved past is not gone back to where a clock is put back over
    midnight, or two processes meet there: a month's journal may be out by then. Further apart
    nobody can tell which of two clocks was wrong, and the present one is believed.

    Args:
        subject_id: what it is about, for example an invoice id; once for each kind.
        postings: at least two that balance, or none for a document of nought pounds.

    Raises:
        AlreadyPosted: there is an entry of this kind about this subject.
        ValueError: the postings do not balance.
    """
    if balance(postings) != 0:
        raise ValueError(f"{kind} {subject_id} is out of balance by {balance(postings)}")
    entry = LedgerEntryRow(
        id=new_id("ent", now=now),
        kind=kind.value,
        subject_id=subject_id,
        reverses_id=reverses_id,
        posted_at=now,
        posted_on=london_day(now),
        description=description,
        posting_count=len(postings),
        debits=sum_pounds([posting.amount for posting in postings if posting.amount > 0]),
        posted_by=principal,
    )
    values = {column.name: getattr(entry, column.name) for column in LedgerEntryRow.__table__.c}
    tomorrow = entry.posted_on + timedelta(days=1)
    moved_on = (
        select(LedgerEntryRow.posted_on)
        .where(LedgerEntryRow.posted_on == tomorrow)
        .limit(1)
        .scalar_subquery()
    )
    made = session.scalar(
        insert(LedgerEntryRow)
        .values(values | {"posted_on": func.coalesce(moved_on, entry.posted_on)})
        .on_conflict_do_nothing()
        .returning(LedgerEntryRow.posted_on)
    )
    if made is None:
        raise AlreadyPosted(f"The {kind} {subject_id} is in the ledger already.")
    entry.posted_on = made
    session.add_all(
        LedgerPostingRow(
            entry_id=entry.id,
            number=number,
            ledger_account=posting.ledger_account.value,
            account_id=posting.account_id,
            service=posting.service,
            amount=posting.amount,
        )
        for number, posting in enumerate(postings, start=1)
    )
    session.flush()
    return entry


def post_issue(
    session: Session, *, document: IssuedDocument, principal: str, now: datetime
) -> LedgerEntryRow:
    """Post an invoice or credit note and open what it leaves to be settled.

    Call it in the transaction that issues the document.

    Raises:
        AlreadyPosted: it is posted.
    """
    credit_note = document.kind is DocumentKind.CREDIT_NOTE
    entry = post(
        session,
        kind=EntryKind.CREDIT_NOTE if credit_note else EntryKind.INVOICE,
        subject_id=document.document_id,
        description=f"{'Credit note' if credit_note else 'Invoice'} {document.number}",
        postings=document_postings(document),
        principal=principal,
        now=now,
    )
    session.add(
        ReceivableRow(
            account_id=document.account_id,
            document_id=document.document_id,
            kind=document.kind.value,
            number=document.number,
            issued_on=document.issued_on,
            due_on=document.due_on,
            total=document.total,
            credits_document_id=document.credits_document_id,
        )
    )
    session.flush()
    return entry


def undo(
    session: Session,
    *,
    kind: EntryKind,
    subject_id: str,
    undo_id: str,
    description: str,
    principal: str,
    now: datetime,
) -> LedgerEntryRow:
    """Post the opposite of an entry, which itself stays.

    Args:
        kind, subject_id: of the entry to undo.
        undo_id: what the undoing is, for example the id of the opposite allocation.

    Raises:
        AlreadyPosted: it is undone already.
    """
    entry = session.execute(
        select(LedgerEntryRow).where(
            LedgerEntryRow.kind == kind.value, LedgerEntryRow.subject_id == subject_id
        )
    ).scalar_one()
    return post(
        session,
        kind=EntryKind.UNDO,
        subject_id=undo_id,
        description=description,
        postings=reverse(postings_of(session, entry_id=entry.id)),
        principal=principal,
        now=now,
        reverses_id=entry.id,
    )


def postings_of(session: Session, *, entry_id: str) -> tuple[Posting, ...]:
    """Return the postings of an entry in order."""
    rows = session.scalars(
        select(LedgerPostingRow)
        .where(LedgerPostingRow.entry_id == entry_id)
        .order_by(LedgerPostingRow.number)
    )
    return tuple(
        Posting(
            ledger_account=LedgerAccount(row.ledger_account),
            amount=row.amount,
            account_id=row.account_id,
            service=row.service,
        )
        for row in rows
    )


def set_codes(
    session: Session, *, codes: Mapping[tuple[LedgerAccount, str], tuple[str, str]]
) -> None:
    """Set cost centre and subjective code by ledger account and service (empty: any)."""
    for (ledger_account, service), (cost_centre, subjective_code) in sorted(codes.items()):
        statement = insert(LedgerCodeRow).values(
            ledger_account=ledger_account.value,
            service=service,
            cost_centre=cost_centre,
            subjective_code=subjective_code,
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["ledger_account", "service"],
                set_={
                    "cost_centre": statement.excluded.cost_centre,
                    "subjective_code": statement.excluded.subjective_code,
                },
            )
        )
