"""A run's work meets the database's trouble, which is no account's fault."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.runs import queries, work
from metering.kit.db import Database
from tests.scenarios import story
from tests.scenarios.story import APRIL


class Cut:
    """Ends the connection under `draft_account` the first few times it is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
        self.left = times
        self._inner = work.draft_account
        monkeypatch.setattr(work, "draft_account", self)

    def __call__(self, session: Session, **facts: object) -> str:
        if self.left:
            self.left -= 1
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return self._inner(session, **facts)  # type: ignore[arg-type]  # handed through


def _begin(database: Database) -> str:
    story.service(database)
    story.trusts(database, "RRK", "RWE")
    story.uses(database, "RRK", "200")
    story.uses(database, "RWE", "100")
    return story.start(database, APRIL)


def _draft(database: Database, run_id: str) -> dict[str, int]:
    return work.draft_run(database, run_id=run_id, now=story.after(APRIL))


def test_a_connection_that_breaks_sets_no_account_aside(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = _begin(database)
    Cut(monkeypatch, times=2)
    assert _draft(database, run_id) == {"drafted": 2}


def test_a_database_that_stays_away_leaves_accounts_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = _begin(database)
    Cut(monkeypatch, times=5)
    with pytest.raises(DBAPIError):
        _draft(database, run_id)
    with database.snapshot() as session:
        assert queries.counts(session, run_id=run_id) == {"waiting": 2}
    assert _draft(database, run_id) == {"drafted": 2}
