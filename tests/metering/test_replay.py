"""Refused events: replayed once the cause is mended, or dismissed."""

from datetime import date
from typing import Any

import pytest

from metering.events import queries
from metering.events.operations import dismiss
from metering.events.replay import ReplayImpossible, replay
from metering.kit.db import Database
from metering.organisations import operations as organisations
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal


@pytest.fixture
def service(database: Database) -> make.Service:
    make.catalogue(database)
    return make.service(database)


def statuses(database: Database) -> dict[str, str]:
    with database.snapshot() as session:
        rows = queries.quarantine(session, status=None)
        return {str(row.event_id): row.status for row in rows}


def test_events_refused_for_a_reason_are_replayed_once_it_is_mended(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, subject="RYR"), event(2, subject="RYR"), event(3, data={"studies": "-1"}))
    before = replay(database, service.ingest, code="subject-unknown", principal="test", now=NOW)
    assert (before.accepted, before.refused) == (0, 2)
    with database.transaction() as session:
        organisations.register(
            session,
            ods_code="RYR",
            name="Sussex",
            kind="acute",
            opened_on=date(2021, 4, 1),
            now=NOW,
        )
    after = replay(database, service.ingest, code="subject-unknown", principal="test", now=NOW)
    assert (after.accepted, after.refused, after.skipped) == (2, 0, 0)
    assert service.post(event(1, subject="RYR")).count("duplicate") == 1
    assert sorted(statuses(database).values()) == ["open", "replayed", "replayed"]
    assert (
        replay(database, service.ingest, code="subject-unknown", principal="test", now=NOW).accepted
        == 0
    )


def test_a_withdrawal_that_came_before_its_event_is_replayed_after_it(
    service: make.Service, database: Database
) -> None:
    assert service.post(withdrawal(2, event(1))).accepted == 0
    service.post(event(1))
    done = replay(database, service.ingest, code="withdrawal-unknown", principal="test", now=NOW)
    assert done.accepted == 1


def test_what_was_masked_or_conflicts_is_not_replayed(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    service.post(event(1, data={"studies": "9"}), event(2, data={"modality": "9434765919"}))
    for code in ("id-reused", "nhs-number"):
        with pytest.raises(ReplayImpossible):
            replay(database, service.ingest, code=code, principal="test", now=NOW)
    with pytest.raises(ReplayImpossible):
        replay(database, service.ingest, principal="test", now=NOW)


def test_an_event_refused_again_for_another_reason_is_open_once_under_that_reason(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, subject="RYR", data={"studies": "-1"}), event(2, subject="RYR"))
    with database.transaction() as session:
        organisations.register(session, ods_code="RYR", name="Sussex", kind="acute", now=NOW)
    done = replay(database, service.ingest, code="subject-unknown", principal="test", now=NOW)
    assert (done.accepted, done.refused) == (1, 1)
    with database.snapshot() as session:
        assert queries.quarantine_reasons(session) == {"quantity-negative": 1}
        rows = queries.quarantine(session, status=None)
    assert sorted((row.code, row.status) for row in rows) == [
        ("quantity-negative", "open"),
        ("subject-unknown", "replayed"),
        ("subject-unknown", "replayed"),
    ]
    again = replay(database, service.ingest, code="quantity-negative", principal="test", now=NOW)
    assert (again.accepted, again.refused) == (0, 1)
    with database.snapshot() as session:
        assert queries.quarantine_reasons(session) == {"quantity-negative": 1}


@pytest.mark.parametrize("quantity", ["9434765919", 9434765919])
def test_a_quantity_is_no_patients_number_and_is_replayed(
    service: make.Service, database: Database, quantity: str | int
) -> None:
    service.post(event(1, subject="RYR", data={"studies": quantity}))
    with database.transaction() as session:
        (row,) = queries.quarantine(session)
        assert row.body["data"]["studies"] == "9434765919"
        organisations.register(session, ods_code="RYR", name="Sussex", kind="acute", now=NOW)
    done = replay(database, service.ingest, code="subject-unknown", principal="test", now=NOW)
    assert (done.accepted, done.skipped) == (1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "study.unheard"},  # nobody says that this member is a number
        {"data": {"studies": "patient 9434765919"}},
        {"data": {"studies": "1", "note": "9434765919"}},
    ],
    ids=str,
)
def test_whatever_is_not_measured_as_a_number_is_masked(
    service: make.Service, database: Database, changed: dict[str, Any]
) -> None:
    service.post(event(1, **{"data": {"studies": "9434765919"}, **changed}))
    with database.snapshot() as session:
        (row,) = queries.quarantine(session)
    assert "9434765919" not in str(row.body)


def test_a_dismissed_event_stays_and_is_not_replayed(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, subject="ZZZ"))
    with database.transaction() as session:
        (row,) = queries.quarantine(session)
        count = dismiss(session, ids=[row.id], principal="test", reason="test data", now=NOW)
    assert count == 1
    assert list(statuses(database).values()) == ["dismissed"]
    with database.snapshot() as session:
        assert queries.quarantine(session) == []
        assert queries.quarantine_reasons(session) == {}
