from datetime import date, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from billing.accounts import successions
from billing.notifications import dispatch, endpoints, operations, queries
from billing.notifications.endpoints import EndpointEnded
from billing.notifications.model import Owner, Result, WebhookUrlInvalid
from billing.notifications.operations import AlreadySubscribed, NotReplayable
from billing.notifications.queries import DeliveryUnknown, EndpointUnknown, SubscriptionUnknown
from billing.notifications.tables import AnnouncementRow, DeliveryRow
from metering.kit.tables import AuditEntryRow
from tests import make
from tests.billing.notifications import makers
from tests.billing.notifications.makers import EDITOR, NOW, VAULT

LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def account_id(session: Session) -> str:
    return make.account(session).id


def addressed(session: Session, announcement_id: str) -> list[DeliveryRow]:
    dispatch.address(session, announcement_id=announcement_id, now=LATER)
    return list(
        session.scalars(
            select(DeliveryRow)
            .where(DeliveryRow.announcement_id == announcement_id)
            .order_by(DeliveryRow.channel, DeliveryRow.receiver)
        )
    )


def subscribe(
    session: Session, account_id: str, *, address: str, kinds: tuple[str, ...] = ("invoice.paid",)
) -> str:
    return operations.subscribe(
        session,
        owner=Owner(account_id=account_id),
        address=address,
        kinds=kinds,
        principal=EDITOR,
        now=NOW,
    ).id


def test_the_same_thing_is_announced_once(session: Session, account_id: str) -> None:
    first = makers.issued(session, account_id=account_id)
    assert makers.issued(session, account_id=account_id, now=LATER) == first
    makers.paid(session, account_id=account_id)
    assert session.scalar(select(func.count()).select_from(AnnouncementRow)) == 2


def test_an_invoice_belongs_to_an_account(session: Session) -> None:
    with pytest.raises(ValueError, match="one account or"):
        operations.announce(session, kind="invoice.paid", subject_id="x", facts={}, now=NOW)


def test_an_issued_invoice_goes_to_the_account_and_to_whoever_asked(
    session: Session, account_id: str
) -> None:
    subscribe(session, account_id, address="boss@rrk.example", kinds=("invoice.issued",))
    subscribe(session, account_id, address="other@rrk.example", kinds=("invoice.paid",))
    subscribe(session, account_id, address="Finance@RRK.example", kinds=("invoice.issued",))
    made = makers.endpoint(session, account_id=account_id)
    rows = addressed(session, makers.issued(session, account_id=account_id))
    assert [(row.channel, row.receiver) for row in rows] == [
        ("email", "boss@rrk.example"),
        ("email", "finance@rrk.example"),
        ("webhook", made.row.id),
    ]


def test_only_who_had_asked_by_then_is_told(session: Session, account_id: str) -> None:
    announced = makers.paid(session, account_id=account_id)
    makers.endpoint(session, account_id=account_id, now=LATER)
    ended = makers.endpoint(session, account_id=account_id).row.id
    endpoints.end_endpoint(
        session,
        owner=Owner(account_id=account_id),
        endpoint_id=ended,
        principal=EDITOR,
        now=LATER,
    )
    assert addressed(session, announced) == []


def test_news_of_one_account_never_reaches_another(session: Session, account_id: str) -> None:
    stranger = make.account(session, code="RX1").id
    subscribe(session, stranger, address="stranger@rx1.example")
    makers.endpoint(session, account_id=stranger)
    assert addressed(session, makers.paid(session, account_id=account_id)) == []


def test_an_announcement_is_addressed_once(session: Session, account_id: str) -> None:
    subscribe(session, account_id, address="boss@rrk.example")
    announced = makers.paid(session, account_id=account_id)
    assert dispatch.address(session, announcement_id=announced, now=LATER) == 1
    assert dispatch.address(session, announcement_id=announced, now=LATER) is None
    assert queries.unaddressed(session, limit=10) == []


def test_after_a_merger_the_successor_is_told(session: Session, account_id: str) -> None:
    successor = make.account(session, code="RX1").id
    successions.merge_accounts(
        session,
        predecessor_id=account_id,
        successor_id=successor,
        effective_on=date(2026, 5, 1),
        principal=EDITOR,
        now=NOW,
    )
    made = makers.endpoint(session, account_id=successor)
    rows = addressed(session, makers.issued(session, account_id=account_id))
    assert [row.receiver for row in rows] == ["finance@rx1.example", made.row.id]


def test_a_source_is_told_of_its_rejected_usage(session: Session) -> None:
    make.source(session)
    operations.subscribe(
        session,
        owner=Owner(source_id=1),
        address="ops@archive.example",
        kinds=["usage.rejected"],
        principal=EDITOR,
        now=NOW,
    )
    announced = operations.announce(
        session,
        kind="usage.rejected",
        source_id=1,
        subject_id="batch_1",
        facts={
            "source": "imaging-archive",
            "rejected": 2,
            "reasons": {"subject-unknown": 2},
            "received_from": NOW - timedelta(hours=1),
            "received_to": NOW,
        },
        now=NOW,
    )
    assert [row.receiver for row in addressed(session, announced)] == ["ops@archive.example"]


def test_an_address_is_subscribed_once_however_it_is_written(
    session: Session, account_id: str
) -> None:
    one = subscribe(session, account_id, address="boss@rrk.example")
    with pytest.raises(AlreadySubscribed):
        subscribe(session, account_id, address="Boss@RRK.example")
    owner = Owner(account_id=account_id)
    operations.change_subscription(
        session,
        owner=owner,
        subscription_id=one,
        kinds=["budget.breached"],
        principal=EDITOR,
        now=NOW,
    )
    (listed,) = queries.subscriptions(session, owner=owner)
    assert (listed.address, listed.kinds) == ("boss@rrk.example", ("budget.breached",))


def test_ending_a_subscription_cancels_what_waits(session: Session, account_id: str) -> None:
    one = subscribe(session, account_id, address="boss@rrk.example")
    (row,) = addressed(session, makers.paid(session, account_id=account_id))
    owner = Owner(account_id=account_id)
    operations.end_subscription(
        session, owner=owner, subscription_id=one, principal=EDITOR, now=LATER
    )
    session.refresh(row)
    assert row.status == "cancelled"
    with pytest.raises(NotReplayable):
        operations.replay(session, delivery_id=row.id, principal=EDITOR, now=LATER)
    subscribe(session, account_id, address="boss@rrk.example")
    with pytest.raises(SubscriptionUnknown):
        operations.end_subscription(
            session, owner=owner, subscription_id=one, principal=EDITOR, now=LATER
        )


def test_a_secret_is_shown_once_and_never_kept_readable(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    assert made.secret.startswith("whsec_")
    assert made.secret not in made.row.secret
    shown = repr(queries.endpoint(session, endpoint_id=made.row.id))
    noted = [str(facts) for facts in session.scalars(select(AuditEntryRow.facts))]
    assert made.secret not in shown + "".join(noted)
    assert made.row.secret not in shown + "".join(noted)


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(
    session: Session, account_id: str
) -> None:
    made = makers.endpoint(session, account_id=account_id)
    owner = Owner(account_id=account_id)
    newer = endpoints.rotate_secret(
        session, owner=owner, endpoint_id=made.row.id, vault=VAULT, principal=EDITOR, now=LATER
    )
    announced = makers.paid(session, account_id=account_id, now=LATER)
    addressed(session, announced)
    assert opened(session, now=LATER) == [newer.secret, made.secret]
    session.execute(update(DeliveryRow).values(due_at=NOW))
    tomorrow = LATER + timedelta(hours=24)
    assert opened(session, now=tomorrow) == [newer.secret]
    dispatch.forget_rotated_secrets(session, now=tomorrow)
    session.refresh(made.row)
    assert made.row.previous_secret is None


def opened(session: Session, *, now: object) -> list[str]:
    parcels = dispatch.claim(
        session,
        now=now,  # type: ignore[arg-type] # a datetime
        channels={"webhook"},
        limit=8,
        find_document=makers.find_pdf,
    )
    assert parcels is not None
    (parcel,) = parcels
    return [VAULT.open(sealed) for sealed in parcel.secrets]


def test_a_secret_that_others_know_stops_signing_at_once(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    newer = endpoints.rotate_secret(
        session,
        owner=Owner(account_id=account_id),
        endpoint_id=made.row.id,
        vault=VAULT,
        principal=EDITOR,
        now=NOW,
        overlap=timedelta(0),
    )
    addressed(session, makers.paid(session, account_id=account_id))
    assert opened(session, now=LATER) == [newer.secret]


def test_another_trusts_endpoint_is_not_found(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    stranger = Owner(account_id=make.account(session, code="RX1").id)
    with pytest.raises(EndpointUnknown):
        endpoints.end_endpoint(
            session, owner=stranger, endpoint_id=made.row.id, principal=EDITOR, now=NOW
        )
    with pytest.raises(EndpointUnknown):
        queries.endpoint(session, endpoint_id=made.row.id, owner=stranger)
    assert queries.endpoints(session, owner=stranger) == ()
    (row,) = addressed(session, makers.paid(session, account_id=account_id))
    assert queries.deliveries(session, owner=stranger).total == 0
    with pytest.raises(DeliveryUnknown):
        queries.delivery(session, delivery_id=row.id, owner=stranger)
    with pytest.raises(DeliveryUnknown):
        operations.replay(session, delivery_id=row.id, owner=stranger, principal=EDITOR, now=NOW)


def test_an_endpoint_that_ended_is_ended_for_good(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    (row,) = addressed(session, makers.paid(session, account_id=account_id))
    owner = Owner(account_id=account_id)
    endpoints.end_endpoint(
        session, owner=owner, endpoint_id=made.row.id, principal=EDITOR, now=LATER
    )
    session.refresh(row)
    assert (row.status, made.row.secret) == ("cancelled", "")
    with pytest.raises(EndpointEnded):
        endpoints.resume_endpoint(
            session, owner=owner, endpoint_id=made.row.id, principal=EDITOR, now=LATER
        )
    assert queries.endpoints(session, owner=owner) == ()
    assert queries.endpoint(session, endpoint_id=made.row.id).status == "ended"


def test_an_endpoint_can_move_but_not_inside(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    owner = Owner(account_id=account_id)
    facts = {"owner": owner, "endpoint_id": made.row.id, "principal": EDITOR, "now": NOW}
    with pytest.raises(WebhookUrlInvalid):
        endpoints.change_endpoint(
            session,
            url="http://hooks.example/",
            kinds=["invoice.paid"],
            allow_private=False,
            **facts,  # type: ignore[arg-type] # named right above
        )
    endpoints.change_endpoint(
        session,
        url="https://hooks.example/",
        kinds=["invoice.paid"],
        allow_private=False,
        **facts,  # type: ignore[arg-type] # named right above
    )
    shown = queries.endpoint(session, endpoint_id=made.row.id)
    assert (shown.url, shown.kinds) == ("https://hooks.example/", ("invoice.paid",))


def test_deliveries_are_listed_by_page_and_filter(session: Session, account_id: str) -> None:
    makers.endpoint(session, account_id=account_id)
    for number in range(5):
        addressed(session, makers.paid(session, account_id=account_id, invoice_id=f"inv_{number}"))
    addressed(session, makers.issued(session, account_id=account_id, invoice_id="inv_9"))
    owner = Owner(account_id=account_id)
    second = queries.deliveries(session, owner=owner, kind="invoice.paid", page=2, page_size=2)
    assert (len(second.items), second.total) == (2, 5)
    assert second.items[0].kind_title == "An invoice is paid"
    assert second.items[0].receiver == "127.0.0.1"
    assert second.items[0].owner == "Trust RRK"
    assert queries.deliveries(session, channel="email").total == 1
    assert queries.deliveries(session, status="dead").total == 0
    assert queries.deliveries(session, subject_id="inv_9").total == 2
    assert queries.counts_by_status(session) == {("email", "waiting"): 1, ("webhook", "waiting"): 6}
    (endpoint,) = queries.endpoints(session)
    assert (endpoint.waiting, endpoint.dead) == (6, 0)


def test_what_died_is_sent_again_under_its_old_id(session: Session, account_id: str) -> None:
    made = makers.endpoint(session, account_id=account_id)
    (row,) = addressed(session, makers.paid(session, account_id=account_id))
    parcels = dispatch.claim(
        session, now=LATER, channels={"webhook"}, limit=8, find_document=makers.find_pdf
    )
    assert parcels is not None
    status = dispatch.record(
        session, parcel=parcels[0], result=Result("permanent", 5), jitter=0, now=LATER
    )
    assert status == "dead"
    owner = Owner(account_id=account_id)
    count = endpoints.replay_dead(
        session, owner=owner, endpoint_id=made.row.id, principal=EDITOR, now=LATER
    )
    assert count == 1
    again = dispatch.claim(
        session, now=LATER, channels={"webhook"}, limit=8, find_document=makers.find_pdf
    )
    assert again is not None
    assert (again[0].delivery_id, again[0].number) == (row.id, 2)
    dispatch.record(
        session, parcel=again[0], result=Result("delivered", 5, status=204), jitter=0, now=LATER
    )
    operations.replay(session, delivery_id=row.id, owner=owner, principal=EDITOR, now=LATER)
    with pytest.raises(NotReplayable):
        operations.replay(session, delivery_id=row.id, principal=EDITOR, now=LATER)
    detail = queries.delivery(session, delivery_id=row.id, owner=owner)
    assert (detail.delivery.status, detail.delivery.attempts) == ("waiting", 2)
    assert [(one.number, one.outcome) for one in detail.attempts] == [
        (2, "delivered"),
        (1, "permanent"),
    ]
    assert detail.facts["total"] == "120.00"
