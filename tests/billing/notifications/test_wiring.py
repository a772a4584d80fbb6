"""What happens in paygo is announced where it happens, and reaches whom it concerns."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import jobs
from billing.notifications.rejections import SETTLE
from billing.notifications.tables import AnnouncementRow
from billing.payments import operations as payments
from metering.kit.db import Database
from tests.billing.notifications.receivers import Mailbox
from tests.billing.payments import makers as money
from tests.metering import make as metering
from tests.scenarios import story

NOW = story.after(story.APRIL)


def announced(session: Session, kind: str) -> list[AnnouncementRow]:
    return list(
        session.scalars(
            select(AnnouncementRow)
            .where(AnnouncementRow.kind == kind)
            .order_by(AnnouncementRow.announced_at, AnnouncementRow.id)
        )
    )


def test_a_month_end_reaches_each_trusts_mailbox_with_its_pdf(
    database: Database, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYGO_SMTP_URL", f"smtp+plain://127.0.0.1:{mailbox.port}")
    monkeypatch.setenv("PAYGO_MAIL_FROM", "Paygo <paygo@example.nhs.uk>")
    story.service(database)
    story.trusts(database, "RA1", "RA2")
    story.uses(database, "RA1", "10")
    story.uses(database, "RA2", "20")
    documents = story.month_end(database, story.APRIL)
    assert jobs.deliver_notifications(database, now=NOW)["delivered"] == 0
    jobs.make_documents(database, now=NOW)
    later = NOW + timedelta(minutes=3)
    assert jobs.deliver_notifications(database, now=later)["delivered"] == 2
    assert sorted(mailbox.recipients) == ["finance@ra1.example", "finance@ra2.example"]
    for message in mailbox.messages:
        code = str(message["To"]).partition("@")[2].removesuffix(".example").upper()
        (invoice,) = documents[code]
        (attached,) = message.iter_attachments()
        assert attached.get_filename() == f"{invoice.number}.pdf"
        assert attached.get_content().startswith(b"%PDF")
        assert str(message["Subject"]).startswith(f"Invoice {invoice.number} for April 2026: £")


def test_an_invoice_is_announced_as_paid_once_payments_cover_it(session: Session) -> None:
    account = money.account(session)
    invoice = money.issue(session, account, "100.00")
    first = money.stripe_payment(session, account, "20.00")
    rest = money.stripe_payment(session, account, "100.00", received_on=date(2026, 5, 22))

    def allocate(payment_id: str, amount: str) -> str:
        return payments.allocate(
            session,
            account_id=account.id,
            invoice_id=invoice.id,
            amount=Decimal(amount),
            payment_id=payment_id,
            principal=money.CLERK,
            now=NOW,
        ).id

    allocate(first.id, "20.00")
    assert announced(session, "invoice.paid") == []
    made = allocate(rest.id, "100.00")
    (told,) = announced(session, "invoice.paid")
    assert (told.account_id, told.subject_id) == (account.id, invoice.id)
    assert told.facts == {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "total": "120.00",
        "paid_on": "2026-05-22",
    }
    payments.undo_allocation(
        session,
        account_id=account.id,
        allocation_id=made,
        reason="Wrong invoice",
        principal=money.CLERK,
        now=NOW,
    )
    allocate(rest.id, "100.00")
    assert len(announced(session, "invoice.paid")) == 1


def test_an_invoice_that_a_credit_note_covers_is_not_announced_as_paid(session: Session) -> None:
    account = money.account(session)
    invoice = money.issue(session, account, "100.00")
    credit = money.issue(session, account, "100.00", credits_invoice=invoice)
    session.refresh(invoice)
    if invoice.status == "issued":
        payments.allocate(
            session,
            account_id=account.id,
            invoice_id=invoice.id,
            amount=invoice.total,
            credit_note_id=credit.id,
            principal=money.CLERK,
            now=NOW,
        )
        session.refresh(invoice)
    assert invoice.status == "settled"
    assert announced(session, "invoice.paid") == []


def test_a_source_is_told_once_how_much_was_rejected_and_never_what(database: Database) -> None:
    metering.catalogue(database)
    service = metering.service(database)
    service.post(
        metering.event(1),
        metering.event(2, subject="XXX"),
        metering.event(3, subject="XXX"),
        metering.event(4, data={"studies": "many"}),
    )
    received = service.now
    assert jobs.announce_rejected_usage(database, now=received)["events"] == 0  # not settled yet
    first = received + SETTLE
    assert jobs.announce_rejected_usage(database, now=first) == {"sources": 1, "events": 3}
    assert jobs.announce_rejected_usage(database, now=first)["events"] == 0
    later = first + timedelta(minutes=15)
    metering.service(database, now=later - SETTLE).post(metering.event(5, subject="XXX"))
    assert jobs.announce_rejected_usage(database, now=later) == {"sources": 1, "events": 1}
    with database.snapshot() as session:
        one, two = announced(session, "usage.rejected")
    assert sum(one.facts["reasons"].values()) == one.facts["rejected"] == 3
    assert two.facts["received_from"] == one.facts["received_to"]
    assert datetime.fromisoformat(one.facts["received_to"]) == first - SETTLE
    assert "XXX" not in json.dumps([one.facts, two.facts])
    assert "many" not in json.dumps(one.facts)
