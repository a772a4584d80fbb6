"""Stripe through real HTTP: pushed once whatever breaks, mirrored in any order, never believed."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event as sa_event
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices.model import Treatment
from billing.invoices.tables import InvoiceRow
from billing.ledger.tables import ReceivableRow
from billing.money import sum_pounds, vat_on
from billing.payments import calls, jobs, mirror, operations, refunds
from billing.payments.bank import operations as bank
from billing.payments.bank.matching import Share
from billing.payments.conservation import check_books
from billing.payments.gateway import (
    GatewayCustomer,
    GatewayInvoice,
    GatewayLine,
    GatewayRefused,
    GatewayUnavailable,
    WebhookNotSigned,
)
from billing.payments.material import vat_by_line
from billing.payments.stripe_gateway import StripeGateway
from billing.payments.tables import PaymentRow, RefundRow, StripeInvoiceRow, WebhookEventRow
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers
from tests.billing.payments.fake_stripe import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    FakeStripe,
    Refused,
    check,
    fake_stripe,
    nested,
    sign,
)

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
BY = {"principal": makers.CLERK, "now": NOW}


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    with fake_stripe() as fake:
        yield fake


@pytest.fixture
def gateway(stripe: FakeStripe) -> StripeGateway:
    return StripeGateway(SECRET_KEY, webhook_secret=WEBHOOK_SECRET, api_base=stripe.base, retries=0)


def _issue(
    database: Database, nets: dict[str, str] | str = "100.00"
) -> tuple[AccountRow, InvoiceRow]:
    with database.transaction() as session:
        account = makers.account(session)
        return account, makers.issue(session, account, nets)


def _push(database: Database, gateway: StripeGateway, *, now: datetime = NOW) -> dict[str, int]:
    return dict(jobs.push_all(database, gateway, now=now))


def _listen(
    database: Database, gateway: StripeGateway, webhooks: list[tuple[bytes, str]]
) -> dict[str, int]:
    for content, signature in webhooks:
        with database.transaction() as session:
            mirror.store_event(session, event=gateway.read_event(content, signature), now=NOW)
    return dict(jobs.apply_events(database, gateway, now=NOW))


def _status(database: Database, invoice: InvoiceRow) -> tuple[str, Decimal]:
    with database.snapshot() as session:
        row = session.get_one(ReceivableRow, (invoice.account_id, invoice.id))
        status = session.get_one(InvoiceRow, (invoice.account_id, invoice.id)).status
        return status, row.total - row.allocated


def _books_hold(database: Database) -> None:
    with database.snapshot() as session:
        assert not check_books(session, on=date(2026, 5, 21))


def test_an_invoice_is_pushed_as_it_was_printed(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    account, invoice = _issue(database, {"imaging-archive": "33.33", "messaging": "66.69"})

    assert _push(database, gateway) == {"invoices": 1}

    pushed = stripe.only_invoice()
    assert pushed["status"] == "open"
    assert pushed["number"] == invoice.number
    assert (pushed["total"], pushed["total_excluding_tax"]) == (12002, 10002)
    assert [line["amount"] for line in pushed["lines"]] == [3333, 6669]
    assert pushed["metadata"] == {"paygo_account": account.id, "paygo_invoice": invoice.id}
    # The last second of 4 June in London.
    assert datetime.fromtimestamp(pushed["due_date"], tz=UTC) == datetime(
        2026, 6, 4, 22, 59, 59, tzinfo=UTC
    )
    methods = pushed["payment_settings"]
    assert methods["payment_method_types"] == ["customer_balance", "bacs_debit"]
    with database.snapshot() as session:
        row = session.scalars(select(StripeInvoiceRow)).one()
        assert (row.status, row.amount_remaining) == ("open", Decimal("120.02"))
        assert row.hosted_url is not None
    calls_before = len(stripe.calls)
    assert _push(database, gateway) == {}
    assert len(stripe.calls) == calls_before


_STEPS = (
    r"POST /v1/customers$",
    r"POST /v1/invoices$",
    r"POST /v1/invoices/\w+/add_lines$",
    r"POST /v1/invoices/\w+/finalize$",
    r"GET /v1/invoices/\w+$",
)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        *((step, kind) for step in _STEPS for kind in ("drop-before", "drop-after")),
        *zip(_STEPS, ("500", "429", "409", "503", "401"), strict=True),
    ],
)
def test_a_push_cut_off_at_any_step_is_repaired_and_happens_once(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, step: str, kind: str
) -> None:
    _issue(database)
    stripe.fail_next(step, kind)

    assert _push(database, gateway) == {"unavailable": 1}
    assert _push(database, gateway, now=NOW + timedelta(minutes=2)) == {"invoices": 1}

    assert len(stripe.customers) == 1
    pushed = stripe.only_invoice()
    assert (pushed["status"], pushed["total"], len(pushed["lines"])) == ("open", 12000, 1)


def test_a_push_cut_off_for_days_asks_before_it_repeats_under_a_new_key(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    _issue(database)
    stripe.fail_next(r"POST /v1/invoices$", "drop-after")
    _push(database, gateway)
    stripe._answers.clear()  # Stripe has forgotten the keys

    assert _push(database, gateway, now=NOW + timedelta(days=3)) == {"invoices": 1}
    assert len(stripe.invoices) == 1


def test_an_invoice_of_many_lines_goes_in_parts(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    _issue(database, {f"service-{n:03d}": "0.13" for n in range(205)})
    stripe.fail_next(r"add_lines$", "drop-after")

    _push(database, gateway)
    _push(database, gateway)

    pushed = stripe.only_invoice()
    assert len(pushed["lines"]) == 205
    assert (pushed["total_excluding_tax"], pushed["total"]) == (2665, 3198)


def test_when_stripe_adds_up_otherwise_the_invoice_is_not_made_payable(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    account, _ = _issue(database)
    stripe.tax_skew = 1

    assert _push(database, gateway) == {"refused": 1}
    assert _push(database, gateway) == {}
    assert stripe.only_invoice()["status"] == "draft"
    with database.snapshot() as session:
        (waiting,) = calls.refused(session)
    assert "£120.01" in (waiting.error or "")

    # A person puts it right and lets it go on.
    stripe.only_invoice()["total"] -= 1
    with database.transaction() as session:
        calls.allow_again(session, account_id=account.id, call_id=waiting.id, **BY)
    assert _push(database, gateway) == {"invoices": 1}
    with database.transaction() as session, pytest.raises(calls.CallUnknown):
        calls.allow_again(session, account_id=account.id, call_id=waiting.id, **BY)


def test_a_refusal_waits_for_a_person_and_holds_up_nobody_else(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    with database.transaction() as session:
        account = makers.account(session)
        makers.issue(session, account, "1.00")
        makers.issue(session, account, "2.00")
    stripe.fail_next(r"POST /v1/invoices$", "400")

    assert _push(database, gateway) == {"refused": 1, "invoices": 1}
    assert stripe.only_invoice()["status"] == "open"
    assert _push(database, gateway) == {}


def test_while_stripe_is_down_paygo_goes_on(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    with database.transaction() as session:
        account = makers.account(session)
        invoices = [makers.issue(session, account, "1.00") for _ in range(4)]
    stripe.down = True

    with pytest.raises(GatewayUnavailable):
        _push(database, gateway)
    assert len(stripe.calls) == 3
    with database.transaction() as session:
        makers.statement(session, ("1.20", invoices[0].number or ""))
    assert jobs.clear(database, now=NOW)["matched"] == 1
    stripe.down = False
    assert _push(database, gateway) == {"invoices": 3}


def test_a_slow_stripe_is_given_up_on_and_asked_again(
    database: Database, stripe: FakeStripe
) -> None:
    hasty = StripeGateway(SECRET_KEY, api_base=stripe.base, retries=0, timeout_seconds=1)
    _issue(database)
    stripe.fail_next(r"POST /v1/customers$", "slow")

    assert _push(database, hasty) == {"unavailable": 1}
    assert _push(database, hasty) == {"invoices": 1}
    assert len(stripe.customers) == 1


def test_no_call_is_made_inside_a_transaction(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_now = 0

    def begun(_: object) -> None:
        nonlocal open_now
        open_now += 1

    def ended(*_: object) -> None:
        nonlocal open_now
        open_now -= 1

    sa_event.listen(database.engine, "begin", begun)
    sa_event.listen(database.engine, "commit", ended)
    sa_event.listen(database.engine, "rollback", ended)
    inside = []
    answer = stripe.answer
    monkeypatch.setattr(stripe, "answer", lambda *args: (inside.append(open_now), answer(*args))[1])

    _, invoice = _issue(database)
    _push(database, gateway)
    stripe.pay(stripe.only_invoice()["id"], 12000)
    _listen(database, gateway, stripe.webhooks())

    assert _status(database, invoice) == ("settled", Decimal("0.00"))
    assert inside
    assert set(inside) == {0}


@pytest.mark.parametrize("seed", range(4))
def test_webhooks_in_any_order_and_many_times_give_the_same_books(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, seed: int
) -> None:
    _, invoice = _issue(database)
    _push(database, gateway)
    remote = stripe.only_invoice()["id"]
    stripe.pay(remote, 5000)
    stripe.pay(remote, 7000)
    told = stripe.webhooks() * 2
    random.Random(seed).shuffle(told)

    for start in range(0, len(told), 4):
        _listen(database, gateway, told[start : start + 4])

    assert _status(database, invoice) == ("settled", Decimal("0.00"))
    with database.snapshot() as session:
        amounts = sorted(session.scalars(select(PaymentRow.amount)))
        received = set(session.scalars(select(PaymentRow.received_on)))
        assert len(session.scalars(select(WebhookEventRow.id)).all()) == len(stripe.events)
    assert amounts == [Decimal("50.00"), Decimal("70.00")]
    assert received == {date(2026, 5, 20)}
    _books_hold(database)


def test_a_lost_webhook_is_made_up_for(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    _, invoice = _issue(database)
    _push(database, gateway)
    stripe.pay(stripe.only_invoice()["id"], 12000)

    assert jobs.look_again(database, gateway, now=NOW + timedelta(hours=11))["invoices"] == 0
    assert jobs.look_again(database, gateway, now=NOW + timedelta(hours=13))["payments"] == 1
    assert _status(database, invoice) == ("settled", Decimal("0.00"))


def test_an_event_that_cannot_be_applied_waits_and_is_given_up_in_the_end(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    _issue(database)
    _push(database, gateway)
    stripe.down = True

    assert _listen(database, gateway, stripe.webhooks())["failed"] == 2
    for _ in range(mirror.MOST_TRIES):
        jobs.apply_events(database, gateway, now=NOW)

    with database.snapshot() as session:
        rows = session.scalars(select(WebhookEventRow)).all()
    assert {(row.outcome, row.tries) for row in rows} == {("failed", mirror.MOST_TRIES)}
    assert all(row.error for row in rows)


def test_an_overpayment_stays_the_accounts(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    account, invoice = _issue(database)
    _push(database, gateway)
    with database.transaction() as session:
        (line,) = makers.statement(session, ("100.00", "by BACS at the same time"))
        bank.confirm(
            session,
            bank_line_id=line,
            shares=[Share(account_id=account.id, invoice_id=invoice.id, amount=Decimal("100.00"))],
            **BY,
        )
    stripe.pay(stripe.only_invoice()["id"], 12000)

    _listen(database, gateway, stripe.webhooks())

    assert _status(database, invoice) == ("settled", Decimal("0.00"))
    with database.snapshot() as session:
        payment = session.scalars(select(PaymentRow).where(PaymentRow.source == "stripe")).one()
    assert payment.amount - payment.allocated == Decimal("100.00")
    _books_hold(database)


def test_what_is_paid_by_bank_is_closed_at_stripe_and_not_counted_twice(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    _, invoice = _issue(database)
    _push(database, gateway)
    with database.transaction() as session:
        makers.statement(session, ("120.00", invoice.number or ""))
    jobs.clear(database, now=NOW)

    assert _push(database, gateway) == {"closed": 1}
    _listen(database, gateway, stripe.webhooks())

    assert stripe.only_invoice()["status"] == "paid"
    assert _push(database, gateway) == {}
    with database.snapshot() as session:
        assert [row.source for row in session.scalars(select(PaymentRow))] == ["bank"]
    _books_hold(database)


@pytest.mark.parametrize(("paid", "cut_off"), [(0, False), (10000, True), (12000, False)])
def test_a_credit_note_is_told_to_stripe_whatever_was_paid(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, paid: int, cut_off: bool
) -> None:
    account, invoice = _issue(database)
    _push(database, gateway)
    if paid:
        stripe.pay(stripe.only_invoice()["id"], paid)
        _listen(database, gateway, stripe.webhooks())
    with database.transaction() as session:
        makers.issue(session, account, "50.00", credits_invoice=invoice)
    if cut_off:
        stripe.fail_next("POST /v1/credit_notes", "drop-after")
        assert _push(database, gateway) == {"unavailable": 1}

    assert _push(database, gateway) == {"credit_notes": 1}
    jobs.clear(database, now=NOW)
    _push(database, gateway)

    (credit,) = stripe.credit_notes.values()
    assert credit["amount"] == 6000
    assert stripe.only_invoice()["amount_remaining"] == max(12000 - paid - 6000, 0)
    assert _status(database, invoice)[1] == max(Decimal(12000 - paid - 6000) / 100, 0)
    _books_hold(database)


@pytest.mark.parametrize("fault", [None, "drop-before", "drop-after"])
@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_a_refund_by_stripe_happens_once_and_ends_as_stripe_says(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, fault: str | None, ends: str
) -> None:
    account, _ = _issue(database)
    _push(database, gateway)
    stripe.pay(stripe.only_invoice()["id"], 12000)
    _listen(database, gateway, stripe.webhooks())
    with database.transaction() as session:
        payment = session.scalars(select(PaymentRow)).one()
        (allocated,) = session.scalars(select(operations.AllocationRow.id)).all()
        operations.undo_allocation(
            session, account_id=account.id, allocation_id=allocated, reason="paid twice", **BY
        )
        refunds.request_refund(
            session,
            account_id=account.id,
            payment_id=payment.id,
            amount=Decimal("120.00"),
            reason="paid twice",
            **BY,
        )
    if fault:
        stripe.fail_next("POST /v1/refunds", fault)
        assert _push(database, gateway)["unavailable"] == 1
    _push(database, gateway)
    assert len(stripe.refunds) == 1
    with database.snapshot() as session:
        assert session.scalars(select(RefundRow)).one().status == "requested"

    stripe.finish_refund(next(iter(stripe.refunds)), ends)
    _listen(database, gateway, stripe.webhooks())
    _listen(database, gateway, stripe.webhooks())

    with database.snapshot() as session:
        refund = session.scalars(select(RefundRow)).one()
    assert refund.status == ("sent" if ends == "succeeded" else "failed")
    assert refund.remote_id == next(iter(stripe.refunds))
    _books_hold(database)


def test_things_at_stripe_that_are_not_paygos_are_left_alone(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    customer = gateway.create_customer(
        GatewayCustomer(account_id="x", name="x", email="x", address=("x",), postcode="x"), key="a"
    )
    foreign = GatewayInvoice(
        account_id="acc_foreign",
        invoice_id="inv_foreign",
        number="X-1",
        due_on=date(2026, 6, 4),
        total=Decimal("1.00"),
        vat=Decimal("0.00"),
        lines=(
            GatewayLine(
                number=1,
                description="x",
                net=Decimal("1.00"),
                vat=Decimal("0.00"),
                vat_rate_percent=Decimal(0),
            ),
        ),
    )
    remote = gateway.create_invoice(customer, foreign, key="b")
    gateway.add_lines(remote, foreign.lines, key="c")
    gateway.finalise(remote, key="d")
    stripe.pay(remote, 100)

    assert _listen(database, gateway, stripe.webhooks())["payments"] == 0
    with database.snapshot() as session:
        assert not session.scalars(select(PaymentRow)).all()


def test_webhooks_arrive_over_http_signed_or_not_at_all(
    database: Database, stripe: FakeStripe, gateway: StripeGateway, tmp_path: Path
) -> None:
    _issue(database)
    _push(database, gateway)
    app = web.make_app(
        database,
        tmp_path,
        web.Clock(NOW),
        PAYGO_STRIPE_SECRET_KEY=SECRET_KEY,
        PAYGO_STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        PAYGO_STRIPE_API_BASE=stripe.base,
    )
    content, signature = stripe.webhooks()[0]
    client = app.test_client()

    def send(body: bytes, header: str | None) -> tuple[int, dict[str, object]]:
        headers = {} if header is None else {"Stripe-Signature": header}
        answer = client.post(
            "/webhooks/stripe", data=body, headers=headers, content_type="application/json"
        )
        return answer.status_code, answer.get_json()

    assert send(content, signature) == (200, {"new": True})
    assert send(content, signature) == (200, {"new": False})
    stale = sign(stripe.events[1], age=600)
    forged = sign(stripe.events[1], secret="whsec_other")
    changed = (content.replace(b"invoice.created", b"invoice.deleted"), signature)
    for body, header in (stale, forged, changed, (content, None), (b"", signature), (b"{}", "t=1")):
        status, problem = send(body, header)
        assert (status, problem["type"]) == (400, "/problems/webhook-not-signed")
    with database.snapshot() as session:
        assert len(session.scalars(select(WebhookEventRow)).all()) == 1


def test_without_keys_there_is_no_webhook_and_jobs_have_nothing_to_do(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYGO_STRIPE_SECRET_KEY", raising=False)
    _issue(database)
    client = web.make_app(database, tmp_path, web.Clock(NOW)).test_client()

    answer = client.post("/webhooks/stripe", data=b"{}")

    assert (answer.status_code, answer.get_json()["type"]) == (
        404,
        "/problems/stripe-not-configured",
    )
    work = {job.name: job.work for job in jobs.JOBS}
    assert dict(work["push-to-stripe"](database, now=NOW)) == {}
    assert dict(work["check-books"](database, now=NOW)) == {"differences": 0}
    with pytest.raises(WebhookNotSigned):
        StripeGateway(SECRET_KEY).read_event(b"{}", "")


def test_a_wrong_key_gives_no_invoice_up(database: Database, stripe: FakeStripe) -> None:
    wrong = StripeGateway("sk_test_wrong", api_base=stripe.base, retries=0)
    _issue(database)

    assert _push(database, wrong) == {"unavailable": 1}


def test_invoices_without_vat_carry_no_tax(
    database: Database, stripe: FakeStripe, gateway: StripeGateway
) -> None:
    with database.transaction() as session:
        makers.issue(session, makers.account(session), "10.00", vat=Treatment.OUTSIDE_SCOPE)

    _push(database, gateway)

    assert stripe.only_invoice()["total"] == 1000
    assert stripe.only_invoice()["lines"][0]["tax"] == 0


def test_the_fake_refuses_what_stripe_refuses() -> None:
    good = nested([("customer", "cus_1"), ("metadata[a]", "b"), ("due_date", "17")])
    check(good, "InvoiceCreateParams")
    for wrong in (
        {"customer": "cus_1", "colour": "red"},
        {"customer": "cus_1", "due_date": "tomorrow"},
        {"customer": "cus_1", "collection_method": "by_pigeon"},
        {"customer": "cus_1", "payment_settings": {"payment_method_types": ["cheque"]}},
        {"customer": "cus_1", "payment_settings": {"methods": ["card"]}},
        {"customer": "cus_1", "auto_advance": "False"},
    ):
        with pytest.raises(Refused):
            check(json.loads(json.dumps(wrong)), "InvoiceCreateParams")
    with pytest.raises(Refused, match="Missing required"):
        check({"lines": [{"tax_amounts": [{"amount": "1"}]}]}, "InvoiceAddLinesParams")


def test_a_key_used_with_other_particulars_is_not_lost(
    stripe: FakeStripe, gateway: StripeGateway
) -> None:
    customer = GatewayCustomer(
        account_id="a", name="a", email="a@b.uk", address=("1 Road", "Leeds"), postcode="LS1"
    )
    first = gateway.create_customer(customer, key="k")

    assert gateway.create_customer(customer, key="k") == first
    with pytest.raises(GatewayUnavailable, match="same parameters"):
        gateway.create_customer(replace(customer, name="b"), key="k")
    with pytest.raises(GatewayRefused):
        gateway.invoice("in_unknown")


_NETS = st.lists(
    st.tuples(st.integers(-50_000, 100_000), st.sampled_from([0, 5, 20])), min_size=1, max_size=40
)


@given(nets=_NETS)
def test_vat_by_line_sums_to_what_is_printed_and_strays_by_a_penny_at_most(
    nets: list[tuple[int, int]],
) -> None:
    lines = [
        (number, Decimal(pence) / 100, Decimal(rate))
        for number, (pence, rate) in enumerate(nets, start=1)
    ]

    shares = vat_by_line(lines)

    for rate in {Decimal(0), Decimal(5), Decimal(20)}:
        of_rate = [(number, net) for number, net, one in lines if one == rate]
        total = vat_on(sum_pounds([net for _, net in of_rate]), rate_percent=rate)
        assert sum_pounds([shares[number] for number, _ in of_rate]) == total
        for number, net in of_rate:
            assert abs(shares[number] - vat_on(net, rate_percent=rate)) <= Decimal("0.01")


def test_two_applications_of_one_payment_record_it_once(session: Session) -> None:
    account = makers.account(session)
    makers.stripe_payment(session, account, "1.00")
    row = session.scalars(select(PaymentRow)).one()

    with pytest.raises(IntegrityError), session.begin_nested():
        operations.record_payment(
            session,
            account_id=account.id,
            source="stripe",
            source_ref=row.source_ref,
            received_on=row.received_on,
            amount=row.amount,
            reference="",
            **BY,
        )
