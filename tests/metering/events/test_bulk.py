"""Large requests go other ways to the tables, and everything is as for small ones."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from metering.events import combining, ingest, store
from metering.events import rows as event_rows
from metering.events.tables import event_keys, usage_events
from metering.kit.db import Database
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal


@pytest.fixture(params=["inserted", "shared-once", "copied"])
def service(
    database: Database, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> make.Service:
    make.catalogue(database)
    monkeypatch.setattr(combining, "EVENTS_ALONE_MIN", 1)
    monkeypatch.setattr(store, "TOGETHER_MIN", 1)
    monkeypatch.setattr(ingest, "COPIED_MIN", 1 if request.param == "copied" else 10_000)
    monkeypatch.setattr(event_rows, "ALIKE_MIN", 1 if request.param == "shared-once" else 10_000)
    return make.service(database)


def rows(database: Database, **wanted: Any) -> list[Any]:
    query = select(usage_events).order_by(usage_events.c.event_key, usage_events.c.meter_id)
    for name, value in wanted.items():
        query = query.where(usage_events.c[name] == value)
    with database.snapshot() as session:
        return list(session.execute(query))


def test_copied_rows_are_those_that_would_be_inserted(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as session:
        meters.register(
            session,
            source_code=make.ARCHIVE,
            code="readers",
            name="Readers",
            event_type="study.read",
            aggregation="unique",
            quantity_field="reader",
            unit="reader",
            now=NOW,
        )

    def some(start: int) -> list[dict[str, Any]]:
        read = event(start + 3, type="study.read")
        read["data"] = {"reader": "ann"}
        return [
            event(start, data={"studies": "2.5"}),
            event(start + 1, id=f"order {start}", data={"studies": 3}),
            event(start + 2, time="2026-06-30T10:00:00Z", subject="RA7", data={"modality": "MR"}),
            read,
        ]

    assert service.post(*some(10)).accepted == 4
    monkeypatch.setattr(combining, "EVENTS_ALONE_MIN", 10_000)
    monkeypatch.setattr(store, "TOGETHER_MIN", 10_000)
    assert service.post(*some(20)).accepted == 4
    own = ("event_key", "event_id", "batch_id")
    kept = [{k: v for k, v in row._mapping.items() if k not in own} for row in rows(database)]
    kept.sort(key=str)
    assert len(kept) == 14
    assert kept[::2] == kept[1::2]
    assert {row.event_id for row in rows(database)} == {None, "order 10", "order 20"}


LATER, OTHER = {"time": "2026-06-30T10:00:00Z"}, {"subject": "RA7"}


@pytest.mark.parametrize(
    "changed",
    [{}, LATER, OTHER, {"data": {"modality": "MR"}}, {"type": "study.shared"}, LATER | OTHER],
    ids=["nothing", "month", "organisation", "dimensions", "meter", "month and organisation"],
)
def test_what_the_events_of_a_batch_share_is_stored_of_each(
    service: make.Service, database: Database, changed: dict[str, Any]
) -> None:
    with database.transaction() as session:
        meters.register(
            session,
            source_code=make.ARCHIVE,
            code="shared",
            name="Shared",
            event_type="study.shared",
            aggregation="sum",
            quantity_field="studies",
            unit="study",
            dimensions={"modality": {"label": "Modality"}},
            now=NOW,
        )
    some = [event(1), event(2), event(3, **changed), event(4, data={"studies": "7"})]
    for sent in some:
        service.post(sent | {"id": f"alone {sent['id']}"})
    assert service.post(*some).accepted == 4
    own = ("event_key", "event_id", "batch_id")
    kept = [{k: v for k, v in row._mapping.items() if k not in own} for row in rows(database)]
    kept.sort(key=str)
    assert len(kept) >= 8
    assert kept[::2] == kept[1::2]
    together = {row.batch_id for row in rows(database) if row.event_id is None}
    assert len(together) == 1


def test_repeats_conflicts_and_withdrawals_have_their_fates(
    service: make.Service, database: Database
) -> None:
    service.post(event(1), event(2), event(3))
    again = service.post(
        event(4),
        event(2, data={"studies": "9"}),
        event(1),
        withdrawal(5, event(3)),
        event(6, subject="ZZZ"),
    )
    assert [(fate.index, fate.code) for fate in again.fates] == [
        (1, "id-reused"),
        (2, "duplicate"),
        (4, "subject-unknown"),
    ]
    assert sum(row.quantity for row in rows(database, meter_id=1)) == Decimal(6)
    all_again = service.post(event(1), event(4))
    assert (all_again.accepted, all_again.count("duplicate")) == (0, 2)


def test_another_posters_same_key_that_comes_between_counts_once(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make.service(database)
    # A repeat makes the source's next ids be looked up first.
    service.post(event(9))
    service.post(event(9))
    look_up, between = store._look_up, list[int]()

    def looked_up(*arguments: Any) -> store.Chosen:
        found = look_up(*arguments)
        if not between:
            between.append(1)
            assert other.post(event(2)).accepted == 1
        return found

    monkeypatch.setattr(store, "_look_up", looked_up)
    receipt = service.post(event(1), event(2), event(3))
    assert [(fate.index, fate.code) for fate in receipt.fates] == [(1, "duplicate")]
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(event_keys)) == 4
    assert len(rows(database, meter_id=1)) == 4


def test_ids_are_looked_up_only_where_the_source_repeated_some(
    service: make.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "REPEATS_EXPECTED", 2)
    look_up, seen = store._look_up, list[int]()

    def looked_up(cursor: Any, lots: Any) -> store.Chosen:
        seen.append(1)
        return look_up(cursor, lots)

    monkeypatch.setattr(store, "_look_up", looked_up)

    def lookups(*events: dict[str, Any]) -> int:
        seen.clear()
        service.post(*events)
        return len(seen)

    assert lookups(event(1), event(2)) == 0
    assert lookups(event(2), event(3)) == 1
    assert [lookups(event(number)) for number in (4, 5, 6)] == [1, 1, 0]
    assert lookups(event(7, subject="ZZZ")) == 0


def test_a_catalogue_that_changes_meanwhile_is_seen_without_asking_first(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.post(event(1))
    begin, changed = store._begin, list[int]()

    def begun(*arguments: Any, **named: Any) -> Any:
        if not changed:
            changed.append(1)
            with database.transaction() as session:
                organisations.register(session, ods_code="RZ9", name="New", kind="acute", now=NOW)
        return begin(*arguments, **named)

    monkeypatch.setattr(store, "_begin", begun)
    assert service.post(event(2), event(3, subject="RZ9")).accepted == 2
    assert len(rows(database, meter_id=1)) == 3
