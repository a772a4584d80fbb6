"""Jobs and the record of their runs."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.kit import jobruns
from metering.kit.db import Database
from metering.kit.errors import Conflict
from metering.kit.jobruns import Job, JobAlreadyRunning, run_job
from metering.kit.tables import JobRunRow

NOW = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def count_two(database: Database, *, now: datetime) -> Mapping[str, int]:
    return {"seen": 2, "minute": now.minute}


def fail(database: Database, *, now: datetime) -> Mapping[str, int]:
    raise ZeroDivisionError("nothing to share")


class NothingToDo(Conflict):
    """A refusal of this test."""


def refuse(database: Database, *, now: datetime) -> Mapping[str, int]:
    raise NothingToDo("The month is not over.")


def job(work: jobruns.Work, name: str = "count-things") -> Job:
    return Job(name, "Counts.", work, every=MINUTE)


def run(database: Database, work: jobruns.Work) -> jobruns.JobRun:
    return run_job(database, job(work), clock=lambda: NOW, started_by="cli")


def test_a_run_is_recorded_with_its_counts(database: Database) -> None:
    made = run(database, count_two)
    assert (made.outcome, made.counts, made.error) == ("succeeded", {"seen": 2, "minute": 0}, None)
    with database.snapshot() as session:
        assert jobruns.last_runs(session) == {"count-things": made}
        assert jobruns.last_successes(session) == {"count-things": NOW}


def test_a_fault_is_recorded_and_not_raised(database: Database) -> None:
    made = run(database, fail)
    assert (made.outcome, made.error) == ("failed", "ZeroDivisionError: nothing to share")
    with database.snapshot() as session:
        assert jobruns.last_successes(session) == {}


def test_a_refusal_is_recorded_as_its_sentence(database: Database) -> None:
    assert run(database, refuse).error == "The month is not over."


def test_a_job_does_not_run_twice_at_once(database: Database) -> None:
    def again(database: Database, *, now: datetime) -> Mapping[str, int]:
        with pytest.raises(JobAlreadyRunning):
            run(database, count_two)
        return {"refused": 1}

    assert run(database, again).counts == {"refused": 1}
    assert run(database, count_two).outcome == "succeeded"


def left_running(database: Database) -> None:
    with database.transaction() as session:
        session.add(
            JobRunRow(
                id="jrn_dead",
                job="count-things",
                started_at=NOW - MINUTE,
                outcome="running",
                counts={},
                started_by="scheduler@gone:1",
            )
        )


def test_a_dead_process_run_is_marked_abandoned(database: Database) -> None:
    left_running(database)
    assert jobruns.mark_abandoned(database, now=NOW) == 1
    with database.snapshot() as session:
        dead = jobruns.last_runs(session)["count-things"]
    assert (dead.outcome, dead.finished_at, dead.seconds) == ("abandoned", NOW, 60)
    assert jobruns.mark_abandoned(database, now=NOW) == 0


def test_a_live_run_is_never_marked_abandoned(database: Database) -> None:
    def look(database: Database, *, now: datetime) -> Mapping[str, int]:
        return {"marked": jobruns.mark_abandoned(database, now=NOW)}

    assert run(database, look).counts == {"marked": 0}


def test_the_next_run_marks_what_a_dead_process_left(database: Database) -> None:
    left_running(database)
    run(database, count_two)
    with database.snapshot() as session:
        outcomes = [made.outcome for made in jobruns.recent_runs(session, job="count-things")]
    assert outcomes == ["succeeded", "abandoned"]


def test_an_interrupt_is_recorded_and_passed_on(database: Database) -> None:
    def interrupted(database: Database, *, now: datetime) -> Mapping[str, int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(database, interrupted)
    with database.snapshot() as session:
        assert jobruns.last_runs(session)["count-things"].outcome == "abandoned"


def test_old_and_idle_runs_are_forgotten_but_never_the_latest_success(database: Database) -> None:
    def idle(database: Database, *, now: datetime) -> Mapping[str, int]:
        return {"seen": 0}

    def ran(work: jobruns.Work, name: str, days_ago: int) -> str:
        at = NOW - timedelta(days=days_ago)
        return run_job(database, job(work, name), clock=lambda: at, started_by="cli").id

    ran(count_two, "old", 100)
    ran(idle, "idle", 5)
    kept = {
        ran(count_two, "old", 99),
        ran(count_two, "idle", 5),
        ran(idle, "idle", 1),
        ran(fail, "broken", 5),
    }
    with database.transaction() as session:
        forgotten = jobruns.forget(
            session, before=NOW - timedelta(days=90), idle_before=NOW - timedelta(days=2)
        )
    with database.snapshot() as session:
        assert {made.id for made in jobruns.recent_runs(session)} == kept
    assert forgotten == 2


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"every": timedelta(seconds=5)}, "every 5 seconds"),
        ({"every": timedelta(minutes=10)}, "every 10 minutes"),
        ({"at": time(5, 30)}, "each day at 05:30 London"),
        ({"at": time(6, 0), "day": 2}, "day 2 of each month at 06:00 London"),
    ],
)
def test_a_schedule_reads_in_words(schedule: dict[str, timedelta], words: str) -> None:
    assert Job("name", "Does.", count_two, **schedule).schedule == words  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"every": MINUTE, "at": time(5)},
        {"at": time(1, 30)},
        {"every": MINUTE, "day": 2},
        {"at": time(5), "day": 31},
    ],
)
def test_a_senseless_schedule_is_refused(schedule: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match=r"name (runs|cannot|needs)"):
        Job("name", "Does.", count_two, **schedule)  # type: ignore[arg-type]  # parametrised


def cut_the_lock(database: Database) -> None:
    """End the connection on which a run holds its lock, and nothing else."""
    with database.transaction() as session:
        ended = session.scalars(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks"
                " WHERE locktype = 'advisory' AND classid = 7201948 AND objsubid = 2"
                # Other tests have theirs on the same server.
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        ).all()
    assert ended == [True]


def note(session: Session, words: str) -> None:
    session.execute(text("INSERT INTO noted VALUES (:words)"), {"words": words})


def noted(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(text("SELECT words FROM noted ORDER BY at")))


@pytest.fixture
def paper(database: Database) -> Database:
    with database.transaction() as session:
        session.execute(
            text("CREATE TABLE noted (words text, at timestamptz DEFAULT clock_timestamp())")
        )
    return database


def test_a_run_that_lost_its_lock_commits_nothing_more(paper: Database) -> None:
    def lose(database: Database, *, now: datetime) -> Mapping[str, int]:
        with database.transaction() as session:
            note(session, "while it held the lock")
        cut_the_lock(paper)
        with database.transaction() as session:
            note(session, "without the lock")
        return {}

    made = run(paper, lose)
    assert made.outcome == "failed"
    assert "right to run count-things was lost" in (made.error or "")
    assert noted(paper) == ["while it held the lock"]


def test_the_next_run_waits_for_what_the_one_that_lost_its_lock_still_does(
    paper: Database,
) -> None:
    inside, outside = threading.Event(), threading.Event()

    def linger(database: Database, *, now: datetime) -> Mapping[str, int]:
        with database.transaction() as session:
            note(session, "former")
            inside.set()
            assert outside.wait(30)
        return {}

    def follow(database: Database, *, now: datetime) -> Mapping[str, int]:
        with database.transaction() as session:
            note(session, "next")
        return {}

    former = threading.Thread(target=run, args=(paper, linger))
    former.start()
    assert inside.wait(30)
    cut_the_lock(paper)
    following = threading.Thread(target=run, args=(paper, follow))
    following.start()
    # Nothing of the next run may be seen while the former one's transaction is open.
    following.join(0.3)
    assert following.is_alive()
    outside.set()
    for thread in (former, following):
        thread.join(30)
    assert noted(paper) == ["former", "next"]


def test_a_former_run_that_does_not_end_is_left_alone(
    paper: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobruns, "_FORMER_RUN_SECONDS", 0.1)

    def lose(database: Database, *, now: datetime) -> Mapping[str, int]:
        with database.transaction() as session:
            note(session, "former")
            cut_the_lock(paper)
            with pytest.raises(JobAlreadyRunning):
                run(paper, count_two)
        return {}

    assert run(paper, lose).outcome == "succeeded"
    assert run(paper, count_two).outcome == "succeeded"
