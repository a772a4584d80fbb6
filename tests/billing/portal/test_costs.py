"""What pages cost: a bound on queries, whatever there is to show, and on time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from tests import web
from tests.trusts import ODS, Shown

# Signing in and opening the account cost four: BEGIN's settings, the session, the account.
PAGES = {
    "": 20,
    "usage": 9,
    "usage?meter=studies-archived&month=2026-04&split=modality": 9,
    "usage?meter=studies-archived&view=hour&day=2026-04-01": 9,
    "usage/events?meter=studies-archived&day=2026-04-01": 10,
    "invoices": 11,
    "invoices/{invoice}": 13,
    "statement": 18,
    "budgets": 14,
    "prices": 10,
    "prices/imaging-archive?q0=1000": 12,
}


@contextmanager
def recorded(shown: Shown) -> Iterator[list[str]]:
    """Yield the statements that the application sends meanwhile."""
    with shown.app.app_context():
        engine = web.edge().database.engine
    statements: list[str] = []

    def note(*told: object) -> None:
        statements.append(str(told[2]))

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_sends_few_queries_and_is_quick(shown: Shown, page: str) -> None:
    browser = shown.finance()
    path = f"/portal/{ODS}/{page.format(invoice=shown.invoice_ids[ODS])}"
    assert browser.get(path).status_code == 200
    times = []
    for _ in range(3):
        with recorded(shown) as statements:
            started = time.perf_counter()
            browser.get(path)
            times.append(time.perf_counter() - started)
        assert len(statements) <= PAGES[page], statements
        assert not any(text.lstrip().upper().startswith(_WRITES) for text in statements)
    # The quickest of three, so that a busy machine does not make the test fail.
    assert min(times) < 0.2


_WRITES = ("INSERT", "UPDATE", "DELETE", "COPY")
