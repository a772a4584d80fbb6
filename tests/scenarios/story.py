"""A month end from start to issued invoices, as people do it; read scenarios beside it."""

from datetime import datetime, timedelta
from decimal import Decimal

from billing.accounts.tables import AccountRow
from billing.invoices import queries as invoices
from billing.invoices.model import Invoice
from billing.invoices.parties import BankAccount, Party
from billing.invoices.supplier import Supplier
from billing.runs import operations, work
from metering.kit.db import Database
from metering.periods import Month
from tests import make

APRIL, MAY, JUNE = Month(2026, 4), Month(2026, 5), Month(2026, 6)

SUPPLIER = Supplier(
    party=Party(
        name="NHS Example Shared Services",
        address=("1 Example Place", "Leeds"),
        postcode="LS1 4AP",
        ods_code="X26",
        vat_number="GB654965435",
        email="paygo@example.nhs.uk",
    ),
    bank=BankAccount(account_name="NHS Example", sort_code="60-70-80", account_number="10014069"),
)
STARTER, APPROVER = "usr_starter", "usr_run_approver"


def after(month: Month) -> datetime:
    """The fifth of the next month, at noon: the run may start."""
    end = month.period.end
    assert end is not None
    return end + timedelta(days=4, hours=12)


def start(database: Database, month: Month) -> str:
    """Start the month's run; return its id."""
    with database.transaction() as session:
        return operations.start_run(
            session, month=month, supplier=SUPPLIER, principal=STARTER, now=after(month)
        ).id


def draft(database: Database, month: Month) -> str:
    """Start and draft the month's run; return its id."""
    run_id = start(database, month)
    work.draft_run(database, run_id=run_id, now=after(month))
    return run_id


def approve(database: Database, run_id: str, month: Month) -> None:
    """Approve a drafted run as the second person."""
    with database.transaction() as session:
        operations.approve_run(session, run_id=run_id, principal=APPROVER, now=after(month))


def month_end(database: Database, month: Month) -> dict[str, list[Invoice]]:
    """Run the month to the end; return issued documents by ODS code, in order of number."""
    run_id = draft(database, month)
    approve(database, run_id, month)
    work.issue_run(database, run_id=run_id, principal=APPROVER, now=after(month))
    return issued(database, run_id)


def issued(database: Database, run_id: str) -> dict[str, list[Invoice]]:
    """Return the documents that a run issued by ODS code, in order of number."""
    found: dict[str, list[Invoice]] = {}
    with database.snapshot() as session:
        for row in sorted(
            invoices.invoices(session, run_id=run_id), key=lambda row: row.number or ""
        ):
            document = invoices.read(row)
            found.setdefault(document.buyer.ods_code, []).append(document)
    return found


def service(database: Database, *prices: dict[str, object], **facts: object) -> None:
    """One hosted service with its meter and a tariff in force from 1 April 2026."""
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        make.tariff(session, *prices, **facts)


def trusts(database: Database, *codes: str, **facts: object) -> list[AccountRow]:
    """Trusts with accounts on the service's tariff."""
    found = []
    with database.transaction() as session:
        for code in codes:
            trust = make.account(session, code=code)
            make.agreement(session, account=trust, **facts)
            found.append(trust)
    return found


def uses(database: Database, code: str, quantity: str, **facts: object) -> None:
    """A trust uses the service."""
    with database.transaction() as session:
        make.usage(session, code=code, quantity=quantity, **facts)


def amounts(document: Invoice) -> tuple[str, str, str]:
    """Net, VAT and total as text, to read aloud."""
    return (str(document.net), str(document.vat), str(document.total))


def net_of(documents: list[Invoice]) -> Decimal:
    """What documents come to together without VAT, credit notes taken off."""
    return sum(
        (d.net if d.owed >= 0 else -d.net for d in documents),
        Decimal("0.00"),
    )
