"""Reads of bill runs: where each account stands, and the figures to review."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.tables import AccountRow
from billing.invoices import queries as invoices
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from billing.runs.model import AccountFigures, Check, Review, ServiceFigures
from billing.runs.tables import BillRunAccountRow, BillRunRow
from billing.tariffs import queries as tariffs
from metering.kit.errors import NotFound
from metering.organisations.tables import OrganisationRow
from metering.periods import Month


class RunUnknown(NotFound):
    """There is no such bill run."""

    code = "bill-run-unknown"
    title = "No such bill run"


def run(session: Session, *, run_id: str, for_update: bool = False) -> BillRunRow:
    """Return a bill run; `for_update` locks it to the end of the transaction.

    Raises:
        RunUnknown: there is none with this id.
    """
    statement = select(BillRunRow).where(BillRunRow.id == run_id)
    if for_update:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(statement)
    if row is None:
        raise RunUnknown(f"There is no bill run {run_id}.")
    return row


def run_of(session: Session, *, month: Month) -> BillRunRow | None:
    """Return the run of a month, None where it has not been started."""
    return session.scalar(select(BillRunRow).where(BillRunRow.month == month.first_day))


def runs(session: Session) -> Sequence[BillRunRow]:
    """Return every run, latest month first."""
    return session.scalars(select(BillRunRow).order_by(BillRunRow.month.desc())).all()


def accounts_at(session: Session, *, run_id: str, status: str) -> list[str]:
    """Return the ids of a run's accounts that are at a status, by ODS code."""
    return list(
        session.scalars(
            select(BillRunAccountRow.account_id)
            .join(AccountRow, AccountRow.id == BillRunAccountRow.account_id)
            .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
            .where(BillRunAccountRow.run_id == run_id, BillRunAccountRow.status == status)
            .order_by(OrganisationRow.ods_code)
        )
    )


def counts(session: Session, *, run_id: str) -> dict[str, int]:
    """Return how many of a run's accounts are at each status."""
    rows = session.execute(
        select(BillRunAccountRow.status, func.count())
        .where(BillRunAccountRow.run_id == run_id)
        .group_by(BillRunAccountRow.status)
    )
    return {row[0]: row[1] for row in rows}


def wanted(session: Session) -> Sequence[BillRunRow]:
    """Return the runs for which a person asked for work, earliest month first."""
    return session.scalars(
        select(BillRunRow).where(BillRunRow.wanted.is_not(None)).order_by(BillRunRow.month)
    ).all()


def review(session: Session, *, run_id: str) -> Review:
    """Return a run with its figures, against those of the month before.

    Raises:
        RunUnknown: there is none with this id.
    """
    row = run(session, run_id=run_id)
    month = Month.of_day(row.month)
    last = invoices.last_months_net(session, month=month.previous)
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    sums = {
        account_id: figures
        for account_id, *figures in session.execute(
            select(
                InvoiceRow.account_id,
                func.sum(sign * InvoiceRow.net),
                func.sum(sign * InvoiceRow.vat),
                func.sum(sign * InvoiceRow.total),
                func.sum(InvoiceRow.pool_saving),
                func.count(),
            )
            .where(InvoiceRow.run_id == run_id, InvoiceRow.status != "discarded")
            .group_by(InvoiceRow.account_id)
        )
    }
    corrections = {
        line[0]: line[1]
        for line in session.execute(
            select(InvoiceRow.account_id, func.sum(sign * InvoiceLineRow.net))
            .join(
                InvoiceLineRow,
                (InvoiceLineRow.account_id == InvoiceRow.account_id)
                & (InvoiceLineRow.invoice_id == InvoiceRow.id),
            )
            .where(InvoiceRow.run_id == run_id, InvoiceLineRow.kind == "correction")
            .group_by(InvoiceRow.account_id)
        )
    }
    standings = {
        item.account_id: item
        for item in session.scalars(
            select(BillRunAccountRow).where(BillRunAccountRow.run_id == run_id)
        )
    }
    figures = []
    for payer in accounts.payers(session, account_ids=list(standings)):
        account_id = payer.account.id
        net, vat, total, saving, documents = sums.get(account_id, (NOUGHT,) * 4 + (0,))
        figures.append(
            AccountFigures(
                account_id=account_id,
                ods_code=payer.ods_code,
                name=payer.account.name,
                status=standings[account_id].status,
                reason=standings[account_id].reason,
                net=net,
                vat=vat,
                total=total,
                corrections=corrections.get(account_id, NOUGHT),
                pool_saving=saving,
                last_net=last.get(account_id),
                documents=documents,
                checked={
                    document["document"]: tuple(Check.read(said) for said in document["checks"])
                    for document in standings[account_id].checklist
                },
            )
        )
    return Review(
        run_id=run_id,
        month=month,
        status=row.status,
        started_by=row.started_by,
        approved_by=row.approved_by,
        checks=tuple(Check.read(said) for said in row.checks),
        accounts=tuple(figures),
        services=_services(session, run_id=run_id, month=month),
    )


def _services(session: Session, *, run_id: str, month: Month) -> tuple[ServiceFigures, ...]:
    """Return what each service comes to in the run, against the run of the month before."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    before = run_of(session, month=month.previous)
    sums: dict[str, dict[str, tuple[Decimal, int]]] = {}
    for run_of_month in (run_id, before.id if before is not None else ""):
        sums[run_of_month] = {
            code: (net, accounts_with)
            for code, net, accounts_with in session.execute(
                select(
                    InvoiceLineRow.tariff_code,
                    func.sum(sign * InvoiceLineRow.net),
                    func.count(InvoiceRow.account_id.distinct()),
                )
                .join(
                    InvoiceRow,
                    (InvoiceLineRow.account_id == InvoiceRow.account_id)
                    & (InvoiceLineRow.invoice_id == InvoiceRow.id),
                )
                .where(InvoiceRow.run_id == run_of_month, InvoiceRow.status != "discarded")
                .group_by(InvoiceLineRow.tariff_code)
            )
        }
    now, last = sums[run_id], sums.get(before.id, {}) if before is not None else {}
    names = {row.code: row.name for row in tariffs.tariffs(session)}
    return tuple(
        ServiceFigures(
            code=code,
            name=names.get(code, code),
            net=now.get(code, (NOUGHT, 0))[0],
            last_net=last.get(code, (NOUGHT, 0))[0],
            accounts=now.get(code, (NOUGHT, 0))[1],
        )
        for code in sorted(now.keys() | last.keys(), key=lambda code: names.get(code, code))
    )
