"""Reads of bill runs: where each account stands, and the figures to review."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import case, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices import queries as invoices
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from billing.runs.model import AccountFigures, Check, Outcome, Review
from billing.runs.services import service_figures
from billing.runs.tables import BillRunAccountRow, BillRunRow
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


def review(session: Session, *, run_id: str, account_id: str | None = None) -> Review:
    """Return a run with its figures, against those of the month before.

    Args:
        account_id: narrows `accounts` to one, and leaves `services` out; only then is
            `checked` filled.

    Raises:
        RunUnknown: there is none with this id.
    """
    row = run(session, run_id=run_id)
    month = Month.of_day(row.month)
    last = invoices.last_months_net(session, month=month.previous, account_id=account_id)
    sums = _sums(session, run_id=run_id, account_id=account_id)
    corrections = _corrections(session, run_id=run_id, account_id=account_id)
    # Columns and not rows: a nation has thousands of accounts, and each row would be an object.
    standings = (
        select(
            BillRunAccountRow.account_id,
            OrganisationRow.ods_code,
            AccountRow.name,
            BillRunAccountRow.status,
            BillRunAccountRow.reason,
            # Of all accounts, what passes is left where it is: it is nearly everything.
            _NOTED if account_id is None else BillRunAccountRow.checklist,
        )
        .join(AccountRow, AccountRow.id == BillRunAccountRow.account_id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(BillRunAccountRow.run_id == run_id)
        .order_by(OrganisationRow.ods_code)
    )
    if account_id is not None:
        standings = standings.where(BillRunAccountRow.account_id == account_id)
    nothing = (NOUGHT, NOUGHT, NOUGHT, NOUGHT, 0)
    read = _Checks()
    figures = []
    for account, ods_code, name, status, reason, checklist in session.execute(standings):
        net, vat, total, saving, documents = sums.get(account, nothing)
        checked = {
            document["document"]: tuple(read(said) for said in document["checks"])
            for document in (checklist if account_id is not None else ())
        }
        noted = (
            tuple(read(said) for said in checklist or ())
            if account_id is None
            else tuple(
                check
                for checks in checked.values()
                for check in checks
                if check.outcome is not Outcome.PASS
            )
        )
        figures.append(
            AccountFigures(
                account_id=account,
                ods_code=ods_code,
                name=name,
                status=status,
                reason=reason,
                net=net,
                vat=vat,
                total=total,
                corrections=corrections.get(account, NOUGHT),
                pool_saving=saving,
                last_net=last.get(account),
                documents=documents,
                checked=checked,
                noted=noted,
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
        services=service_figures(session, row=row, before=run_of(session, month=month.previous))
        if account_id is None
        else (),
    )


_NOTED = func.nullif(
    func.jsonb_path_query_array(
        BillRunAccountRow.checklist,
        cast('$[*].checks[*] ? (@.outcome != "pass")', JSONPATH),
        type_=JSONB,
    ),
    cast("[]", JSONB),
    type_=JSONB,
)


class _Checks:
    """Reads checks, and those that say the same as one object."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Check] = {}

    def __call__(self, said: dict[str, str]) -> Check:
        key = (said["name"], said["outcome"], said["detail"])
        if key not in self._known:
            self._known[key] = Check.read(said)
        return self._known[key]


_SIGN = case((InvoiceRow.kind == "credit-note", -1), else_=1)


def _sums(
    session: Session, *, run_id: str, account_id: str | None
) -> dict[str, tuple[Decimal, Decimal, Decimal, Decimal, int]]:
    """Return net, VAT, total, pool saving and number of documents of each account."""
    statement = (
        select(
            InvoiceRow.account_id,
            func.sum(_SIGN * InvoiceRow.net),
            func.sum(_SIGN * InvoiceRow.vat),
            func.sum(_SIGN * InvoiceRow.total),
            func.sum(InvoiceRow.pool_saving),
            func.count(),
        )
        .where(InvoiceRow.run_id == run_id, InvoiceRow.status != "discarded")
        .group_by(InvoiceRow.account_id)
    )
    if account_id is not None:
        statement = statement.where(InvoiceRow.account_id == account_id)
    return {
        account: (net, vat, total, saving, documents)
        for account, net, vat, total, saving, documents in session.execute(statement)
    }


def _corrections(session: Session, *, run_id: str, account_id: str | None) -> dict[str, Decimal]:
    """Return the part of each account's net that amends earlier invoices."""
    statement = (
        select(InvoiceRow.account_id, func.sum(_SIGN * InvoiceLineRow.net))
        .join(
            InvoiceLineRow,
            (InvoiceLineRow.account_id == InvoiceRow.account_id)
            & (InvoiceLineRow.invoice_id == InvoiceRow.id),
        )
        .where(InvoiceRow.run_id == run_id, InvoiceLineRow.kind == "correction")
        .group_by(InvoiceRow.account_id)
    )
    if account_id is not None:
        statement = statement.where(InvoiceRow.account_id == account_id)
    return {row[0]: row[1] for row in session.execute(statement)}
