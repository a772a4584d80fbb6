"""A month end on its pages, as an analyst and an approver do it."""

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from flask import Flask

from billing import jobs
from billing.access.model import Grant, Role
from billing.accounts import invoicing
from billing.runs import operations
from metering.kit.db import Database
from metering.kit.tables import AuditEntryRow
from tests import make, web
from tests.scenarios.story import APRIL, MAY, SUPPLIER, after, service, trusts, uses

LIST = "/console/month-ends"
BOARD = f"{LIST}/2026-04"


def test_a_month_end_from_start_to_documents(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    service(database)
    first, second = trusts(database, "RA1", "RA2")
    with database.transaction() as session:
        invoicing.add_purchase_order(
            session,
            account_id=second.id,
            number="PO-1",
            starts_on=date(2026, 4, 1),
            value=Decimal("1.00"),
            hold_when_spent=True,
            principal=make.ANALYST,
            now=make.NOW,
        )
    uses(database, "RA1", "1000")
    uses(database, "RA2", "200")
    clock.now = datetime(2026, 5, 3, 9, 0, tzinfo=ZoneInfo("Europe/London"))
    both = web.signed_in(app, [Grant(Role.ANALYST), Grant(Role.APPROVER)])
    assert "can be invoiced from" in both.get(LIST).text
    assert web.send(both, LIST, {}, page=LIST).status_code == 422

    clock.now = after(APRIL)
    both = web.signed_in(app, [Grant(Role.ANALYST), Grant(Role.APPROVER)], email="b@x.example")
    approver = web.signed_in(app, [Grant(Role.APPROVER)], email="c@x.example")
    assert "A central analyst starts it" in approver.get(LIST).text
    assert web.send(both, LIST, {}, page=LIST).location == BOARD
    assert web.send(both, f"{BOARD}/draft", {}, page=BOARD).status_code == 303
    assert "Drafting has been asked for" in both.get(BOARD).text
    jobs.work_bill_runs(database, now=clock())

    board = both.get(BOARD).text
    assert "£500.00" in board
    assert "1 account parked" in board or "1 held" in board
    # Whoever started it may not approve it, and is told kindly, before and at the attempt.
    assert "You started this month end, so somebody else must approve it" in board
    assert "Approve these drafts" not in board
    assert web.send(both, f"{BOARD}/approve", {}, page=BOARD).status_code == 403

    held = f"{BOARD}/accounts/{first.id}"
    wrong = web.send(both, f"{held}/hold", {"reason": " "}, page=held)
    assert wrong.status_code == 422
    assert "Enter why the account is held" in wrong.text
    web.send(both, f"{held}/hold", {"reason": "A merger is near"}, page=held)
    assert "A merger is near" in both.get(BOARD).text
    web.send(both, f"{held}/release", {}, page=held)
    over = f"{BOARD}/accounts/{second.id}"
    assert "Take the draft as it is" in both.get(over).text
    web.send(both, f"{over}/release", {"over_order": "yes"}, page=over)
    web.send(both, f"{BOARD}/draft", {}, page=BOARD)
    jobs.work_bill_runs(database, now=clock())
    web.send(both, f"{BOARD}/check", {}, page=BOARD)

    assert "Approve these drafts" in approver.get(BOARD).text
    assert web.send(approver, f"{BOARD}/approve", {}, page=BOARD).status_code == 303
    web.send(both, f"{BOARD}/issue", {}, page=BOARD)
    jobs.work_bill_runs(database, now=clock())
    assert "2 documents issued, numbered and sealed." in both.get(BOARD).text
    assert "0 of 2 have their PDF" in both.get(BOARD).text
    jobs.make_documents(database, now=clock())
    assert "2 of 2 have their PDF" in both.get(BOARD).text
    assert web.send(both, f"{held}/hold", {"reason": "Too late"}, page=BOARD).status_code == 409

    with database.snapshot() as session:
        done = [
            (row.action, row.principal)
            for row in session.query(AuditEntryRow).order_by(AuditEntryRow.position)
            if row.object_kind == "bill run"
        ]
    assert [action for action, _ in done] == [
        "start bill run",
        "ask to draft bill run",
        "hold account",
        "release account",
        "release account",
        "ask to draft bill run",
        "check bill run",
        "approve bill run",
        "ask to issue bill run",
    ]
    assert all(principal.startswith("usr_") for _, principal in done)


def test_the_review_puts_outliers_first_and_drafts_can_be_thrown_away(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    service(database)
    trusts(database, "RA1", "RA2")
    for code, april, may in (("RA1", "1000", "1010"), ("RA2", "1000", "4000")):
        uses(database, code, april, at=date(2026, 4, 9))
        uses(database, code, may, at=date(2026, 5, 9))
    analyst = web.signed_in(app, [Grant(Role.ANALYST)], email="early@x.example")
    for month in (APRIL, MAY):
        clock.now = after(month)
        analyst = web.signed_in(app, [Grant(Role.ANALYST)], email=f"{month}@x.example")
        approver = web.signed_in(app, [Grant(Role.APPROVER)], email=f"{month}a@x.example")
        board = f"{LIST}/{month}"
        web.send(analyst, LIST, {}, page=LIST)
        web.send(analyst, f"{board}/draft", {}, page=board)
        jobs.work_bill_runs(database, now=clock())
        if month == APRIL:
            assert "Nothing was invoiced for March 2026" in analyst.get(board).text
            web.send(approver, f"{board}/approve", {}, page=board)
            web.send(analyst, f"{board}/issue", {}, page=board)
            jobs.work_bill_runs(database, now=clock())
    page = analyst.get(f"{LIST}/2026-05").text
    assert "£1,505.00 more than in April 2026" in page
    review = page.partition("Review against April 2026")[2]
    assert review.index("Trust RA2") < review.index("Trust RA1")
    assert "+£1,500.00" in review
    assert "+300%" in review
    assert "Outliers (1)" in review
    only = analyst.get(f"{LIST}/2026-05?look=outlier").text.partition("Review against")[2]
    assert ("Trust RA2" in only, "Trust RA1" in only) == (True, False)
    services = page.partition("Services against April 2026")[2].partition("List before issue")[0]
    assert "£2,505.00" in services
    assert "+£1,505.00" in services
    assert "May 2026 is not issued yet" in analyst.get(LIST).text
    web.send(analyst, f"{LIST}/2026-05/reopen", {}, page=f"{LIST}/2026-05")
    assert "Draft the invoices" in analyst.get(f"{LIST}/2026-05").text
    assert "£505.00" not in analyst.get(f"{LIST}/2026-05").text


def test_the_list_before_issue_is_shown_counted_and_filtered(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    service(database)
    spent, low, fine = trusts(database, "RA1", "RA2", "RA3")
    with database.transaction() as session:
        for account, value in ((spent, "10"), (low, "600"), (fine, "9000")):
            invoicing.add_purchase_order(
                session,
                account_id=account.id,
                number=f"PO-{value}",
                starts_on=date(2026, 4, 1),
                value=Decimal(value),
                hold_when_spent=account is spent,
                principal=make.ANALYST,
                now=make.NOW,
            )
    for code in ("RA1", "RA2", "RA3"):
        uses(database, code, "1000")
    clock.now = after(APRIL)
    analyst = web.signed_in(app, [Grant(Role.ANALYST)])
    web.send(analyst, LIST, {}, page=LIST)
    assert "gone through when the invoices are drafted" in analyst.get(BOARD).text
    web.send(analyst, f"{BOARD}/draft", {}, page=BOARD)
    jobs.work_bill_runs(database, now=clock())
    board = analyst.get(BOARD).text
    assert "1 account held, 1 account warned of" in board
    found = analyst.get(f"{BOARD}?look=purchase-order").text.partition("Review against")[2]
    assert [f"Trust {code}" in found for code in ("RA1", "RA2", "RA3")] == [True, True, False]
    assert found.index("Trust RA1") < found.index("Trust RA2")
    one = analyst.get(f"{BOARD}/accounts/{low.id}").text
    assert "With this invoice 83% of purchase order PO-600 is used; £100.00 of £600.00" in one
    assert "Every line has its working and its usage." in one
    assert "No account is like that" in analyst.get(f"{BOARD}?look=address").text
    sheet = analyst.get(f"{BOARD}?download=month-end-2026-04").text
    assert "PO-600 is used" in sheet
    assert analyst.get(f"{BOARD}?download=services-2026-04").text.count("\n") == 2


def test_what_is_carried_over_is_said_with_its_reason(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1")
    clock.now = after(APRIL)
    with database.transaction() as session:
        operations.start_run(
            session,
            month=APRIL,
            supplier=SUPPLIER,
            principal="usr_a",
            now=clock(),
            smallest_invoice=Decimal("25.00"),
        )
    analyst = web.signed_in(app, [Grant(Role.ANALYST)])
    web.send(analyst, f"{BOARD}/draft", {}, page=BOARD)
    jobs.work_bill_runs(database, now=clock())
    board = analyst.get(BOARD).text
    assert "Carried over" in board
    assert "£0.50 without VAT is below £25.00" in board
