"""A trust reaches its single events when their month is archived, as if it were not."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from billing.access.model import Grant, Role
from billing.portal import event_queries
from metering.events.archive import archive_month
from metering.kit.db import Database
from metering.meters.queries import by_code
from metering.organisations.queries import by_ods_code
from metering.periods import Month, day_period
from tests import trusts, web
from tests.trusts import ODS, OTHER_ODS

pytest.importorskip("pyarrow")

DAY = date(2026, 4, 1)
USAGE = f"/portal/{ODS}/usage"
ASKED = f"meter=studies-archived&day={DAY}"
PAGES = (
    f"{USAGE}?{ASKED}&view=hour",
    f"{USAGE}/events?{ASKED}",
    f"{USAGE}/events?{ASKED}&direction=descending",
    f"{USAGE}/events?{ASKED}&d.site=Royal",
    f"{USAGE}/events.csv?{ASKED}",
)


@pytest.fixture
def account_ids(database: Database) -> dict[str, str]:
    """Three trusts with usage; the first one's first event of April was withdrawn in May."""
    found = trusts.use(database)
    with database.transaction() as session:
        session.execute(
            text(
                """
                INSERT INTO event_withdrawals
                    (source_id, event_key, withdrawn_by, reason, recorded_at)
                SELECT source_id, event_key, event_key, 'counted twice', :now FROM usage_events
                WHERE subject_id = :subject AND meter_id = :meter
                ORDER BY occurred_at, event_key LIMIT 1
                """
            ),
            {
                "now": trusts.NOW,
                "subject": by_ods_code(session, ods_code=ODS).id,
                "meter": by_code(session, code="studies-archived").id,
            },
        )
    return found


@pytest.fixture
def browsers(
    database: Database, account_ids: dict[str, str], tmp_path: Path
) -> dict[str, FlaskClient]:
    """A browser of each trust's finance viewer."""
    app = web.make_app(database, tmp_path, web.Clock(trusts.NOW))
    return {
        code: web.signed_in(
            app, [Grant(Role.FINANCE_VIEWER, account_id=account_id)], email=f"{code}@example.nhs.uk"
        )
        for code, account_id in account_ids.items()
    }


def put_away(database: Database, folder: Path) -> Path:
    return archive_month(
        database,
        month=Month(2026, 4),
        folder=folder,
        correction_months=13,
        principal="test",
        now=datetime(2027, 9, 15, 9, tzinfo=UTC),
    ).path


def seen(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    # Without what is about the browser and not the page.
    return answer.text.partition("<main")[2].partition("</main>")[0] or answer.text


def events_on(client: FlaskClient) -> list[str]:
    """Return the addresses of the day's events."""
    page = client.get(f"{USAGE}/events?{ASKED}").text
    return re.findall(r'href="([^"]*/usage/events/imaging-archive/[^"]*)"', page)


def test_every_page_of_a_day_reads_the_same_from_the_file(
    database: Database, browsers: dict[str, FlaskClient], tmp_path: Path
) -> None:
    finance = browsers[ODS]
    paths = [*PAGES, *events_on(finance)]
    assert len(paths) == len(PAGES) + 3
    before = {path: seen(finance, path) for path in paths}
    assert sum("counted twice" in page for page in before.values()) == 1
    put_away(database, tmp_path / "archive")
    assert {path: seen(finance, path) for path in paths} == before
    # A bookmark without the day is looked for in the whole month.
    assert "counted twice" in "".join(
        seen(finance, path.partition("?")[0]) for path in events_on(finance)
    )


def test_another_trust_sees_nothing_of_the_file(
    database: Database, browsers: dict[str, FlaskClient], tmp_path: Path
) -> None:
    put_away(database, tmp_path / "archive")
    for path in events_on(browsers[ODS]):
        other = path.replace(ODS, OTHER_ODS)
        assert browsers[OTHER_ODS].get(other).status_code == 404
        assert browsers[OTHER_ODS].get(path).status_code == 404
    assert "No events happened then" in seen(
        browsers[OTHER_ODS], f"/portal/{OTHER_ODS}/usage/events?{ASKED}"
    )


def test_a_file_that_is_away_is_told(
    database: Database, browsers: dict[str, FlaskClient], tmp_path: Path
) -> None:
    put_away(database, tmp_path / "archive").unlink()
    answer = browsers[ODS].get(PAGES[1])
    assert answer.status_code == 503
    assert "the archive of April 2026" in answer.text


@pytest.mark.parametrize("latest_first", [False, True])
def test_a_day_is_paged_in_the_same_order(
    database: Database, account_ids: dict[str, str], tmp_path: Path, *, latest_first: bool
) -> None:
    def pages() -> Iterator[Any]:
        with database.snapshot() as session:
            for page in (1, 2, 3, None):
                yield event_queries.events(
                    session,
                    organisation_id=by_ods_code(session, ods_code=ODS).id,
                    meter_id=by_code(session, code="studies-archived").id,
                    period=day_period(DAY),
                    where={},
                    latest_first=latest_first,
                    page=page,
                    page_size=2,
                )

    before = list(pages())
    assert [(len(found), total) for found, total in before] == [(2, 3), (1, 3), (0, 3), (3, 3)]
    put_away(database, tmp_path / "archive")
    assert list(pages()) == before
