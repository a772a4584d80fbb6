"""Accounts merge or split: who goes on with what, and who takes over the debts."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy.orm import Session

from billing.accounts import operations, queries
from metering.kit import audit
from metering.periods import london_midnight


def merge_accounts(
    session: Session,
    *,
    predecessor_id: str,
    successor_id: str,
    effective_on: date,
    principal: str,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Let one account take over from another on a London date.

    The predecessor keeps its history: usage before the date stays on its account, and what is
    still to be invoiced for it is addressed to the successor. Its agreements end on the
    date; the successor goes on under each tariff that it is not already on. How far the
    predecessor has come in tiers and included quantities of the financial year is added to the
    successor's as the next month begins, see `charges.inputs`.

    Raises:
        AccountUnknown, AccountClosed, BadDates, RetrospectiveReasonMissing.
    """
    predecessor = queries.account(session, account_id=predecessor_id)
    successor = queries.account(session, account_id=successor_id)
    if predecessor_id == successor_id:
        raise operations.BadDates("An account cannot succeed itself.")
    if predecessor.closed_at is not None or successor.closed_at is not None:
        raise operations.AccountClosed("Both accounts of a merger are open until then.")
    running = queries.agreements(session, account_id=predecessor_id, from_day=effective_on)
    covered = {
        row.tariff_code
        for row in queries.agreements(session, account_id=successor_id, from_day=effective_on)
    }
    for row in running:
        if row.starts_on >= effective_on:
            session.delete(row)
        else:
            operations.end_agreement(
                session,
                account_id=predecessor_id,
                agreement_id=row.id,
                ends_on=effective_on,
                principal=principal,
                now=now,
                reason=reason,
            )
        if row.tariff_code not in covered:
            operations.make_agreement(
                session,
                account_id=successor_id,
                tariff_code=row.tariff_code,
                starts_on=effective_on,
                pooled=row.pooled,
                group_code=row.group_code,
                principal=principal,
                now=now,
                reason=reason,
            )
            covered.add(row.tariff_code)
    predecessor.closed_at = london_midnight(effective_on)
    predecessor.successor_id = successor_id
    session.flush()
    operations.note(
        session,
        "merge accounts",
        predecessor_id,
        principal,
        now,
        {"successor": successor_id, "effective_on": str(effective_on)},
    )


def split_account(
    session: Session,
    *,
    predecessor_id: str,
    successor_ids: Sequence[str],
    debts_to_id: str,
    effective_on: date,
    principal: str,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Let several accounts go on in place of one from a London date.

    Each successor goes on under every tariff of the predecessor that it is not already on.
    The predecessor keeps its history; its open invoices, and what is still to be invoiced for
    its own usage, go to one of them.

    Args:
        successor_ids: at least two.
        debts_to_id: which of them takes over the debts.

    Raises:
        AccountUnknown, AccountClosed, BadDates, RetrospectiveReasonMissing.
    """
    if len(set(successor_ids)) < 2 or debts_to_id not in successor_ids:
        raise operations.BadDates(
            "A split names at least two successors, one of which takes over the debts."
        )
    running = queries.agreements(session, account_id=predecessor_id, from_day=effective_on)
    for successor_id in dict.fromkeys(successor_ids):
        if successor_id == debts_to_id:
            continue
        covered = {
            row.tariff_code
            for row in queries.agreements(session, account_id=successor_id, from_day=effective_on)
        }
        for row in running:
            if row.tariff_code in covered:
                continue
            operations.make_agreement(
                session,
                account_id=successor_id,
                tariff_code=row.tariff_code,
                starts_on=effective_on,
                pooled=row.pooled,
                group_code=row.group_code,
                principal=principal,
                now=now,
                reason=reason,
            )
            covered.add(row.tariff_code)
    merge_accounts(
        session,
        predecessor_id=predecessor_id,
        successor_id=debts_to_id,
        effective_on=effective_on,
        principal=principal,
        now=now,
        reason=reason,
    )
    audit.record(
        session,
        now=now,
        principal=principal,
        action="split account",
        object_kind="account",
        object_id=predecessor_id,
        facts={
            "successors": list(successor_ids),
            "debts_to": debts_to_id,
            "effective_on": str(effective_on),
        },
    )
