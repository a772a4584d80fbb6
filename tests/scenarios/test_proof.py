"""What was issued can be proved, and nobody can change it; credits never exceed it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.invoices import credit_notes, queries
from billing.invoices import operations as issuing
from billing.invoices.catalogue import load_catalogue
from billing.invoices.content import content_bytes
from billing.invoices.drafting import compose_documents, gather
from billing.invoices.model import Invoice
from billing.invoices.sealing import canonical_content
from billing.invoices.verifying import verify_invoices
from billing.runs import operations, work
from billing.runs.queries import review, run
from billing.runs.reconciling import reconcile_month
from metering.kit.db import Database
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, JUNE, MAY, amounts, month_end, service, trusts, uses


def _credit(
    session: Session, invoice: Invoice, lines: dict[int, Decimal | None] | None, **facts: object
) -> Invoice:
    said = {"reason": "Agreed", "basis": "concession", "principal": "usr_a", **facts}
    return credit_notes.credit_invoice(
        session,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        lines=lines,
        now=story.after(APRIL),
        **said,
    )


@pytest.fixture
def invoice(database: Database) -> Invoice:
    """30 of one and 10 of another: 15.00 and 5.00, 24.00 with VAT."""
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        make.meter(session, code="recalls")
        make.tariff(session, make.price(), make.price(meter="recalls"))
    trusts(database, "RRK")
    uses(database, "RRK", "30")
    uses(database, "RRK", "10", meter="recalls")
    (found,) = month_end(database, APRIL)["RRK"]
    return found


def test_a_whole_invoice_is_credited_to_the_penny(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        note = _credit(session, invoice, None)
    assert amounts(note) == amounts(invoice) == ("20.00", "4.00", "24.00")
    assert (note.number, note.credits_number) == ("PC-2627-000001", invoice.number)
    with database.transaction() as session, pytest.raises(credit_notes.CreditTooLarge):
        _credit(session, invoice, None)


def test_credits_by_line_and_by_quantity_never_exceed_what_was_invoiced(
    database: Database, invoice: Invoice
) -> None:
    line = next(line for line in invoice.lines if line.quantity == 30).number
    with database.transaction() as session:
        assert amounts(_credit(session, invoice, {line: Decimal(7)}))[0] == "3.50"
        with pytest.raises(credit_notes.CreditTooLarge):
            _credit(session, invoice, {line: Decimal(24)})
        assert amounts(_credit(session, invoice, {line: None}))[0] == "11.50"
        assert amounts(_credit(session, invoice, None))[0] == "5.00"
        with pytest.raises(credit_notes.CreditTooLarge):
            _credit(session, invoice, None)
        with pytest.raises(credit_notes.CreditInvalid):
            _credit(session, invoice, {9: None})


def test_two_credits_at_once_never_exceed_what_was_invoiced(
    database: Database, invoice: Invoice
) -> None:
    def credit() -> str:
        with database.transaction() as session:
            return str(_credit(session, invoice, None).number)

    assert sorted(_at_once(credit, credit)) == ["CreditTooLarge", "PC-2627-000001"]


def test_a_concession_is_not_asked_for_again_and_not_given_twice(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        _credit(session, invoice, None)
    assert month_end(database, MAY) == {}
    uses(database, "RRK", "-30")
    assert month_end(database, JUNE) == {}


def test_what_a_correction_took_off_is_not_credited_again(
    database: Database, invoice: Invoice
) -> None:
    uses(database, "RRK", "-30")
    uses(database, "RRK", "100", at=date(2026, 5, 3))
    (later,) = month_end(database, MAY)["RRK"]
    assert amounts(later)[0] == "35.00"
    line = next(line for line in invoice.lines if line.quantity == 30).number
    with database.transaction() as session, pytest.raises(credit_notes.CreditTooLarge):
        _credit(session, invoice, {line: None})


def test_nothing_is_credited_while_drafts_were_worked_out_without_it(
    database: Database, invoice: Invoice
) -> None:
    uses(database, "RRK", "100", at=date(2026, 5, 3))
    story.draft(database, MAY)
    with database.transaction() as session, pytest.raises(credit_notes.NotCreditable):
        _credit(session, invoice, None)


def test_what_is_credited_to_be_invoiced_again_is(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        _credit(session, invoice, None, basis="rebill")
    (again,) = month_end(database, MAY)["RRK"]
    assert amounts(again) == amounts(invoice)
    assert [line.kind for line in again.lines] == ["usage", "usage"]


def test_the_database_refuses_to_change_what_was_issued(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        for statement in (
            "UPDATE invoices SET total = total + 1, net = net + 1",
            "UPDATE invoices SET content = '{}'",
            "UPDATE invoices SET status = 'draft'",
            "UPDATE invoices SET seal = 'x'",
            "DELETE FROM invoices",
            "TRUNCATE invoices CASCADE",
            "UPDATE invoice_lines SET net = net + 1",
            "DELETE FROM invoice_lines",
            "INSERT INTO invoice_lines SELECT (jsonb_populate_record(l, '{\"number\": 99}')).* "
            "FROM invoice_lines l LIMIT 1",
            "UPDATE issued_numbers SET sequence = sequence + 1",
            "DELETE FROM issued_numbers",
        ):
            with pytest.raises(IntegrityError), session.begin_nested():
                session.execute(text(statement))
        session.execute(text("UPDATE invoices SET status = 'settled'"))


def test_everything_issued_is_proved(database: Database, invoice: Invoice) -> None:
    uses(database, "RRK", "-5")
    uses(database, "RRK", "20", at=date(2026, 5, 3))
    month_end(database, MAY)
    with database.transaction() as session:
        _credit(session, invoice, {next(n.number for n in invoice.lines if n.quantity == 10): None})
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()
        assert verify_invoices(session).documents == 3
        for row in queries.invoices(session):
            # What was sealed from the stored JSON is what the model says.
            assert canonical_content(queries.read(row)) == content_bytes(row.content)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "UPDATE invoices SET content = jsonb_set(content, '{net}', '\"1\"')",
            "its content does not match its seal",
        ),
        ("UPDATE invoices SET net = net - 1, total = total - 1", "its columns differ"),
        ("UPDATE invoice_lines SET net = net + 1 WHERE number = 1", "its lines differ"),
        ("DELETE FROM invoice_lines WHERE number = 2", "its lines differ"),
        ("UPDATE number_series SET last_sequence = 7", "the counter stands at 7"),
        ("DELETE FROM issued_numbers", "the counter stands at 1"),
    ],
)
def test_tampering_behind_the_triggers_is_found(
    database: Database, invoice: Invoice, statement: str, what: str
) -> None:
    with database.transaction() as session:
        for table in ("invoices", "invoice_lines", "issued_numbers"):
            session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        session.execute(text(statement))
    with database.snapshot() as session:
        assert what in verify_invoices(session).faults[0].what


def test_a_preview_is_what_is_issued_to_the_penny(database: Database) -> None:
    service(database, make.price(unit_price="0.3333"))
    (trust,) = trusts(database, "RRK")
    uses(database, "RRK", "123.456")
    work.rate_open_months(database, last=APRIL, now=story.after(APRIL))
    with database.snapshot() as session:
        composed = compose_documents(
            gather(session, account_ids=[trust.id], month=APRIL)[trust.id],
            month=APRIL,
            supplier=story.SUPPLIER,
            catalogue=load_catalogue(session),
            now=story.after(APRIL),
        )
    (issued,) = month_end(database, APRIL)["RRK"]
    (preview,) = composed.invoices
    assert amounts(preview) == amounts(issued) == ("41.15", "8.23", "49.38")
    assert [line.net for line in preview.lines] == [line.net for line in issued.lines]


def test_parts_sum_to_the_whole(database: Database) -> None:
    service(
        database,
        make.price(
            model="graduated",
            scope="pool",
            tiers=[
                {"up_to": "10", "unit_price": "0.1234"},
                {"up_to": None, "unit_price": "0.0456"},
            ],
        ),
    )
    codes = [f"RA{number}" for number in range(1, 8)]
    trusts(database, *codes)
    for number, code in enumerate(codes, start=1):
        uses(database, code, f"{number}.{number}")
    invoices = month_end(database, APRIL)
    joint = Decimal("30.8")
    whole = (10 * Decimal("0.1234") + (joint - 10) * Decimal("0.0456")).quantize(Decimal("0.01"))
    assert sum(invoice.net for found in invoices.values() for invoice in found) == whole
    with database.snapshot() as session:
        rows = reconcile_month(session, month=APRIL)
    assert [row.differences for row in rows] == [()] * 7
    assert sum(row.invoiced for row in rows) == sum(row.readings for row in rows) == joint


def test_conservation_names_why_usage_is_not_invoiced(database: Database) -> None:
    service(database)
    trusts(database, "RA1", "RA2")
    with database.transaction() as session:
        make.organisation(session, code="RXX")
    for code in ("RA1", "RA2", "RXX"):
        uses(database, code, "10")
    run_id = story.start(database, APRIL)
    with database.transaction() as session:
        (account_id,) = [
            item.account_id
            for item in review(session, run_id=run_id).accounts
            if item.ods_code == "RA2"
        ]
        operations.hold_account(
            session,
            run_id=run_id,
            account_id=account_id,
            reason="Disputed",
            principal=story.STARTER,
            now=story.after(APRIL),
        )
    month_end(database, APRIL)
    uses(database, "RA1", "5")
    work.rate_open_months(database, last=APRIL, now=story.after(APRIL))
    with database.snapshot() as session:
        found = {
            row.organisation: (row.reason, row.unbilled, row.parked, row.differences)
            for row in reconcile_month(session, month=APRIL)
        }
    assert found == {
        "RA1": ("to-be-corrected", Decimal(5), 0, ()),
        "RA2": ("account-held", Decimal(10), 0, ()),
        "RXX": (None, 0, Decimal(10), ()),
    }
    # What was held is on the next month's invoice, as usage of April.
    (later,) = month_end(database, MAY)["RA2"]
    assert amounts(later)[0] == "5.00"
    assert (later.lines[0].kind, later.lines[0].first_day) == ("usage", date(2026, 4, 1))


def test_a_difference_between_events_and_readings_stops_the_run(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    with database.transaction() as session:
        session.execute(text("UPDATE readings SET quantity = quantity + 1"))
    run_id = story.start(database, APRIL)
    with pytest.raises(operations.RunBlocked, match="events 10"):
        work.draft_run(database, run_id=run_id, now=story.after(APRIL))
    with database.snapshot() as session:
        assert run(session, run_id=run_id).status == "open"
        checks = {c.name: c.outcome for c in review(session, run_id=run_id).checks}
    assert checks["conservation"] == "fail"


def test_the_month_has_to_be_over_and_its_grace_too(database: Database) -> None:
    with database.transaction() as session, pytest.raises(operations.MonthNotOver):
        operations.start_run(
            session,
            month=APRIL,
            supplier=story.SUPPLIER,
            principal="usr_a",
            now=story.after(APRIL).replace(day=3, hour=12),
        )


def test_a_run_is_approved_by_another_person(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    run_id = story.draft(database, APRIL)
    with database.transaction() as session, pytest.raises(operations.FourEyes):
        operations.approve_run(
            session, run_id=run_id, principal=story.STARTER, now=story.after(APRIL)
        )


def test_two_approvers_at_once_approve_once(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    run_id = story.draft(database, APRIL)

    def approve() -> str:
        with database.transaction() as session:
            return operations.approve_run(
                session, run_id=run_id, principal=story.APPROVER, now=story.after(APRIL)
            ).status

    assert sorted(_at_once(approve, approve)) == ["RunStanding", "approved"]


def test_two_who_issue_at_once_give_each_number_once(database: Database) -> None:
    service(database)
    codes = [f"RA{number}" for number in range(1, 7)]
    trusts(database, *codes)
    for code in codes:
        uses(database, code, "10")
    run_id = story.draft(database, APRIL)
    story.approve(database, run_id, APRIL)

    def issue() -> str:
        return str(
            work.issue_run(database, run_id=run_id, principal="usr_a", now=story.after(APRIL))[
                "documents"
            ]
        )

    assert sum(map(int, _at_once(issue, issue))) == 6
    numbers = sorted(
        str(document.number)
        for documents in story.issued(database, run_id).values()
        for document in documents
    )
    assert numbers == [f"PG-2627-00000{number}" for number in range(1, 7)]
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()
        assert run(session, run_id=run_id).status == "issued"


def test_two_who_draft_at_once_make_one_set_of_drafts(database: Database) -> None:
    service(database)
    codes = [f"RA{number}" for number in range(1, 6)]
    trusts(database, *codes)
    for code in codes:
        uses(database, code, "10")
    run_id = story.start(database, APRIL)

    def draft() -> str:
        return str(work.draft_run(database, run_id=run_id, now=story.after(APRIL)))

    assert _at_once(draft, draft)
    with database.snapshot() as session:
        assert len(queries.invoices(session, run_id=run_id, statuses=("draft",))) == 5
        assert run(session, run_id=run_id).status == "drafted"


def test_drafting_that_was_killed_half_way_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(database)
    codes = [f"RA{number}" for number in range(1, 6)]
    trusts(database, *codes)
    for code in codes:
        uses(database, code, "10")
    run_id = story.start(database, APRIL)
    whole = work.draft_account
    drafted = []

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a kill."""

    def killed(session: Session, **facts: object) -> str:
        if len(drafted) == 2:
            raise Killed
        drafted.append(facts["account_id"])
        return whole(session, **facts)

    with monkeypatch.context() as patched:
        patched.setattr(work, "draft_account", killed)
        with pytest.raises(Killed):
            work.draft_run(database, run_id=run_id, now=story.after(APRIL))
    with database.snapshot() as session:
        assert len(queries.invoices(session, run_id=run_id, statuses=("draft",))) == 2
    assert work.draft_run(database, run_id=run_id, now=story.after(APRIL)) == {"drafted": 5}
    story.approve(database, run_id, APRIL)
    work.issue_run(database, run_id=run_id, principal="usr_a", now=story.after(APRIL))
    assert len(story.issued(database, run_id)) == 5


def test_issuing_that_was_killed_half_way_goes_on_without_a_gap(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(database)
    codes = [f"RA{number}" for number in range(1, 6)]
    trusts(database, *codes)
    for code in codes:
        uses(database, code, "10")
    run_id = story.draft(database, APRIL)
    story.approve(database, run_id, APRIL)
    posted = []
    whole = issuing.post_to_ledger

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a kill."""

    def killed(session: Session, **facts: Any) -> object:
        # The third has its number and seal by now; they go with its transaction.
        if len(posted) == 2:
            raise Killed
        posted.append(facts["invoice"].number)
        return whole(session, **facts)

    def issue() -> dict[str, int]:
        return work.issue_run(
            database, run_id=run_id, principal=story.APPROVER, now=story.after(APRIL)
        )

    with monkeypatch.context() as patched:
        patched.setattr(issuing, "post_to_ledger", killed)
        with pytest.raises(Killed):
            issue()
    assert issue() == {"accounts": 3, "documents": 3}
    assert issue() == {"accounts": 0, "documents": 0}
    issued = story.issued(database, run_id)
    assert sorted(document.number or "" for found in issued.values() for document in found) == [
        f"PG-2627-{number:06d}" for number in range(1, 6)
    ]
    with database.snapshot() as session:
        assert verify_invoices(session).faults == ()
        assert run(session, run_id=run_id).status == "issued"


def test_an_account_with_a_contradiction_is_parked_and_the_rest_goes_on(
    database: Database,
) -> None:
    service(database)
    broken, _ = trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10")
    uses(database, "RA2", "10")
    with database.transaction() as session:
        make.broken_terms(session, broken.id)
    run_id = story.draft(database, APRIL)
    with database.snapshot() as session:
        found = {item.ods_code: item for item in review(session, run_id=run_id).accounts}
    assert (found["RA1"].status, found["RA2"].status) == ("parked", "drafted")
    assert "cannot be read" in str(found["RA1"].reason)


def test_a_run_is_reviewed_against_last_month(database: Database) -> None:
    service(database)
    trusts(database, "RA1", "RA2")
    for month, used in ((4, "1000"), (5, "3000")):
        uses(database, "RA1", used, at=date(2026, month, 10))
        uses(database, "RA2", "1000", at=date(2026, month, 10))
    month_end(database, APRIL)
    run_id = story.draft(database, MAY)
    with database.snapshot() as session:
        figures = review(session, run_id=run_id)
    assert (str(figures.net), str(figures.total)) == ("2000.00", "2400.00")
    assert [(item.ods_code, str(item.change)) for item in figures.outliers] == [("RA1", "1000.00")]


def test_a_run_that_is_opened_again_takes_the_pools_anew(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    run_id = story.draft(database, APRIL)
    uses(database, "RRK", "10")
    with database.transaction() as session:
        operations.reopen_run(
            session, run_id=run_id, principal=story.STARTER, now=story.after(APRIL)
        )
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert amounts(invoice)[0] == "10.00"


def _at_once(*calls: Callable[[], str]) -> list[str]:
    """Run calls in threads that start together; a refusal gives its name."""
    barrier = Barrier(len(calls))

    def one(call: Callable[[], str]) -> str:
        barrier.wait()
        try:
            return call()
        except (operations.RunStanding, credit_notes.CreditTooLarge) as refusal:
            return type(refusal).__name__

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))
