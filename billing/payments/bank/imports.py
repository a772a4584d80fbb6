"""Importing statements and remittance advices: what comes again adds nothing."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.ledger import operations as ledger
from billing.ledger.model import EntryKind, LedgerAccount
from billing.money import NOUGHT, plain
from billing.payments.bank.lines import (
    between,
)
from billing.payments.bank.model import Remittance, Statement, line_keys
from billing.payments.bank.tables import BankLineRow, BankStatementRow, RemittanceAdviceRow
from billing.payments.funds import note
from metering.kit.ids import new_id


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What importing a statement did.

    Attributes:
        statement_id: empty when this very file was imported before.
        added: lines that are new.
        known: lines that had come before.
    """

    statement_id: str
    added: int
    known: int


def import_statement(
    session: Session,
    *,
    statement: Statement,
    content: bytes,
    file_name: str,
    principal: str,
    now: datetime,
) -> Imported:
    """Keep the lines of a statement that are new and post them as cash not yet identified.

    Importing the same file, or another that overlaps it, adds nothing twice.
    """
    # One file may hold statements of several bank accounts.
    digest = hashlib.sha256(statement.bank_account.encode() + b"\n" + content).hexdigest()
    made = session.scalar(
        insert(BankStatementRow)
        .values(
            id=new_id("stm", now=now),
            sha256=digest,
            format=statement.format,
            file_name=file_name,
            line_count=len(statement.lines),
            imported_at=now,
            imported_by=principal,
        )
        .on_conflict_do_nothing()
        .returning(BankStatementRow.id)
    )
    if made is None:
        return Imported(statement_id="", added=0, known=len(statement.lines))
    added = 0
    for line, key in zip(statement.lines, line_keys(statement.lines), strict=True):
        line_id = session.scalar(
            insert(BankLineRow)
            .values(
                id=new_id("bln", now=now),
                statement_id=made,
                bank_account=statement.bank_account,
                line_key=key,
                booked_on=line.booked_on,
                amount=line.amount,
                counterparty=line.counterparty,
                counterparty_account=line.counterparty_account,
                reference=line.reference,
                details=line.details,
                identified=NOUGHT,
                imported_at=now,
            )
            .on_conflict_do_nothing()
            .returning(BankLineRow.id)
        )
        if line_id is None:
            continue
        added += 1
        ledger.post(
            session,
            kind=EntryKind.RECEIPT,
            subject_id=line_id,
            description=f"Bank {line.booked_on.isoformat()} {line.counterparty}".strip(),
            postings=between(line.amount, LedgerAccount.CASH, LedgerAccount.UNALLOCATED),
            principal=principal,
            now=now,
        )
    facts = {"file": file_name, "added": added, "known": len(statement.lines) - added}
    note(session, "import bank statement", made, principal, now, facts)
    return Imported(statement_id=made, added=added, known=len(statement.lines) - added)


def import_remittance(
    session: Session, *, remittance: Remittance, content: bytes, principal: str, now: datetime
) -> RemittanceAdviceRow | None:
    """Keep a remittance advice; None when this very one was imported before."""
    about = f"{remittance.payer}\n{remittance.reference}\n{remittance.paid_on}\n".encode()
    made = session.scalar(
        insert(RemittanceAdviceRow)
        .values(
            id=new_id("rem", now=now),
            sha256=hashlib.sha256(about + content).hexdigest(),
            payer=remittance.payer,
            reference=remittance.reference,
            paid_on=remittance.paid_on,
            total=remittance.total,
            items=[
                {"invoice_number": item.invoice_number, "amount": plain(item.amount)}
                for item in remittance.items
            ],
            imported_at=now,
            imported_by=principal,
        )
        .on_conflict_do_nothing()
        .returning(RemittanceAdviceRow.id)
    )
    if made is None:
        return None
    facts = {"payer": remittance.payer, "total": str(remittance.total)}
    note(session, "import remittance advice", made, principal, now, facts)
    return session.get_one(RemittanceAdviceRow, made)
