"""A service's own count disagrees: the month end warns of it or waits, as the service is set."""

import pytest
from flask import Flask

from billing import jobs
from billing.access.model import Grant, Role
from metering.kit.db import Database
from metering.sources import operations as sources
from metering.sources.model import SCOPES
from tests import make, web
from tests.scenarios.story import APRIL, after, service, trusts, uses

LIST = "/console/month-ends"
BOARD = f"{LIST}/2026-04"
SOURCE = "imaging-archive"
WORDS = "declared 7 events (1500) of studies-archived from 2026-04-01 to 2026-05-01; 1 (1000)"


class Service:
    """The hosted service, which declares by the API."""

    def __init__(self, app: Flask, database: Database) -> None:
        self._client = app.test_client()
        with database.transaction() as session:
            self._key = sources.issue_key(
                session,
                source_code=SOURCE,
                label="declares",
                scopes=SCOPES,
                created_by="usr_a",
                now=make.NOW,
            ).text

    def declares(self, count: int, total: str) -> bool:
        """Declare April; return whether it agrees."""
        answer = self._client.post(
            "/api/v1/manifests",
            json={"period": "2026-04", "meter": "studies-archived", "count": count, "sum": total},
            headers={"Authorization": f"Bearer {self._key}"},
        )
        assert answer.status_code == 200, answer.text
        return bool(answer.json["agrees"])


@pytest.mark.parametrize("policy", ["ignore", "warn", "wait"])
def test_a_month_end_warns_or_waits_as_the_service_is_set(
    app: Flask, database: Database, clock: web.Clock, policy: str
) -> None:
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1000")
    clock.now = after(APRIL)
    owner = Service(app, database)
    analyst = web.signed_in(app, [Grant(Role.ANALYST), Grant(Role.ADMINISTRATOR)])
    with database.transaction() as session:
        sources.register(
            session, code=SOURCE, name="Imaging archive", manifest_policy=policy, now=clock.now
        )
    assert not owner.declares(7, "1500")

    web.send(analyst, LIST, {}, page=LIST)

    def draft() -> str:
        web.send(analyst, f"{BOARD}/draft", {}, page=BOARD)
        jobs.work_bill_runs(database, now=clock())
        return analyst.get(BOARD).text

    board = draft()
    assert (WORDS in board) is (policy != "ignore")
    assert ("Stops the run" in board) is (policy == "wait")
    assert ("£500.00" in board) is (policy != "wait")

    # What the service says last counts: the month end goes on.
    assert owner.declares(1, "1000")
    board = draft()
    assert WORDS not in board
    assert "Stops the run" not in board
    assert "£500.00" in board


def test_a_month_end_waits_for_a_count_that_has_not_come(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1000")
    clock.now = after(APRIL)
    with database.transaction() as session:
        sources.register(
            session, code=SOURCE, name="Imaging archive", manifest_policy="wait", now=make.NOW
        )
    analyst = web.signed_in(app, [Grant(Role.ANALYST)])
    web.send(analyst, LIST, {}, page=LIST)
    web.send(analyst, f"{BOARD}/draft", {}, page=BOARD)
    jobs.work_bill_runs(database, now=clock())
    board = analyst.get(BOARD).text
    assert "imaging-archive has sent no manifest for April 2026." in board
    assert "Stops the run" in board
    assert "£500.00" not in board
