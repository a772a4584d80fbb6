"""Which cost centres bear what: split by percent, dated, kept as typed, and on the invoice."""

from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.accounts import queries as accounts
from billing.accounts.allocation import AllocationRule
from metering.kit.db import Database
from tests import make, web
from tests.scenarios import story
from tests.trusts import Shown

PAGE = "/portal/RRK/cost-centres"
SPLIT = {
    "what": "imaging-archive:studies-archived",
    "where": "Modality: CT",
    "first": "2026-04",
    "centre-1": "RAD100",
    "code-1": "5230",
    "percent-1": "66.6667%",
    "centre-2": "ED200",
    "percent-2": "33.3333",
}


@pytest.fixture
def editor(app: Flask, database: Database, clock: web.Clock) -> FlaskClient:
    """The finance editor of a trust with one service, split by modality; in April."""
    with database.transaction() as session:
        make.source(session)
        make.meter(session, dimensions={"modality": {"label": "modality", "values": None}})
        make.tariff(session, make.price(), make.price(where={"modality": "CT"}))
    (account,) = story.trusts(database, "RRK")
    clock.now = make.NOW.replace(year=2026, month=4, day=15)
    return web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=account.id)])


def rules(database: Database) -> list[AllocationRule]:
    with database.snapshot() as session:
        payer = accounts.payer_by_ods_code(session, ods_code="RRK")
        return accounts.allocation_rules(session, account_id=payer.account.id)


def test_a_split_is_saved_shown_invoiced_changed_and_ended(
    editor: FlaskClient, database: Database
) -> None:
    assert "No cost centre is assigned" in editor.get(PAGE).text
    assert web.send(editor, PAGE, SPLIT, page=PAGE).location == PAGE
    (rule,) = rules(database)
    assert (rule.meter, rule.where, rule.starts_on) == (
        "studies-archived",
        (("modality", "CT"),),
        date(2026, 4, 1),
    )
    page = editor.get(PAGE).text
    assert "RAD100 / 5230 66.6667%; ED200 33.3333%" in page
    assert "modality CT" in page
    assert "In force" in page
    whole = {"what": ":", "first": "2026-04", "centre-1": "ALL", "percent-1": "100"}
    web.send(editor, PAGE, whole, page=PAGE)
    for modality in ("CT", "MR"):
        story.uses(database, "RRK", "30", dimensions={"modality": modality})
    (invoice,) = story.month_end(database, story.APRIL)["RRK"]
    assert {(line.cost_centre, str(line.net)) for line in invoice.lines} == {
        ("RAD100", "10.00"),
        ("ED200", "5.00"),
        ("ALL", "15.00"),
    }
    assert "Cost centre ED200" in editor.get("/portal/RRK/budgets/new").text
    with database.snapshot() as session:
        (special,) = [
            row
            for row in accounts.allocation_rows(session, account_id=invoice.account_id)
            if row.meter
        ]
    filled = editor.get(f"{PAGE}?rule={special.id}").text
    for value in ("RAD100", "5230", "66.6667", "ED200", "33.3333"):
        assert f'value="{value}"' in filled
    web.send(editor, PAGE, SPLIT | {"first": "2026-06", "code-2": "5231"}, page=PAGE)
    assert [(rule.starts_on.month, rule.ends_on) for rule in rules(database) if rule.meter] == [
        (4, date(2026, 6, 1)),
        (6, None),
    ]
    assert "To come" in editor.get(PAGE).text
    last = next(row for row in _rows(database, invoice.account_id) if row[1] is None and row[2])
    web.send(editor, f"{PAGE}/{last[0]}/end", {}, page=PAGE)
    assert all(rule.ends_on for rule in rules(database) if rule.meter)
    assert web.send(editor, f"{PAGE}/alr_none/end", {}, page=PAGE).status_code == 404


def _rows(database: Database, account_id: str) -> list[tuple[str, date | None, str | None]]:
    with database.snapshot() as session:
        rows = accounts.allocation_rows(session, account_id=account_id)
        return [(row.id, row.ends_on, row.meter) for row in rows]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"percent-2": "30"}, "The shares must sum to 100%; these sum to 96.6667%."),
        ({"percent-2": "a third"}, "Enter a percentage, for example 33.5."),
        ({"percent-2": ""}, "Enter its share in percent."),
        ({"centre-1": ""}, "Enter the cost centre."),
        ({"centre-1": "C" * 51}, "A cost centre has 1 to 50 characters"),
        ({"centre-2": "RAD100", "code-2": "5230"}, "Name each cost centre and subjective code"),
        ({"where": "CT"}, "Write each as a name, a colon and a value."),
        ({"where": "colour: red"}, "It is not counted by colour; it is counted by modality."),
        ({"what": "imaging-archive:"}, "only that is split by values"),
        ({"first": "soon"}, "Choose a month."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    editor: FlaskClient, database: Database, change: dict[str, str], said: str
) -> None:
    typed = SPLIT | change
    answer = web.send(editor, PAGE, typed, page=PAGE)
    assert answer.status_code == 422
    assert said in answer.text
    assert "There is a problem" in answer.text
    for name in ("centre-2", "percent-1"):
        assert f'value="{typed[name]}"' in answer.text
    assert rules(database) == []


def test_more_rows_keep_what_was_typed_and_save_nothing(
    editor: FlaskClient, database: Database
) -> None:
    answer = web.send(editor, PAGE, SPLIT | {"more": "yes"}, page=PAGE)
    assert answer.status_code == 200
    assert 'name="centre-8"' in answer.text
    assert 'value="66.6667%"' in answer.text
    assert "There is a problem" not in answer.text
    ten = {f"centre-{number}": f"C{number}" for number in range(1, 11)}
    ten |= {f"percent-{number}": "10" for number in range(1, 11)}
    assert web.send(editor, PAGE, {"what": ":", "first": "2026-04", **ten}, page=PAGE).location
    (rule,) = rules(database)
    assert len(rule.shares) == 10


def test_who_may_only_look_assigns_nothing(shown: Shown) -> None:
    viewer = shown.finance()
    assert viewer.get("/portal/RWE/cost-centres").status_code == 403
