"""Local agreements on invoices, in pounds and pence."""

from datetime import date

from billing.accounts import local_operations as local
from metering.kit.db import Database
from tests import make
from tests.scenarios.story import APRIL, MAY, amounts, month_end, service, trusts, uses


def agree(database: Database, terms: dict[str, object], **owner: str) -> str:
    with database.transaction() as session:
        row = local.propose_local_agreement(
            session,
            tariff_code="imaging-archive",
            terms=terms,
            starts_on=date(2026, 4, 1),
            principal=make.ANALYST,
            now=make.NOW,
            **owner,
        )
        local.approve_local_agreement(
            session, local_id=row.id, principal=make.APPROVER, now=make.NOW
        )
        return row.id


def test_a_promise_that_was_not_kept_is_a_line_and_late_usage_takes_it_off(
    database: Database,
) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    agree(database, {"commitment": {"amount": "100.00"}}, account_id=trust.id)
    uses(database, "RRK", "60")
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert amounts(invoice) == ("100.00", "20.00", "120.00")
    assert sorted((line.description, str(line.net)) for line in invoice.lines) == [
        ("Shortfall against commitment", "70.00"),
        ("Studies archived", "30.00"),
    ]
    # 20 more of April are 10.00 more of use and 10.00 less of shortfall: nothing to pay.
    uses(database, "RRK", "20", at=date(2026, 4, 20))
    uses(database, "RRK", "200", at=date(2026, 5, 4))
    documents = month_end(database, MAY)["RRK"]
    assert sum(d.net if d.owed >= 0 else -d.net for d in documents) == 100


def test_a_groups_discount_is_on_each_members_invoice(database: Database) -> None:
    service(database)
    trusts(database, "RA1", "RA2", group_code="QWE")
    agree(database, {"discount_percent": "12.5"}, group_code="QWE")
    uses(database, "RA1", "100")
    uses(database, "RA2", "7")
    invoices = month_end(database, APRIL)
    # 50.00 less 6.25; 3.50 less 0.4375 is 3.0625.
    assert {code: str(document.net) for code, (document,) in invoices.items()} == {
        "RA1": "43.75",
        "RA2": "3.06",
    }
