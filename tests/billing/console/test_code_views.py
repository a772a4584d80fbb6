"""The central team sets its own cost codes on a page, and the journal carries them."""

from datetime import date

import pytest
from flask import Flask

from billing.access.model import Grant, Role
from billing.ledger import queries
from metering.kit.db import Database
from tests import web
from tests.scenarios.story import APRIL, month_end, service, trusts, uses

PAGE = "/console/money/ledger/codes"
REVENUE = {"account": "revenue", "service": "", "centre": "NAT01", "code": "4120"}


def test_codes_are_set_changed_and_carried_by_the_journal(app: Flask, database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    month_end(database, APRIL)
    analyst = web.signed_in(app, [Grant(Role.ANALYST)])
    assert "No code is set" in analyst.get(PAGE).text
    assert web.send(analyst, PAGE, REVENUE, page=PAGE).location == PAGE
    own = REVENUE | {"service": "imaging-archive", "centre": "IMG7"}
    web.send(analyst, PAGE, own, page=PAGE)
    web.send(analyst, PAGE, own | {"code": "4125"}, page=PAGE)
    page = analyst.get(PAGE).text
    assert "Every other" in page
    assert "IMG7" in page
    filled = analyst.get(f"{PAGE}?account=revenue&service=imaging-archive").text
    assert 'value="4125"' in filled
    with database.snapshot() as session:
        lines = queries.journal(session, first_day=date(2026, 5, 1), end_day=date(2026, 6, 1))
    coded = {line.ledger_account: (line.cost_centre, line.subjective_code) for line in lines}
    assert coded["revenue"] == ("IMG7", "4125")
    assert coded["vat"] == ("UNCODED", "UNCODED")
    assert "NAT01" in analyst.get(f"{PAGE}?download=cost-codes").text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"centre": ""}, "Enter the cost centre."),
        ({"code": "9" * 31}, "Enter at most 30 characters."),
        ({"account": "pocket"}, "Choose an account."),
        ({"service": "nothing"}, "Choose a service."),
    ],
)
def test_what_is_wrong_is_said_and_an_auditor_only_looks(
    app: Flask, change: dict[str, str], said: str
) -> None:
    analyst = web.signed_in(app, [Grant(Role.ANALYST)])
    answer = web.send(analyst, PAGE, REVENUE | change, page=PAGE)
    assert answer.status_code == 422
    assert said in answer.text
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="a@x.example")
    assert "Set codes" not in auditor.get(PAGE).text
    assert web.send(auditor, PAGE, REVENUE, page=PAGE).status_code == 403
