"""What each service comes to in a run: added up from its lines, and kept once they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from billing.runs.model import ServiceFigures
from billing.runs.tables import BillRunRow
from billing.tariffs import queries as tariffs


@dataclass(frozen=True)
class ServiceSum:
    """Net pounds of a service's lines in a run, credit notes taken off, over so many accounts."""

    tariff: str
    net: Decimal
    accounts: int

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `read` reads back."""
        return {"tariff": self.tariff, "net": str(self.net), "accounts": self.accounts}

    @classmethod
    def read(cls, said: dict[str, Any]) -> "ServiceSum":
        """Read what `to_json` wrote."""
        return cls(said["tariff"], Decimal(said["net"]), said["accounts"])


def service_sums(session: Session, *, run_id: str) -> list[ServiceSum]:
    """Return what each service comes to in a run, added up from the lines of its documents."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    # By account first, as the index has it: nothing need be sorted to be told apart.
    of_accounts = (
        select(InvoiceLineRow.tariff_code, func.sum(sign * InvoiceLineRow.net).label("net"))
        .join(
            InvoiceRow,
            (InvoiceLineRow.account_id == InvoiceRow.account_id)
            & (InvoiceLineRow.invoice_id == InvoiceRow.id),
        )
        .where(InvoiceRow.run_id == run_id, InvoiceRow.status != "discarded")
        .group_by(InvoiceLineRow.tariff_code, InvoiceRow.account_id)
        .subquery()
    )
    rows = session.execute(
        select(of_accounts.c.tariff_code, func.sum(of_accounts.c.net), func.count())
        .group_by(of_accounts.c.tariff_code)
        .order_by(of_accounts.c.tariff_code)
    )
    return [ServiceSum(*row) for row in rows]


def service_figures(
    session: Session, *, row: BillRunRow, before: BillRunRow | None
) -> tuple[ServiceFigures, ...]:
    """Return what each service comes to in a run, against the run of the month before."""
    now = {item.tariff: item for item in _kept_or_summed(session, row)}
    last = (
        {} if before is None else {item.tariff: item for item in _kept_or_summed(session, before)}
    )
    names = {tariff.code: tariff.name for tariff in tariffs.tariffs(session)}
    nothing = ServiceSum("", NOUGHT, 0)
    return tuple(
        ServiceFigures(
            code=code,
            name=names.get(code, code),
            net=now.get(code, nothing).net,
            last_net=last.get(code, nothing).net,
            accounts=now.get(code, nothing).accounts,
        )
        for code in sorted(now.keys() | last.keys(), key=lambda code: names.get(code, code))
    )


def _kept_or_summed(session: Session, row: BillRunRow) -> Sequence[ServiceSum]:
    """Return the sums that the run has kept; while its drafts may change, add them up."""
    if row.services is None:
        return service_sums(session, run_id=row.id)
    return [ServiceSum.read(said) for said in row.services]
