import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from billing.jobs import forget_deliveries
from billing.notifications import dispatch, endpoints, operations, queries
from billing.notifications.jobs import deliver, outlets_from
from billing.notifications.model import BACKOFF, LAST_ATTEMPT, LATE_MAIL, Owner
from billing.notifications.smtp import Relay
from billing.notifications.tables import DeliveryAttemptRow, DeliveryRow
from metering.kit.config import Settings
from metering.kit.db import Database
from tests import make
from tests.billing.notifications import makers
from tests.billing.notifications.makers import EDITOR, NOW, outlets
from tests.billing.notifications.receivers import Hook, Mailbox, free_port


@pytest.fixture
def account_id(database: Database) -> str:
    with database.transaction() as session:
        return make.account(session).id


def deliveries(database: Database, **filters: str) -> tuple[queries.Delivery, ...]:
    with database.snapshot() as session:
        return queries.deliveries(session, **filters).items  # type: ignore[arg-type] # filters only


def issue(database: Database, account_id: str, *, invoice_id: str = "inv_1") -> None:
    with database.transaction() as session:
        makers.issued(session, account_id=account_id, invoice_id=invoice_id)


def pay(database: Database, account_id: str, *, invoice_id: str = "inv_1") -> None:
    with database.transaction() as session:
        makers.paid(session, account_id=account_id, invoice_id=invoice_id)


def add_endpoint(database: Database, account_id: str, url: str) -> endpoints.NewEndpoint:
    with database.transaction() as session:
        return makers.endpoint(session, account_id=account_id, url=url)


def test_an_issued_invoice_reaches_mailbox_and_program(
    database: Database, account_id: str, mailbox: Mailbox, hook: Hook
) -> None:
    made = add_endpoint(database, account_id, hook.url)
    issue(database, account_id)
    counts = deliver(database, now=NOW, outlets=outlets(relay=mailbox.relay()))
    assert counts == {
        "addressed": 1, "delivered": 2, "retried": 0, "dead": 0, "kept": 0, "faults": 0
    }  # fmt: skip
    (message,) = mailbox.messages
    assert mailbox.recipients == ["finance@rrk.example"]
    assert message["Subject"] == "Invoice PG-2627-000001 for April 2026: £120.00"
    (attached,) = message.iter_attachments()
    assert attached.get_content() == makers.PDF.content
    (taken,) = hook.taken
    webhook = next(one for one in deliveries(database) if one.channel == "webhook")
    assert taken.headers["webhook-id"] == webhook.id
    said = Webhook(made.secret).sign(webhook.id, NOW, taken.body)
    sent_at = int(taken.headers["webhook-timestamp"])
    assert sent_at == int(NOW.timestamp())
    assert taken.headers["webhook-signature"] == said
    again = deliver(database, now=NOW, outlets=outlets(relay=mailbox.relay()))
    assert set(again.values()) == {0}
    assert (len(mailbox.messages), len(hook.taken)) == (1, 1)


def test_what_did_not_happen_is_not_announced(
    database: Database, account_id: str, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)

    def fail_after_announcing(session: Session) -> None:
        makers.paid(session, account_id=account_id)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.retrying(fail_after_announcing)
    deliver(database, now=NOW, outlets=outlets())
    assert hook.taken == []


def test_without_a_relay_mail_is_kept_and_holds_nothing_up(
    database: Database, account_id: str, mailbox: Mailbox, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    issue(database, account_id)
    counts = deliver(database, now=NOW, outlets=outlets())
    assert (counts["kept"], counts["delivered"]) == (1, 1)
    (kept,) = deliveries(database, status="not-configured")
    assert kept.last_error == "No mail relay is configured."
    soon = NOW + timedelta(days=1)
    assert deliver(database, now=soon, outlets=outlets(relay=mailbox.relay()))["delivered"] == 1
    assert len(mailbox.messages) == 1


def test_old_kept_mail_is_sent_only_when_somebody_says_so(
    database: Database, account_id: str, mailbox: Mailbox
) -> None:
    issue(database, account_id)
    deliver(database, now=NOW, outlets=outlets())
    late = NOW + LATE_MAIL + timedelta(hours=1)
    deliver(database, now=late, outlets=outlets(relay=mailbox.relay()))
    (kept,) = deliveries(database, status="not-configured")
    assert mailbox.messages == []
    with database.transaction() as session:
        operations.replay(session, delivery_id=kept.id, principal=EDITOR, now=late)
    deliver(database, now=late, outlets=outlets(relay=mailbox.relay()))
    assert len(mailbox.messages) == 1


def test_an_email_waits_for_its_pdf(database: Database, account_id: str, mailbox: Mailbox) -> None:
    issue(database, account_id, invoice_id="inv_unmade")
    issue(database, account_id)
    counts = deliver(database, now=NOW, outlets=outlets(relay=mailbox.relay()))
    assert counts["delivered"] == 1
    (waiting,) = deliveries(database, status="waiting")
    assert (waiting.subject_id, waiting.attempts) == ("inv_unmade", 0)
    assert waiting.last_error == "Waiting for the document to be made."
    made = outlets(relay=mailbox.relay(), find_document=lambda *_: makers.PDF)
    assert deliver(database, now=NOW + timedelta(minutes=3), outlets=made)["delivered"] == 1


def test_a_4xx_is_tried_again_and_a_5xx_is_not(
    database: Database, account_id: str, mailbox: Mailbox
) -> None:
    issue(database, account_id)
    mailbox.rcpt_replies = ["450 Greylisted"]
    ways = outlets(relay=mailbox.relay())
    assert deliver(database, now=NOW, outlets=ways)["retried"] == 1
    assert deliver(database, now=NOW + timedelta(seconds=20), outlets=ways)["delivered"] == 0
    assert deliver(database, now=NOW + timedelta(seconds=40), outlets=ways)["delivered"] == 1
    issue(database, account_id, invoice_id="inv_2")
    mailbox.rcpt_replies = ["550 No such person"]
    assert deliver(database, now=NOW, outlets=ways)["dead"] == 1
    (dead,) = deliveries(database, status="dead")
    assert dead.last_error == "No such person"
    assert len(mailbox.messages) == 1


def test_a_relay_that_is_down_uses_no_attempts_up_and_delays_no_webhook(
    database: Database, account_id: str, mailbox: Mailbox, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    for number in range(6):
        issue(database, account_id, invoice_id=f"inv_{number}")
    down = Relay("127.0.0.1", free_port(), "none", "paygo@example.nhs.uk")
    counts = deliver(database, now=NOW, outlets=outlets(relay=down))
    assert (counts["delivered"], counts["dead"]) == (6, 0)
    assert len(hook.taken) == 6
    later = NOW
    for _ in range(LAST_ATTEMPT + 1):
        later += timedelta(minutes=10)
        assert deliver(database, now=later, outlets=outlets(relay=down))["dead"] == 0
    up = outlets(relay=mailbox.relay())
    assert deliver(database, now=later + timedelta(minutes=10), outlets=up)["delivered"] == 6


def test_a_failing_endpoint_is_retried_for_days_then_paused_with_a_notice(
    database: Database, account_id: str, mailbox: Mailbox, hook: Hook
) -> None:
    made = add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    hook.answers = [500] * 100
    ways = outlets(relay=mailbox.relay())
    now = NOW
    for pause in BACKOFF:
        assert deliver(database, now=now, outlets=ways)["retried"] == 1
        now += pause * 1.2
    with database.snapshot() as session:
        endpoint = queries.endpoint(session, endpoint_id=made.row.id)
    assert (endpoint.status, endpoint.failures) == ("paused", 10)
    deliver(database, now=now, outlets=ways)
    assert len(hook.taken) == 10
    assert [message["Subject"] for message in mailbox.messages] == [
        "We have paused a webhook that keeps failing"
    ]
    pay(database, account_id, invoice_id="inv_2")
    deliver(database, now=now, outlets=ways)
    assert len(deliveries(database, status="waiting", channel="webhook")) == 2
    hook.answers = []
    with database.transaction() as session:
        endpoints.resume_endpoint(
            session,
            owner=Owner(account_id=account_id),
            endpoint_id=made.row.id,
            principal=EDITOR,
            now=now,
        )
    assert deliver(database, now=now, outlets=ways)["delivered"] == 2


def test_a_delivery_that_alone_keeps_failing_dies(
    database: Database, account_id: str, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    now = NOW
    ids = []
    for number, pause in enumerate((*BACKOFF, timedelta(0))):
        # What else goes to the endpoint succeeds, so that it is not paused.
        hook.answers = [500]
        deliver(database, now=now, outlets=outlets())
        ids.append(hook.taken[-1].headers["webhook-id"])
        with database.transaction() as session:
            makers.paid(session, account_id=account_id, invoice_id=f"inv_other_{number}", now=now)
        deliver(database, now=now, outlets=outlets())
        now += pause * 1.2
    (dead,) = deliveries(database, status="dead")
    assert dead.attempts == LAST_ATTEMPT
    assert set(ids) == {dead.id}


def test_an_endpoint_that_is_gone_is_paused_at_once(
    database: Database, account_id: str, hook: Hook
) -> None:
    made = add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    hook.answers = [410]
    deliver(database, now=NOW, outlets=outlets())
    with database.snapshot() as session:
        endpoint = queries.endpoint(session, endpoint_id=made.row.id)
    assert (endpoint.status, endpoint.status_reason) == ("paused", "It answered 410 Gone.")


def test_a_slow_endpoint_does_not_starve_another(
    database: Database, account_id: str, hook: Hook
) -> None:
    hook.drip = True
    add_endpoint(database, account_id, hook.url)
    for number in range(12):
        pay(database, account_id, invoice_id=f"inv_{number}")
    with database.transaction() as session:
        other = make.account(session, code="RX1").id
        makers.endpoint(session, account_id=other, url=f"http://127.0.0.1:{free_port()}/")
        makers.paid(session, account_id=other, invoice_id="inv_other")
    deliver(database, now=NOW, outlets=outlets(webhook_seconds=0.3))
    (other_delivery,) = deliveries(database, subject_id="inv_other")
    with database.snapshot() as session:
        started = {
            row.delivery_id: row.started_at for row in session.scalars(select(DeliveryAttemptRow))
        }
    assert len(started) == 13
    assert started[other_delivery.id] == min(started.values())


def test_an_announcement_that_cannot_be_addressed_holds_up_no_other(
    database: Database, account_id: str, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_endpoint(database, account_id, hook.url)
    pay(database, account_id, invoice_id="inv_bad")
    pay(database, account_id, invoice_id="inv_good")
    whole = dispatch.address
    with database.snapshot() as session:
        first = queries.unaddressed(session, limit=1)[0]

    def address(session: Session, *, announcement_id: str, **facts: Any) -> int | None:
        if announcement_id == first:
            raise LookupError
        return whole(session, announcement_id=announcement_id, **facts)

    monkeypatch.setattr(dispatch, "address", address)
    counts = deliver(database, now=NOW, outlets=outlets())
    assert (counts["faults"], counts["delivered"]) == (1, 1)


def test_a_secret_sealed_under_another_key_is_told_and_tried_again(
    database: Database, account_id: str, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    settings = Settings.from_environment(
        {"PAYGO_SECRET_KEY": "another key than at the time, long enough"}
    )
    ways = outlets_from(settings, find_document=makers.find_pdf)
    assert (ways.relay, ways.allow_private) == (None, False)
    assert deliver(database, now=NOW, outlets=ways)["retried"] == 1
    (waiting,) = deliveries(database)
    assert "rotate the secret" in (waiting.last_error or "")
    assert hook.taken == []


def test_an_attempt_cut_short_is_made_again_and_cannot_go_on_for_ever(
    database: Database, account_id: str, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    with database.transaction() as session:
        dispatch.address(session, announcement_id=queries.unaddressed(session, limit=1)[0], now=NOW)
    now = NOW
    for number in range(1, LAST_ATTEMPT + 1):
        with database.transaction() as session:
            parcels = dispatch.claim(
                session, now=now, channels={"webhook"}, limit=8, find_document=makers.find_pdf
            )
        assert parcels is not None
        assert parcels[0].number == number
        assert deliver(database, now=now, outlets=outlets())["delivered"] == 0
        now += dispatch.LEASE
    deliver(database, now=now, outlets=outlets())
    (dead,) = deliveries(database, status="dead")
    assert hook.taken == []
    with database.snapshot() as session:
        outcomes = session.scalars(select(DeliveryAttemptRow.outcome)).all()
    assert outcomes == [None] * LAST_ATTEMPT
    assert dead.attempts == LAST_ATTEMPT


KILLED = """
import sys
from datetime import datetime
from billing.notifications.jobs import deliver
from metering.kit.db import Database
from tests.billing.notifications.makers import outlets
deliver(Database(sys.argv[1]), now=datetime.fromisoformat(sys.argv[2]), outlets=outlets())
"""


@pytest.mark.faults
def test_a_job_killed_while_it_sends_loses_nothing(
    database: Database, database_url: str, account_id: str, hook: Hook
) -> None:
    add_endpoint(database, account_id, hook.url)
    pay(database, account_id)
    hook.drip = True
    job = subprocess.Popen(
        [sys.executable, "-c", KILLED, database_url, NOW.isoformat()],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    try:
        until = time.monotonic() + 30
        while not hook.taken and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    assert len(hook.taken) == 1
    hook.drip = False
    assert deliver(database, now=NOW + dispatch.LEASE / 2, outlets=outlets())["delivered"] == 0
    later = NOW + dispatch.LEASE + timedelta(seconds=1)
    assert deliver(database, now=later, outlets=outlets())["delivered"] == 1
    first, second = (taken.headers["webhook-id"] for taken in hook.taken)
    assert first == second
    with database.snapshot() as session:
        row = session.scalars(select(DeliveryRow)).one()
        detail = queries.delivery(session, delivery_id=row.id)
    assert [one.outcome for one in detail.attempts] == ["delivered", None]


def test_old_deliveries_are_forgotten_and_nothing_is_told_twice(
    database: Database, account_id: str
) -> None:
    issue(database, account_id)
    deliver(database, now=NOW, outlets=outlets())
    before = deliveries(database)
    assert before
    assert forget_deliveries(database, now=NOW + timedelta(days=399)) == {"forgotten": 0}
    assert forget_deliveries(database, now=NOW + timedelta(days=401)) == {"forgotten": len(before)}
    deliver(database, now=NOW + timedelta(days=401), outlets=outlets())
    assert deliveries(database) == ()
