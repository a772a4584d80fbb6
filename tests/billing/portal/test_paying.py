"""How a trust pays: where to, online where that is offered, and what has reached us."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from billing.access.model import Grant, Role
from billing.payments import mirror
from billing.payments.bank import operations as bank
from billing.payments.bank.matching import Share
from billing.payments.gateway import RemoteInvoice
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers
from tests.scenarios import story

NOW = datetime(2026, 5, 25, 9, 0, tzinfo=UTC)


def test_a_trust_sees_how_to_pay_and_what_it_has_paid(database: Database, tmp_path: Path) -> None:
    story.service(database)
    story.trusts(database, "RRK", "RWE")
    story.uses(database, "RRK", "200", at=datetime(2026, 4, 10, 12, tzinfo=UTC))
    story.uses(database, "RWE", "100", at=datetime(2026, 4, 10, 12, tzinfo=UTC))
    issued = story.month_end(database, story.APRIL)
    invoice, other = issued["RRK"][0], issued["RWE"][0]
    app = web.make_app(database, tmp_path, web.Clock(NOW))
    trust = web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=invoice.account_id)])
    page = "/portal/RRK/statement"

    before = trust.get(page).text
    assert "No payment of 2026/27 has reached us" in before
    assert "Pay now" not in before
    assert "How to pay" in before
    assert "60-70-80" in before

    def pushed(*, status: str, remaining: str) -> None:
        with database.transaction() as session:
            remote = RemoteInvoice(
                id=f"in_{invoice.id}",
                account_id=invoice.account_id,
                invoice_id=invoice.id,
                number=invoice.number or "",
                status=status,
                total=invoice.total,
                vat=invoice.vat,
                amount_remaining=Decimal(remaining),
                hosted_url="https://pay.example/secret",
            )
            mirror.keep_mirror(
                session,
                remote=remote,
                account_id=invoice.account_id,
                invoice_id=invoice.id,
                now=NOW,
            )

    pushed(status="open", remaining="120.00")
    with database.transaction() as session:
        (line,) = makers.statement(session, ("70.00", "BACS 1"), booked_on=date(2026, 5, 20))
        bank.confirm(
            session,
            bank_line_id=line,
            shares=[
                Share(account_id=invoice.account_id, invoice_id=invoice.id, amount=Decimal(50)),
                Share(account_id=invoice.account_id, invoice_id=None, amount=Decimal(20)),
            ],
            principal="usr_clerk",
            now=NOW,
        )

    shown = trust.get(page).text
    assert 'href="https://pay.example/secret"' in shown
    assert f"{invoice.number}: £50.00; not used yet: £20.00" in shown
    assert "BACS 1" in shown
    one = trust.get(f"/portal/RRK/invoices/{invoice.id}").text
    assert "Pay online" in one
    neighbour = web.signed_in(
        app,
        [Grant(Role.FINANCE_VIEWER, account_id=other.account_id)],
        email="other@example.nhs.uk",
    )
    assert "pay.example" not in neighbour.get("/portal/RWE/statement").text
    pushed(status="paid", remaining="0.00")
    assert "Pay online" not in trust.get(f"/portal/RRK/invoices/{invoice.id}").text
