"""Ingest: every event has one fate, is counted once, and costs no other event anything."""

import json
import threading
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from metering.events import store
from metering.events.decoding import BATCH_TYPE, BodyUnreadable, decode
from metering.events.model import CONFLICT, DUPLICATE, REJECTED
from metering.events.tables import (
    IngestBatchRow,
    QuarantinedEventRow,
    event_keys,
    usage_events,
)
from metering.kit.db import Database
from metering.organisations import operations as organisations
from metering.sources import operations as sources
from metering.sources.operations import KeyRefused
from metering.sources.queries import keys_of
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal


@pytest.fixture
def service(database: Database) -> make.Service:
    make.catalogue(database)
    return make.service(database)


def stored(database: Database) -> list[Any]:
    with database.snapshot() as session:
        return list(session.execute(select(usage_events).order_by(usage_events.c.meter_id)))


def fates(receipt: Any) -> list[tuple[int, str, str]]:
    return [(fate.index, fate.fate, fate.code) for fate in receipt.fates]


def test_an_event_feeds_every_meter_of_its_type(service: make.Service, database: Database) -> None:
    receipt = service.post(event(1, data={"studies": "2.5"}))
    assert (receipt.received, receipt.accepted, receipt.fates) == (1, 1, [])
    studies, requests = stored(database)
    assert (studies.quantity, requests.quantity) == (Decimal("2.5"), Decimal(1))
    assert studies.period_month == date(2026, 7, 1)
    assert str(studies.event_key) == event(1)["id"]
    assert studies.batch_id == requests.batch_id
    assert studies.event_id is None, "a UUID is its own key"


def test_a_repeat_is_a_duplicate_and_other_content_a_conflict(
    service: make.Service, database: Database
) -> None:
    service.post(event(1), event(2))
    again = service.post(event(1), event(2, data={"studies": "3"}), event(3))
    assert fates(again) == [(0, DUPLICATE, "duplicate"), (1, CONFLICT, "id-reused")]
    assert again.accepted == 1
    assert len(stored(database)) == 6
    with database.snapshot() as session:
        kept = session.scalars(select(QuarantinedEventRow)).one()
    assert (kept.fate, kept.body["data"]["studies"]) == (CONFLICT, "3")


def test_a_repeat_spelt_otherwise_is_still_a_duplicate(service: make.Service) -> None:
    service.post(event(1, data={"studies": "2"}))
    for spelling in ("2.0", 2, 2.0):
        repeated = event(1, time="2026-07-03T09:00:00.000Z", data={"studies": spelling})
        assert fates(service.post(repeated)) == [(0, DUPLICATE, "duplicate")]


def test_an_id_twice_in_one_batch_counts_once(service: make.Service, database: Database) -> None:
    receipt = service.post(event(1), event(1), event(1, subject="RA7"))
    assert fates(receipt) == [(1, DUPLICATE, "duplicate"), (2, CONFLICT, "id-reused")]
    assert len(stored(database)) == 2


def test_an_id_on_both_sides_of_a_month_end_counts_once(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, time="2026-06-30T22:59:59Z"))
    receipt = service.post(event(1, time="2026-06-30T23:00:00Z"))
    assert fates(receipt) == [(0, CONFLICT, "id-reused")]
    assert {row.period_month for row in stored(database)} == {date(2026, 6, 1)}


def test_the_same_id_of_two_sources_is_two_events(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    other = make.service(database, source="image-exchange")
    receipt = other.post(event(1, source="image-exchange"))
    assert fates(receipt) == [(0, REJECTED, "type-unknown")], "it was no duplicate"


def test_any_text_may_be_an_id(service: make.Service, database: Database) -> None:
    ids = ["order 66", "ORDER 66", "018F5A2E-6B7C-7DEF-8123-456789ABCDEF"]
    assert service.post(*(event(0, id=name) for name in ids)).accepted == 3
    assert service.post(*(event(0, id=name) for name in ids)).count("duplicate") == 3
    assert {row.event_id for row in stored(database)} == set(ids)


@pytest.mark.parametrize(
    ("changed", "code", "pointer"),
    [
        ({"specversion": "0.3"}, "specversion-unsupported", "/specversion"),
        ({"id": ""}, "id-invalid", "/id"),
        ({"id": "x" * 257}, "id-invalid", "/id"),
        ({"id": "a\x00b"}, "id-invalid", "/id"),
        ({"id": "patient 943 476 5919"}, "nhs-number", "/id"),
        ({"id": 7}, "attribute-invalid", "/id"),
        ({"source": "image-exchange"}, "source-not-yours", "/source"),
        ({"source": "nobody"}, "source-unknown", "/source"),
        ({"type": "study.read"}, "type-unknown", "/type"),
        ({"subject": "ZZZ"}, "subject-unknown", "/subject"),
        ({"subject": "9434765919"}, "nhs-number", "/subject"),
        ({"subject": "RVJ"}, "subject-closed", "/subject"),
        ({"time": "2026-07-15T09:05:01Z"}, "time-in-future", "/time"),
        ({"time": "2025-05-31T22:59:59Z"}, "time-too-old", "/time"),
        ({"time": "2026-07-03T10:00:00"}, "time-without-offset", "/time"),
        ({"time": "0001-01-01T00:00:00+10:00"}, "time-too-old", "/time"),
        ({"time": "yesterday"}, "time-unreadable", "/time"),
        ({"colour": "red"}, "attribute-unknown", "/colour"),
        ({"data": {"studies": None}}, "quantity-missing", "/data/studies"),
        ({"data": {"studies": "-1"}}, "quantity-negative", "/data/studies"),
        ({"data": {"studies": "NaN"}}, "quantity-not-finite", "/data/studies"),
        ({"data": {"studies": "many"}}, "quantity-not-a-number", "/data/studies"),
        ({"data": {"studies": True}}, "quantity-not-a-number", "/data/studies"),
        ({"data": {"studies": "0.1234567891"}}, "quantity-too-precise", "/data/studies"),
        ({"data": {"studies": 10**18}}, "quantity-too-large", "/data/studies"),
        ({"data": {"colour": "red"}}, "dimension-unknown", "/data/colour"),
        ({"data": {"modality": "XX"}}, "dimension-value-unknown", "/data/modality"),
        ({"data": {"modality": 7}}, "dimension-not-text", "/data/modality"),
        ({"data": {"modality": ["CT"]}}, "dimension-not-text", "/data/modality"),
        ({"data": {"modality": "9434765919"}}, "nhs-number", "/data/modality"),
        ({"data": {"9434765919": "x"}}, "nhs-number", "/data/**********"),
    ],
)
def test_a_refused_event_is_explained_and_kept_and_costs_no_other(
    service: make.Service, database: Database, changed: dict[str, Any], code: str, pointer: str
) -> None:
    receipt = service.post(event(1), event(2, **changed), event(3))
    assert fates(receipt) == [(1, REJECTED, code)]
    assert receipt.fates[0].pointer == f"/1{pointer}"
    with database.snapshot() as session:
        kept = session.scalars(select(QuarantinedEventRow)).one()
        batch = session.scalars(select(IngestBatchRow)).one()
    assert (kept.code, kept.status, kept.batch_id) == (code, "open", batch.id)
    assert "9434765919" not in str(vars(kept)).replace(" ", "")
    assert (batch.received, batch.accepted, batch.rejected) == (3, 2, 1)
    assert len(stored(database)) == 4


def test_a_closed_subject_names_its_successor_and_its_earlier_usage_is_taken(
    service: make.Service,
) -> None:
    receipt = service.post(event(1, subject="RVJ", time="2026-07-01T00:00:00+01:00"))
    assert "RA7" in receipt.fates[0].detail
    assert service.post(event(1, subject="RVJ", time="2026-06-30T23:59:59+01:00")).accepted == 1


def test_a_refused_event_may_be_sent_again_with_the_same_id_once_mended(
    service: make.Service,
) -> None:
    assert service.post(event(1, data={"modality": "XX"})).accepted == 0
    assert service.post(event(1)).accepted == 1


def test_a_refused_event_sent_again_and_again_is_kept_once(
    service: make.Service, database: Database
) -> None:
    for _ in range(3):
        service.post(event(1, subject="ZZZ"))
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(QuarantinedEventRow)) == 1


def test_an_older_allowed_month_gets_its_partition_on_demand(
    service: make.Service, database: Database
) -> None:
    later = NOW.replace(year=2028)
    made = make.Service(
        database,
        make.Ingest(database, clock=lambda: later, correction_months=13),
        service.key,
        later,
    )
    assert made.post(event(1, time="2027-06-01T00:00:00+01:00")).accepted == 1
    assert {row.period_month for row in stored(database)} == {date(2027, 6, 1)}


def test_an_event_that_no_meter_counts_is_kept_whole(
    service: make.Service, database: Database
) -> None:
    with database.transaction() as session:
        make.meters.register(
            session,
            source_code=make.ARCHIVE,
            code="urgent-reads",
            name="Urgent reads",
            event_type="study.read",
            aggregation="count",
            unit="read",
            dimensions={"urgency": {"label": "Urgency", "values": None}},
            filter={"urgency": ["urgent"]},
            now=NOW,
        )
    read = event(1, type="study.read") | {"data": {"urgency": "routine"}}
    assert service.post(read).accepted == 1
    (row,) = stored(database)
    assert (row.meter_id, row.detail["data"]) == (0, {"urgency": "routine"})
    assert service.post(read).count("duplicate") == 1


def test_a_change_of_the_catalogue_is_seen_by_the_next_event(
    service: make.Service, database: Database
) -> None:
    assert service.post(event(1, subject="RYR")).count("rejected") == 1
    with database.transaction() as session:
        organisations.register(session, ods_code="RYR", name="Sussex", kind="acute", now=NOW)
    assert service.post(event(1, subject="RYR")).accepted == 1
    with database.transaction() as session:
        organisations.close(session, ods_code="RYR", closed_from=date(2026, 7, 2))
    assert service.post(event(2, subject="RYR")).count("rejected") == 1


def test_a_revoked_key_stops_at_once(service: make.Service, database: Database) -> None:
    service.post(event(1))
    with database.transaction() as session:
        key = keys_of(session, source_id=1)[0]
        sources.revoke_key(session, key_id=key.id, principal="test", now=NOW)
    with pytest.raises(KeyRefused):
        service.post(event(2))


def test_two_posters_of_the_same_batch_in_opposite_order_count_it_once(
    service: make.Service, database: Database
) -> None:
    batch = [event(number) for number in range(1, 401)]
    other = make.Service(
        database, make.Ingest(database, clock=lambda: NOW, correction_months=13), service.key
    )
    accepted: list[int] = []

    def post(poster: make.Service, events: list[dict[str, Any]]) -> None:
        for start in range(0, 400, 50):
            accepted.append(poster.post(*events[start : start + 50]).accepted)

    threads = [
        threading.Thread(target=post, args=(service, batch)),
        threading.Thread(target=post, args=(other, batch[::-1])),
        threading.Thread(target=post, args=(service, batch)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(accepted) == 400
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(event_keys)) == 400
        assert session.scalar(select(func.sum(usage_events.c.quantity))) == 400 * 3


def test_a_withdrawal_is_a_signed_record_on_the_originals_day(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, data={"studies": "5"}))
    assert service.post(withdrawal(2, event(1), time="2026-07-14T12:00:00Z")).accepted == 1
    rows = [row for row in stored(database) if row.meter_id == 1]
    assert sorted(row.quantity for row in rows) == [Decimal(-5), Decimal(5)]
    assert rows[0].occurred_at == rows[1].occurred_at
    assert {row.kind for row in rows} == {0, 1}
    assert fates(service.post(withdrawal(2, event(1)))) == [(0, DUPLICATE, "duplicate")]


@pytest.mark.parametrize(
    ("target", "changed", "code"),
    [
        (event(9), {}, "withdrawal-unknown"),
        (event(1), {"subject": "RA7"}, "withdrawal-mismatch"),
        (event(2), {}, "withdrawn-already"),
        (event(3), {}, "withdrawal-mismatch"),
    ],
)
def test_a_withdrawal_that_cannot_be_is_refused_with_its_reason(
    service: make.Service, target: dict[str, Any], changed: dict[str, Any], code: str
) -> None:
    service.post(event(1), event(2), withdrawal(3, event(2)))
    assert fates(service.post(withdrawal(4, target, **changed))) == [(0, REJECTED, code)]
    assert fates(service.post(event(4, data={"studies": "8"}))) == [], "its id is free"


def test_another_sources_event_cannot_be_withdrawn(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    other = make.service(database, source="image-exchange")
    receipt = other.post(withdrawal(2, event(1), source="image-exchange"))
    assert fates(receipt) == [(0, REJECTED, "withdrawal-unknown")]


def test_an_event_and_its_withdrawal_may_come_in_one_batch(
    service: make.Service, database: Database
) -> None:
    assert service.post(withdrawal(2, event(1)), event(1)).accepted == 2
    assert sum(row.quantity for row in stored(database)) == 0


def test_a_replacement_withdraws_the_old_and_counts_the_new(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, data={"studies": "5"}))
    new = event(2, replaces=event(1)["id"], data={"studies": "3"}, time="2026-07-04T10:00:00Z")
    assert service.post(new).accepted == 1
    assert fates(service.post(new)) == [(0, DUPLICATE, "duplicate")]
    studies = [row.quantity for row in stored(database) if row.meter_id == 1]
    assert sorted(studies) == [Decimal(-5), Decimal(3), Decimal(5)]
    twice = event(3, replaces=event(1)["id"])
    assert fates(service.post(twice)) == [(0, REJECTED, "withdrawn-already")]
    assert sum(row.quantity for row in stored(database) if row.meter_id == 1) == 3
    assert service.post(event(4, replaces=event(2)["id"], data={"studies": "1"})).accepted == 1


def test_two_that_withdraw_the_same_event_at_once_withdraw_it_once(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    answers: list[int] = []
    other = make.Service(
        database, make.Ingest(database, clock=lambda: NOW, correction_months=13), service.key
    )

    def withdraw(poster: make.Service, number: int) -> None:
        answers.append(poster.post(withdrawal(number, event(1))).accepted)

    threads = [
        threading.Thread(target=withdraw, args=(poster, number))
        for number, poster in enumerate([service, other] * 3, start=10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answers) == 1
    assert sum(row.quantity for row in stored(database)) == 0


def test_an_old_event_can_no_longer_be_withdrawn(service: make.Service, database: Database) -> None:
    service.post(event(1))
    later = NOW + timedelta(days=430)
    much_later = make.Service(
        database, make.Ingest(database, clock=lambda: later, correction_months=13), service.key
    )
    receipt = much_later.post(withdrawal(2, event(1)), now=later)
    assert fates(receipt) == [(0, REJECTED, "time-too-old")]


def test_a_connection_that_is_lost_on_the_way_is_tried_again(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.post(event(1))
    write, cut = store._store_batches, []

    def cut_first(cursor: Any, *arguments: Any, **named: Any) -> None:
        if not cut:
            cut.append(cursor.connection.info.backend_pid)
            with database.transaction() as other:
                other.execute(select(func.pg_terminate_backend(cut[0])))
        write(cursor, *arguments, **named)

    monkeypatch.setattr(store, "_store_batches", cut_first)
    assert service.post(event(2), event(1)).accepted == 1
    assert len(cut) == 1
    assert len(stored(database)) == 4


def test_one_request_that_the_database_refuses_costs_no_other(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.post(event(1))
    insert, entered = store.insert_events, threading.Barrier(2, timeout=30)

    def refuse_five(cursor: Any, chosen: Any, *arguments: Any, **named: Any) -> None:
        if any("5" in lot.envelopes[-1].id[-1] for lot, _ in chosen):
            cursor.execute("SELECT 1 / 0")
        insert(cursor, chosen, *arguments, **named)

    monkeypatch.setattr(store, "insert_events", refuse_five)
    answers: dict[int, Any] = {}

    def post(number: int) -> None:
        entered.wait()
        try:
            answers[number] = service.post(event(number)).accepted
        except DBAPIError as error:
            answers[number] = type(error.orig).__name__

    threads = [threading.Thread(target=post, args=(number,)) for number in (5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {5: "DivisionByZero", 6: 1}


def test_half_a_surrogate_pair_is_refused_or_unreadable_and_never_our_fault(
    service: make.Service,
) -> None:
    body = json.dumps([event(1, data={"modality": "\ud800"}), event(2, id="\udfff")]).encode()
    with pytest.raises(BodyUnreadable):
        decode(body, media_type=BATCH_TYPE, headers={})
