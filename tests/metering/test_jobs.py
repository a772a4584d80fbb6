"""Metering's jobs, each by itself."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from metering import jobs
from metering.events.partitions import existing
from metering.kit.db import Database
from metering.kit.idempotency import Answer, once
from metering.kit.tables import IdempotencyKeyRow
from metering.periods import Month

NEW_YEARS_EVE = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)


def months(database: Database) -> list[str]:
    with database.snapshot() as session:
        return sorted(map(str, existing(session)))


def test_partitions_are_made_for_this_month_and_the_next_three_and_once(
    database: Database,
) -> None:
    assert jobs.make_partitions(database, now=NEW_YEARS_EVE) == {"made": 4}
    assert months(database) == ["2026-12", "2027-01", "2027-02", "2027-03"]
    assert jobs.make_partitions(database, now=NEW_YEARS_EVE) == {"made": 0}
    assert jobs.make_partitions(database, now=NEW_YEARS_EVE + timedelta(minutes=1)) == {"made": 1}
    assert months(database)[-1] == "2027-04"


def test_partitions_follow_the_london_month(database: Database) -> None:
    # 31 March, 23:30 UTC is 1 April on the London clock.
    jobs.make_partitions(database, now=datetime(2026, 3, 31, 23, 30, tzinfo=UTC))
    assert months(database)[0] == str(Month(2026, 4))


def test_answers_are_forgotten_after_a_week_and_not_before(database: Database) -> None:
    asked = datetime(2026, 7, 1, 12, tzinfo=UTC)
    done: list[int] = []

    def ask(at: datetime) -> Answer:
        def work() -> Answer:
            done.append(1)
            return Answer(200, {"times": len(done)})

        return once(database, scope="s", key="k", request=b"r", now=at, work=work)

    first = ask(asked)
    assert jobs.forget_answers(database, now=asked + timedelta(days=7)) == {"forgotten": 0}
    assert ask(asked + timedelta(days=7)) == first
    later = asked + timedelta(days=7, seconds=1)
    assert jobs.forget_answers(database, now=later) == {"forgotten": 1}
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(IdempotencyKeyRow)) == 0
    assert ask(later) == Answer(200, {"times": 2}), "forgotten, so it is done again"
