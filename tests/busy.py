"""What makes the filled application look as it does in use: something on every list.

Only the third trust and the central team's pages get any of it, so that the sums of the
first two stay readable in the tests that read them.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.local_operations import propose_local_agreement
from billing.accounts.tables import AccountRow
from billing.bundles.operations import ask_for_account_bundle, ask_for_bundle
from billing.disputes.operations import raise_dispute
from billing.notifications import endpoints, operations
from billing.notifications.dispatch import address
from billing.notifications.model import Owner
from billing.notifications.sealing import Vault
from billing.notifications.tables import AnnouncementRow
from billing.payments.bank.operations import set_aside
from billing.payments.operations import allocate, write_off
from billing.payments.refunds import request_refund
from billing.runs import queries as runs
from billing.tariffs.operations import import_tariff
from metering.periods import Month
from metering.sources.operations import issue_key
from tests.billing.payments import makers

EDITOR, ANALYST = "usr_editor", "usr_analyst"
DRAFT = """\
tariff: imaging-archive
version: "2026-08"
effective_from: 2026-08-01
vat: standard
prices:
  - {meter: studies-archived, model: graduated, scope: pool,
     tiers: [{up_to: "100", unit_price: "0.45"}, {up_to: null, unit_price: "0.28"}]}
"""


def fill(
    session: Session, *, account_id: str, invoice_id: str, secret_key: str, now: datetime
) -> str:
    """Give a trust a part-paid and queried invoice, and the central team what it works on.

    Returns:
        A key of the service `imaging-archive`, to post with.
    """
    account = session.get_one(AccountRow, account_id)
    twice = makers.stripe_payment(session, account, "5.00", now=now)
    payment = makers.stripe_payment(session, account, "25.00", now=now)
    allocate(
        session,
        account_id=account_id,
        invoice_id=invoice_id,
        payment_id=payment.id,
        amount=Decimal("10.00"),
        principal=ANALYST,
        now=now,
    )
    write_off(
        session,
        account_id=account_id,
        invoice_id=invoice_id,
        amount=Decimal("1.20"),
        reason="Not worth asking for",
        principal=ANALYST,
        now=now,
    )
    request_refund(
        session,
        account_id=account_id,
        payment_id=twice.id,
        amount=Decimal("5.00"),
        reason="Paid twice",
        principal=ANALYST,
        now=now,
    )
    makers.statement(session, ("99.50", "PO 4711"), ("-3.10", "bank charges"), now=now)
    (interest,) = makers.statement(session, ("0.45", "interest"), now=now)
    set_aside(
        session, bank_line_id=interest, reason="Interest of April", principal=ANALYST, now=now
    )
    raise_dispute(
        session,
        account_id=account_id,
        invoice_id=invoice_id,
        line_number=1,
        reason="quantity",
        text="We count fewer studies in April.",
        principal=EDITOR,
        now=now,
    )
    owner = Owner(account_id=account_id)
    operations.subscribe(
        session,
        owner=owner,
        address="payables@trust.example",
        kinds=["invoice.paid"],
        principal=EDITOR,
        now=now,
    )
    endpoints.add_endpoint(
        session,
        owner=owner,
        url="https://hooks.trust.example/paygo",
        kinds=["invoice.paid"],
        vault=Vault(secret_key),
        allow_private=False,
        principal=EDITOR,
        now=now,
    )
    propose_local_agreement(
        session,
        account_id=account_id,
        tariff_code="imaging-archive",
        terms={"discount_percent": "2"},
        starts_on=date(2026, 6, 1),
        principal=ANALYST,
        now=now,
    )
    (run,) = runs.runs(session)
    ask_for_bundle(session, run_id=run.id, principal=ANALYST, now=now)
    april = Month.of_day(run.month)
    ask_for_account_bundle(
        session, account_id=account_id, first=april, last=april, principal=EDITOR, now=now
    )
    for announcement_id in session.scalars(
        select(AnnouncementRow.id).where(AnnouncementRow.account_id == account_id)
    ).all():
        address(session, announcement_id=announcement_id, now=now)
    import_tariff(session, text=DRAFT, principal=ANALYST, now=now)
    return issue_key(
        session, source_code="imaging-archive", label="production", created_by=ANALYST, now=now
    ).text
