"""Jobs of the money path: each finds due work, does it, and does nothing the second time."""

from datetime import date, datetime, timedelta
from types import ModuleType

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import jobs
from billing.access import session_operations
from billing.invoices import queries
from billing.invoices.backing import usage_rows
from billing.invoices.tables import DocumentRow
from billing.notifications import operations as notifications
from billing.runs import operations
from metering import jobs as metering_jobs
from metering.kit import idempotency, jobruns
from metering.kit.db import Database
from metering.kit.jobruns import Work
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, month_end, service, trusts, uses

NOW = story.after(APRIL)


@pytest.mark.parametrize(
    ("setting", "forget", "module", "name"),
    [
        ("PAYGO_KEEP_SIGN_INS_DAYS", jobs.forget_sign_ins, session_operations, "forget_old"),
        ("PAYGO_KEEP_DELIVERIES_DAYS", jobs.forget_deliveries, notifications, "forget_deliveries"),
        ("PAYGO_KEEP_ANSWERS_DAYS", metering_jobs.forget_answers, idempotency, "forget"),
        ("PAYGO_KEEP_JOB_RUNS_DAYS", metering_jobs.prune_job_runs, jobruns, "forget"),
    ],
)
def test_things_are_kept_for_as_long_as_the_setting_says(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    forget: Work,
    module: ModuleType,
    name: str,
) -> None:
    since = []

    def spy(_session: Session, *, before: datetime, **_: datetime) -> int:
        since.append(before)
        return 0

    monkeypatch.setattr(module, name, spy)
    monkeypatch.setenv(setting, "53")
    forget(database, now=NOW)
    assert since == [NOW - timedelta(days=53)]


def test_rating_month_to_date_is_cheap_when_nothing_changed(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    uses(database, "RRK", "10", at=date(2026, 5, 2))
    first = jobs.rate_month_to_date(database, now=NOW)
    assert (first["months"], first["written"]) == (2, 2)
    again = jobs.rate_month_to_date(database, now=NOW + timedelta(minutes=5))
    assert (again["months"], again["written"]) == (2, 0)
    assert jobs.rate_earlier_months(database, now=NOW)["accounts"] == 0


def test_documents_are_made_once_for_each_issued_invoice(database: Database) -> None:
    service(database)
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10")
    uses(database, "RA2", "20")
    month_end(database, APRIL)
    assert jobs.make_documents(database, now=NOW) == {
        "invoices": 2,
        "documents": 12,
        "failed": 0,
    }
    assert jobs.make_documents(database, now=NOW)["invoices"] == 0
    with database.snapshot() as session:
        kept = session.execute(
            select(DocumentRow.name, DocumentRow.media_type, DocumentRow.content)
        ).all()
    assert {name for name, _, _ in kept} == {"pdf", "lines", "usage", "ubl", "focus", "journal"}
    assert all(content.startswith(b"%PDF") for name, _, content in kept if name == "pdf")


def test_many_invoices_are_rendered_by_several_processes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(database)
    codes = [f"RA{number}" for number in range(1, 4)]
    trusts(database, *codes)
    for code in codes:
        uses(database, code, "10")
    month_end(database, APRIL)
    monkeypatch.setattr(jobs, "_WORTH_PROCESSES", 2)
    assert jobs.make_documents(database, now=NOW)["invoices"] == 3


def test_each_reading_behind_an_invoice_names_its_line(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, dimensions={"modality": {"label": "Modality", "values": None}})
        make.tariff(
            session,
            make.price(where={"modality": "CT"}, unit_price="0.90"),
            make.price(unit_price="0.50"),
        )
    trusts(database, "RRK")
    uses(database, "RRK", "1", dimensions={"modality": "CT"}, at=date(2026, 4, 3))
    uses(database, "RRK", "2", dimensions={"modality": "CT"}, at=date(2026, 4, 4))
    uses(database, "RRK", "4", dimensions={"modality": "MR"}, at=date(2026, 4, 4))
    (invoice,) = month_end(database, APRIL)["RRK"]
    with database.snapshot() as session:
        rows = usage_rows(session, invoice=invoice)
    by_line = {line.number: line.quantity for line in invoice.lines}
    found = dict.fromkeys(by_line, 0)
    for row in rows:
        assert row.line_number is not None
        found[row.line_number] += row.quantity
    assert found == by_line
    assert [row.dimensions for row in rows][:1] == ["Modality CT"]


def test_a_run_that_a_person_asked_for_is_drafted_and_issued(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    run_id = story.start(database, APRIL)
    with database.transaction() as session:
        operations.want(session, run_id=run_id, work="draft", principal=story.STARTER)
    assert jobs.work_bill_runs(database, now=NOW) == {"drafted": 1, "issued": 0, "refused": 0}
    story.approve(database, run_id, APRIL)
    with database.transaction() as session:
        operations.want(session, run_id=run_id, work="issue", principal=story.APPROVER)
    assert jobs.work_bill_runs(database, now=NOW) == {"drafted": 0, "issued": 1, "refused": 0}
    assert jobs.work_bill_runs(database, now=NOW) == {"drafted": 0, "issued": 0, "refused": 0}
    with database.snapshot() as session:
        assert len(queries.invoices(session, run_id=run_id)) == 1


def test_reconciling_finds_nothing_where_all_is_well(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    month_end(database, APRIL)
    assert jobs.reconcile(database, now=NOW) == {
        "compared": 1,
        "underway": 0,
        "differences": 0,
        "documents": 1,
        "faults": 0,
    }
    assert jobs.refresh_true_ups(database, now=NOW) == {"months": 1, "changed": 0}
