"""Whoever took over a trust sees what it owes, in the pages and past them; nobody else does."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text

from billing.access import queries
from billing.access.guards import scope_of
from billing.access.model import Grant, Role
from billing.access.operations import create_user
from billing.access.session_operations import start_session
from billing.accounts.successions import merge_accounts
from billing.accounts.tables import AccountRow
from metering.kit.db import Database
from tests import make, web
from tests.scenarios.story import APRIL, month_end, service, trusts, uses

BEFORE, AFTER = (datetime(2026, month, 10, 10, 0, tzinfo=UTC) for month in (5, 6))


@pytest.fixture
def merged(database: Database) -> dict[str, AccountRow]:
    """RA1 was invoiced for April and becomes part of RA2 on 1 June; RA3 has no part in it."""
    service(database)
    found = dict(zip(("RA1", "RA2", "RA3"), trusts(database, "RA1", "RA2", "RA3"), strict=True))
    uses(database, "RA1", "10", at=date(2026, 4, 10))
    month_end(database, APRIL)
    with database.transaction() as session:
        merge_accounts(
            session,
            predecessor_id=found["RA1"].id,
            successor_id=found["RA2"].id,
            effective_on=date(2026, 6, 1),
            principal=make.ANALYST,
            now=BEFORE,
        )
    return found


def seen(database: Database, account: AccountRow, now: datetime) -> list[str]:
    """Return the accounts of the invoices that bare SQL shows to an account's finance viewer."""
    with database.transaction() as session:
        made = create_user(
            session,
            now=now,
            email=f"{account.id}@example.nhs.uk".replace("_", "."),
            name="Ada Lovelace",
            grants=[Grant(Role.FINANCE_VIEWER, account_id=account.id)],
            by="test",
        )
        token = start_session(session, now=now, user_id=made.id)
    with database.snapshot() as session:
        principal = queries.live_session(session, token=token, now=now).principal
    with database.snapshot(scope=scope_of(principal)) as session:
        found = session.scalars(text("SELECT DISTINCT account_id FROM invoices")).all()
        readings = session.scalar(text("SELECT count(*) FROM readings"))
        assert bool(found) == bool(readings)
        assert set(session.scalars(select(AccountRow.id))) == principal.account_ids
    return list(found)


def test_bare_sql_shows_the_predecessors_invoices_from_the_day(
    database: Database, merged: dict[str, AccountRow]
) -> None:
    old = merged["RA1"].id
    assert seen(database, merged["RA2"], AFTER) == [old]
    assert seen(database, merged["RA3"], AFTER) == []


def test_nothing_is_shown_before_the_day(database: Database, merged: dict[str, AccountRow]) -> None:
    assert seen(database, merged["RA2"], BEFORE) == []


def test_the_successors_pages_lead_to_what_it_took_over(
    database: Database, merged: dict[str, AccountRow], tmp_path: Path
) -> None:
    app = web.make_app(database, tmp_path, web.Clock(AFTER))
    editor = web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=merged["RA2"].id)])
    statement = editor.get("/portal/RA2/statement").text
    assert "Open invoices of organisations that became part of yours" in statement
    assert "Trust RA1 (RA1)" in statement
    assert "£6.00" in statement
    with database.snapshot() as session:
        invoice_id = session.scalar(text("SELECT id FROM invoices"))
    page = editor.get(f"/portal/RA1/invoices/{invoice_id}")
    assert (page.status_code, "PG-2627-000001" in page.text) == (200, True)
    query = f"/portal/RA1/invoices/{invoice_id}/query"
    sent = web.send(
        editor, query, {"line": "1", "reason": "not-ours", "text": "It closed."}, page=query
    )
    assert sent.status_code == 303
    stranger = web.signed_in(
        app, [Grant(Role.FINANCE_EDITOR, account_id=merged["RA3"].id)], email="eve@example.nhs.uk"
    )
    assert stranger.get(f"/portal/RA1/invoices/{invoice_id}").status_code == 404
    assert not re.search(r"\bRA1\b", stranger.get("/portal/RA3/statement").text)
