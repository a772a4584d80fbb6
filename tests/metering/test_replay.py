"""Refused events: replayed once the cause is mended, or dismissed."""

from datetime import date

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
