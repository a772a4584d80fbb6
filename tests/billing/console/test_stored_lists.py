"""Long lists stay in the database: a page is read, and the file has every row of them."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from billing.access.model import Grant, Role
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
BANK = "/console/money/bank"
LINES = 5_100


@pytest.fixture
def clerk(database: Database, tmp_path: Path) -> FlaskClient:
    with database.transaction() as session:
        makers.statement(session, ("12.00", "first"))
        # More than are read at once, and than any list was ever cut at.
        columns = [
            row.name
            for row in session.execute(
                text(
                    "SELECT column_name AS name FROM information_schema.columns"
                    " WHERE table_name = 'bank_lines'"
                )
            )
        ]
        own = {
            "id": "'bkl_' || lpad(n::text, 6, '0')",
            "line_key": "'key ' || n",
            "amount": "n",
            "reference": "'line ' || n",
            "counterparty": "CASE n % 2 WHEN 0 THEN 'ACME' ELSE 'Barts' END",
        }
        chosen = ", ".join(own.get(name, f"b.{name}") for name in columns)
        session.execute(
            text(
                f"INSERT INTO bank_lines ({', '.join(columns)}) SELECT {chosen}"
                f" FROM bank_lines b, generate_series(2, {LINES}) AS n"
            )
        )
    return web.signed_in(web.make_app(database, tmp_path, web.Clock(NOW)), [Grant(Role.ANALYST)])


def file_of(clerk: FlaskClient, query: str) -> list[dict[str, str]]:
    answer = clerk.get(f"{BANK}?download=bank-lines&{query}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))


def test_a_list_of_thousands_is_paged_ordered_and_downloaded_whole(clerk: FlaskClient) -> None:
    page = clerk.get(f"{BANK}?sort=amount&direction=descending").text
    assert f"Showing 1 to 50 of {LINES:,}" in page
    assert "£5,100.00" in page
    assert "£5,050.00" not in page
    # Beyond the last page there is the last.
    last = clerk.get(f"{BANK}?sort=amount&page=999").text
    assert f"Showing 5,051 to 5,100 of {LINES:,}" in last
    assert "£5,100.00" in last

    rows = file_of(clerk, "sort=amount&direction=descending")
    amounts = [Decimal(row["Amount"]) for row in rows]
    assert len(amounts) == LINES
    assert amounts == sorted(amounts, reverse=True)
    assert {row["From or to"] for row in file_of(clerk, "search=acme")} == {"ACME"}
    assert len(file_of(clerk, "search=line+5100")) == 1
