"""The shared database fixtures keep tests apart."""

import pytest
from sqlalchemy import text

from metering.kit import migrate

TABLES = "SELECT count(*) FROM pg_tables WHERE tablename = 'left_behind'"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_what_a_test_commits_is_gone_in_the_next(database, turn):
    with database.transaction() as session:
        assert session.scalar(text(TABLES)) == 0
        session.execute(text("CREATE TABLE left_behind (turn text)"))
    with database.snapshot() as session:
        assert session.scalar(text(TABLES)) == 1


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_rolled_back_session_may_commit_and_leaves_nothing(session, turn):
    assert session.scalar(text(TABLES)) == 0
    session.execute(text("CREATE TABLE left_behind (turn text)"))
    session.commit()
    session.rollback()
    assert session.scalar(text(TABLES)) == 1


def test_each_test_has_the_newest_schema(database_url):
    assert migrate.current(database_url) == migrate.newest()
